// Package deps holds the house rules that a machine can hold: who may import whom, and what no file may have. It looks at the
// source only and imports nothing of the product.
package deps

import (
	"fmt"
	"slices"
	"strings"
)

const module = "gitgate.dev/gitgate"

var (
	doors = []string{"validate", "webhook", "audit", "policytest"}
	kinds = []string{
		"policies/schema", "policies/rego", "policies/cel", "policies/kyverno", "policies/gatekeeper", "policies/images", "policies/trace",
	}
)

// graph is what `go list -deps` says: for each package its direct imports. Packages of the product are named from the module's
// root ("report", "policies/rego"), the module's root itself is ".".
type graph struct {
	imports  map[string][]string
	standard map[string]bool
	own      map[string]bool
}

// under says whether p is one of the folders or lies in one of them.
func under(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return p == f || strings.HasPrefix(p, f+"/") })
}

// chain finds a way from package p, through packages of the product, to one that bad names, or returns nil.
func (g *graph) chain(p string, bad func(string) bool) []string {
	seen := map[string]bool{p: true}
	type step struct {
		name string
		path []string
	}
	queue := []step{{p, []string{p}}}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, next := range g.imports[at.name] {
			if seen[next] {
				continue
			}
			seen[next] = true
			path := append(slices.Clone(at.path), next)
			if bad(next) {
				return path
			}
			if g.own[next] {
				queue = append(queue, step{next, path})
			}
		}
	}
	return nil
}

// importRule forbids packages that from names to reach, directly or through others of the product, what to names.
type importRule struct {
	text string
	from func(p string) bool
	to   func(g *graph, p string) bool
}

func in(folders ...string) func(string) bool {
	return func(p string) bool { return under(p, folders...) }
}

func ownIn(folders ...string) func(*graph, string) bool {
	return func(g *graph, p string) bool { return g.own[p] && under(p, folders...) }
}

var importRules = []importRule{
	{
		"policies imports the standard library and a YAML or JSON decoder, nothing else",
		func(p string) bool { return p == "policies" },
		func(g *graph, p string) bool {
			return !g.standard[p] && !under(p, "sigs.k8s.io/yaml", "sigs.k8s.io/json", "go.yaml.in/yaml/v2", "go.yaml.in/yaml/v3")
		},
	},
	{"a kind of policy never imports a door", in(kinds...), ownIn(doors...)},
	{"a kind of policy never imports report", in(kinds...), ownIn("report")},
	{"a kind of policy never imports bundle", in(kinds...), ownIn("policies/bundle")},
	{"a door never imports a kind of policy", in(doors...), ownIn(kinds...)},
	{"a door never imports report", in(doors...), ownIn("report")},
	{"what kinds of policy share imports policies and nothing else of the product", in("policies/opa", "policies/strict", "policies/admission"), func(g *graph, p string) bool {
		return g.own[p] && !under(p, "policies/opa", "policies/strict", "policies/admission") && p != "policies"
	}},
	{"report imports neither kinds of policy, doors nor bundle", in("report"), ownIn(append([]string{"policies/bundle"}, slices.Concat(kinds, doors)...)...)},
	{"breakglass imports policies and nothing else of the product", in("breakglass"), func(g *graph, p string) bool { return g.own[p] && p != "breakglass" && p != "policies" }},
	{"bundle imports neither kinds of policy, doors, report nor library: what it needs of them is handed to it", in("policies/bundle"), ownIn(append([]string{"report", "policies/library"}, slices.Concat(kinds, doors)...)...)},
	{"library imports policies and nothing else: what compiles its documents is handed them", in("policies/library"), func(g *graph, p string) bool { return p != "policies" && !g.standard[p] }},
	{"document imports manifest, policies and nothing else of the product", in("document"), func(g *graph, p string) bool {
		return g.own[p] && !under(p, "document", "manifest") && p != "policies"
	}},
	{"manifest imports policies and nothing else of the product", in("manifest"), func(g *graph, p string) bool { return g.own[p] && !under(p, "manifest") && p != "policies" }},
	{
		"apiserver and desired import neither kinds of policy, doors, bundle nor report",
		in("apiserver", "desired"), ownIn(append([]string{"report", "policies/bundle"}, slices.Concat(kinds, doors)...)...),
	},
	{"cluster imports policies and nothing else of the product", in("cluster"), func(g *graph, p string) bool { return g.own[p] && !under(p, "cluster") && p != "policies" }},
	{"nothing imports cmd", func(p string) bool { return !under(p, "cmd", "test") }, ownIn("cmd")},
	{"the product never imports test", func(p string) bool { return !under(p, "test") }, ownIn("test")},
}

// homeRule says that only packages in the given folders may import a module, each import counted where it is written.
type homeRule struct {
	text    string
	modules []string // prefixes of import paths
	homes   []string
}

var homeRules = []homeRule{
	{"OPA is imported only under policies/opa, policies/rego and policies/gatekeeper", []string{"github.com/open-policy-agent/opa", "github.com/open-policy-agent/frameworks", "github.com/open-policy-agent/gatekeeper"}, []string{"policies/opa", "policies/rego", "policies/gatekeeper"}},
	{"Kyverno is imported only under policies/kyverno", []string{"github.com/kyverno"}, []string{"policies/kyverno"}},
	{"cosign, sigstore and registries are imported only under policies/images", []string{"github.com/sigstore", "github.com/google/go-containerregistry", "oras.land"}, []string{"policies/images"}},
	{"Git is imported only under desired", []string{"github.com/go-git", "github.com/hiddeco/sshsig", "github.com/ProtonMail/go-crypto"}, []string{"desired"}},
	{"k8s.io/kubernetes is imported only under apiserver", []string{"k8s.io/kubernetes"}, []string{"apiserver"}},
	{"apiserver is imported only by policies/schema, desired and cmd", []string{"apiserver"}, []string{"apiserver", "policies/schema", "desired", "cmd"}},
	{"flags are read only under cmd", []string{"flag", "github.com/spf13"}, []string{"cmd"}},
}

// violations lists how g breaks the rules, one line each, sorted.
func violations(g *graph) []string {
	var out []string
	for p := range g.own {
		for _, r := range importRules {
			if !r.from(p) {
				continue
			}
			if chain := g.chain(p, func(q string) bool { return r.to(g, q) }); chain != nil {
				out = append(out, fmt.Sprintf("%s: %s (DESIGN section 2)", strings.Join(chain, " -> "), r.text))
			}
		}
		for _, a := range slices.Concat(kinds, doors) {
			if !under(p, a) {
				continue
			}
			word := "a kind of policy never imports another kind"
			others := kinds
			if slices.Contains(doors, a) {
				word, others = "a door never imports another door", doors
			}
			if chain := g.chain(p, func(q string) bool { return g.own[q] && under(q, others...) && !under(q, a) }); chain != nil {
				out = append(out, fmt.Sprintf("%s: %s (DESIGN section 2)", strings.Join(chain, " -> "), word))
			}
		}
		if under(p, "test") {
			continue
		}
		for _, q := range g.imports[p] {
			for _, r := range homeRules {
				if under(q, r.modules...) && !under(p, r.homes...) {
					out = append(out, fmt.Sprintf("%s -> %s: %s (DESIGN section 2)", p, q, r.text))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}
