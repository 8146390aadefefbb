package library

import (
	"context"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Kind is the kind of the library's policies.
const Kind = "library"

// Page is where the policies are described, each in a section of its name.
const Page = "https://gitgate.dev/docs/library"

// URLOf is the section of a policy.
func URLOf(name string) string { return Page + "#" + strings.ReplaceAll(name, "/", "-") }

// rule is the only rule of most policies: a finding is named after the policy alone.
const rule = "deny"

// Dress makes a compiled policy one of the library: of its kind, with its page, and asked only where it has something to say.
func Dress(p *policies.Policy) {
	p.Kind, p.URL = Kind, URLOf(p.Name)
	p.Match.Plain = policies.NotPlain
	p.Rules = slices.DeleteFunc(p.Rules, func(id string) bool { return id == rule })
	judge, name := p.Judge, p.Name
	p.Judge = func(ctx context.Context, c *policies.Change) (policies.Finding, error) {
		switch {
		case isPodSecurity(name) && insignificant(c):
			return policies.Finding{Skipped: "no container and no image of the Pod is new"}, nil
		case ofGit[name] && c.Subject().Origin.File == "":
			return policies.Finding{Skipped: "it speaks of what is kept in Git"}, nil
		}
		f, err := judge(ctx, c)
		for i := range f.Violations {
			v := &f.Violations[i]
			if v.Rule == rule {
				v.Rule = ""
			}
			if ofGit[name] {
				hide(v, c.Subject())
			}
		}
		return f, err
	}
}

// ofGit are the policies about what may stand in a file. Of what reaches the cluster they say nothing: a Secret that a reconciler
// has decrypted on the way is there what it should be.
var ofGit = map[string]bool{
	"best-practices/plaintext-secrets":     true,
	"best-practices/plaintext-credentials": true,
}

// hide points a violation at its field without the source line, which shows the value. What a Secret has by stringData is stored
// under data.
func hide(v *policies.Violation, o *policies.Object) {
	if len(v.Path) == 2 && v.Path[0] == "data" && !isWritten(o, v.Path) {
		if p := (policies.Path{"stringData", v.Path[1]}); isWritten(o, p) {
			v.Path = p
		}
	}
	v.Pos = o.Locate(v.Path, policies.AtKey)
	v.Pos.Text, v.Pos.TextColumn = "", 0
}

func isWritten(o *policies.Object, p policies.Path) bool {
	_, ok := policies.Lookup(o.Map(), p)
	return ok
}
