package trace

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// name is the object in messages; the parent of a subresource.
func (r *review) name() string {
	kind := r.governed.Kind
	name := r.key.Name
	if name == "" {
		name = "(unnamed)"
	}
	if r.key.Namespace != "" {
		return kind + " " + r.key.Namespace + "/" + name
	}
	return kind + " " + name
}

func (r *review) refuse(v ...policies.Violation) policies.Finding {
	return policies.Finding{Violations: v, Evidence: evidence("class", string(Untraced))}
}

// short is a commit as messages name it.
func short(hash string) string { return hash[:min(len(hash), 12)] }

// position is where Git declares a field of a form.
func position(f *policies.Form, p policies.Path) policies.Position {
	if p == nil {
		p = policies.Path{"metadata", "name"}
	}
	pos := f.Object.Locate(p, policies.AtValue)
	if len(p) > 1 && p[0] == "data" && f.Object.Kind.GroupKind() == secretKind {
		// The API server keeps under data what is written as stringData. What is not written is shown where the kind is.
		kind := f.Object.Locate(policies.Path{"kind"}, policies.AtValue)
		if written := f.Object.Locate(slices.Concat(policies.Path{"stringData"}, p[1:]), policies.AtValue); pos == kind {
			pos = written
		}
	}
	return pos
}

var secretKind = policies.GroupKind{Kind: "Secret"}

// place is where Git declares a field of a form, as text: apps/web/deploy.yaml:14.
func place(f *policies.Form, p policies.Path) string {
	pos := position(f, p)
	if pos.Line == 0 {
		return pos.File
	}
	return pos.File + ":" + strconv.Itoa(pos.Line)
}

// evidenceOf is what a form proves.
func evidenceOf(f *policies.Form) []policies.Evidence {
	return evidence(
		"commit", f.Since.Hash, "author", f.Since.Author, "signer", f.Since.Signer,
		"source", f.Source, "unit", f.Unit.String(), "file", place(f, nil),
	)
}

// since names the commit that declared a form, and who made it.
func since(f *policies.Form) string {
	s := "commit " + short(f.Since.Hash)
	if f.Since.Author != "" {
		s += " by " + f.Since.Author
	}
	return s
}

// mend says where to change what Git declares.
func (r *review) mend(f *policies.Form, p policies.Path) string {
	at := place(f, p)
	if at == "" {
		return "change it in Git and merge; the reconciler will apply it"
	}
	return "change " + at + " and merge; the reconciler will apply it"
}

// fieldViolation tells a difference from a form: the field, its value, and what Git declares where.
func (r *review) fieldViolation(f *policies.Form, declared map[string]any, d Difference) policies.Violation {
	inGit := translated(d.Path, r.c.Object.Map(), declared, r.lists())
	v := policies.Violation{Rule: RuleField, Path: d.Path, Pos: position(f, inGit), Fix: r.mend(f, inGit)}
	where := " at " + place(f, inGit) + ", " + since(f)
	switch d.Cause {
	case NotDeclared:
		v.Message = fmt.Sprintf("%s: %s is not declared%s", d.Path, r.value(d.Path, d.Got, "what is set"), where)
	case Dropped:
		v.Message = fmt.Sprintf("%s: is left out, and Git declares %s%s", d.Path, r.value(d.Path, d.Declared, "it"), where)
	case Untold:
		v.Message = fmt.Sprintf("%s has more than %d fields that are not what Git declares%s", r.name(), maxDifferences, where)
	case Reordered:
		v.Message = fmt.Sprintf("%s: has its items in another order than Git declares%s", d.Path, where)
	default:
		v.Message = fmt.Sprintf("%s: %s is not what Git declares: %s%s", d.Path, r.value(d.Path, d.Got, "the value"), r.value(d.Path, d.Declared, "another"), where)
	}
	return v
}

// longestValue bounds a value in a message, in bytes.
const longestValue = 80

// value writes a value for a message, or instead where it is not to be told.
func (r *review) value(p policies.Path, v any, instead string) string {
	if !r.tellable(p, v) {
		return instead
	}
	written, err := json.Marshal(v)
	if err != nil {
		return instead
	}
	if len(written) > longestValue {
		return strings.ToValidUTF8(string(written[:longestValue]), "") + "…"
	}
	return string(written)
}

// tellable says whether a value may be in a message: nothing of a Secret but its labels and names, and no manifest inside an
// annotation, which may be one.
func (r *review) tellable(p policies.Path, v any) bool {
	if r.governed == secretKind {
		return len(p) > 1 && p[0] == "metadata" && p[1] == "labels"
	}
	if len(p) > 1 && p[0] == "metadata" && p[1] == "annotations" {
		if len(p) > 2 {
			return p[2] != lastApplied
		}
		_, has := asMap(v)[lastApplied]
		return !has
	}
	return true
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// translated is a path of one object as a path of another one: items of lists stand where their keys say.
func translated(p policies.Path, from, to map[string]any, lists func(policies.Path) List) policies.Path {
	out := make(policies.Path, 0, len(p))
	var a, b any = from, to
	for i, step := range p {
		n, isIndex := step.(int)
		if !isIndex {
			key, _ := step.(string)
			a, b = asMap(a)[key], asMap(b)[key]
			out = append(out, step)
			continue
		}
		la, lb := asList(a), asList(b)
		at := n
		if lists != nil && n < len(la) {
			if l := lists(p[:i]); l.Type == ListMap {
				at = -1
				want := keyOf(la[n], l.Keys)
				for k, item := range lb {
					if keyOf(item, l.Keys) == want {
						at = k
						break
					}
				}
			}
		}
		if at < 0 || at >= len(lb) {
			return out
		}
		a = nil
		if n < len(la) {
			a = la[n]
		}
		b = lb[at]
		out = append(out, at)
	}
	return out
}

// applier names who applies a unit.
func (r *review) applier(unit policies.Unit) string {
	if unit.ServiceAccount != "" {
		return "system:serviceaccount:" + unit.ServiceAccount
	}
	switch unit.Kind {
	case "Kustomization":
		return "Flux's kustomize-controller"
	case "HelmRelease":
		return "Flux's helm-controller"
	case "Application":
		return "Argo CD's application controller"
	case "ApplicationSet":
		return "Argo CD's ApplicationSet controller"
	}
	return "the reconciler"
}
