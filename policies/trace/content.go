package trace

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// match is how a change and one declared form of its object fit.
type match struct {
	form       *policies.Form
	violations []policies.Violation // none: the form declares the change
	exact      bool                 // it does declare the content, and is too old
}

// against compares what the change writes with a form. The error says that the form cannot be known.
func (r *review) against(ctx context.Context, f *policies.Form) (*match, error) {
	stored, err := r.stored(f)
	if err != nil {
		return nil, err
	}
	m, err := r.fit(ctx, f, stored)
	if err != nil || len(m.violations) == 0 || r.j.Convert == nil || f.Object.Kind != r.c.Subject().Kind || !custom(r.governed.Group) {
		return m, err
	}
	// Defaults of a custom resource whose definition is not declared, and is known to the cluster.
	again, err := r.j.Convert(f.Object, f.Object.Kind)
	if err != nil || Equal(again, stored) {
		return m, nil
	}
	return r.fit(ctx, f, again)
}

// fit compares what the change writes with the stored form of what is declared.
func (r *review) fit(ctx context.Context, f *policies.Form, stored map[string]any) (*match, error) {
	written, old := r.c.Object.Map(), content(r.c.Old)
	expected, err := r.completed(ctx, f, stored)
	if err != nil {
		return nil, err
	}
	found := Compare(Content{Declared: expected, New: written, Old: old, Lists: r.lists(), Opaque: opaque(f)})
	m := &match{form: f}
	for _, d := range found {
		if !r.lets(d, written) {
			m.violations = append(m.violations, r.fieldViolation(f, expected, d))
		}
	}
	m.violations = append(m.violations, r.status(f, stored)...)
	if old != nil {
		m.violations = append(m.violations, r.taken(f)...)
	}
	return m, nil
}

// stored is what the API server would store of a form, in the version in which the change arrives.
func (r *review) stored(f *policies.Form) (map[string]any, error) {
	kind := r.c.Subject().Kind
	var stored map[string]any
	var err error
	switch {
	case f.Object.Kind == kind:
		stored, err = f.Object.Stored()
	case r.j.Convert == nil:
		err = fmt.Errorf("it is declared as %s and written as %s, which nothing here converts", f.Object.Kind.APIVersion(), kind.APIVersion())
	default:
		stored, err = r.j.Convert(f.Object, kind)
	}
	if err != nil {
		return nil, fmt.Errorf("%s at %s: what the API server stores of it is not known: %w", r.name(), place(f, nil), err)
	}
	return stored, nil
}

// opaque says which values of a form are declared and not known.
func opaque(f *policies.Form) func(policies.Path) bool {
	if len(f.Opaque) == 0 {
		return nil
	}
	return func(p policies.Path) bool {
		return slices.ContainsFunc(f.Opaque, func(q policies.Path) bool { return slices.Equal(p, q) })
	}
}

// status finds a status that is written with the object: the API server has taken it away already where a kind has it as a
// subresource, so that what is left is content.
func (r *review) status(f *policies.Form, stored map[string]any) []policies.Violation {
	got, has := r.c.Object.Map()["status"]
	if !has || blank(got) || Equal(got, stored["status"]) {
		return nil
	}
	if r.c.Operation == policies.Create && !custom(r.governed.Group) {
		return nil // set by the API server's own strategy for the kind
	}
	if r.c.Old != nil && Equal(got, r.c.Old.Map()["status"]) {
		return nil
	}
	return []policies.Violation{{
		Rule: RuleField, Path: policies.Path{"status"}, Pos: position(f, nil),
		Message: "status: is written with the object, and is not declared",
	}}
}

// blank says that a value says nothing: what a program writes that encodes a type of its own without having filled it in.
func blank(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		for _, item := range v {
			if !blank(item) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return false
}

// custom says whether a group is not one of Kubernetes's own.
func custom(group string) bool {
	name, reserved := strings.CutSuffix(group, ".k8s.io")
	switch name {
	case "admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates", "coordination", "discovery",
		"events", "flowcontrol.apiserver", "internal.apiserver", "networking", "node", "rbac.authorization", "resource", "scheduling", "storage", "storagemigration":
		return !reserved
	}
	return strings.Contains(group, ".")
}

// ownFinalizers are those that reconcilers put on objects and take away again.
var ownFinalizers = map[string][]string{
	"kustomize-controller":          {"finalizers.fluxcd.io"},
	"helm-controller":               {"finalizers.fluxcd.io"},
	"argocd-application-controller": {"argocd.argoproj.io/hook-finalizer"},
}

// taken finds what the change takes away although it is not for the reconciler to take: finalizers, owners and Pod Security levels
// that no accepted commit ever declared, and fields of declared writers.
func (r *review) taken(f *policies.Form) []policies.Violation {
	var out []policies.Violation
	for _, e := range r.edits() {
		if e.now != nil || len(e.steps) < 2 || r.everDeclared(e.path) {
			continue
		}
		whose := ""
		switch {
		case e.steps[0] == "metadata" && e.steps[1] == "finalizers":
			if len(e.steps) == 3 && slices.Contains(ownFinalizers[r.j.reconcilers[r.c.Actor.User].account], e.steps[2]) {
				continue
			}
			whose = "it belongs to the controller that put it there"
		case e.steps[0] == "metadata" && e.steps[1] == "ownerReferences":
			whose = "it belongs to the controller that put it there"
		case r.governed == namespaceKind && len(e.steps) == 3 && e.steps[1] == "labels" && strings.HasPrefix(e.steps[2], "pod-security.kubernetes.io/"):
			whose = "without it, Pods would be let in that are refused now"
		default:
			w := r.writerOf(e)
			if w == "" {
				continue
			}
			whose = "it belongs to the writer " + w
		}
		out = append(out, policies.Violation{
			Rule: RuleField, Path: e.path, Pos: position(f, nil),
			Message: fmt.Sprintf("%s: is taken away, and no accepted commit declared it: %s", label(e), whose),
			Fix:     r.mend(f, nil),
		})
	}
	return out
}

// label names the field of an edit, a finalizer or owner by what it says.
func label(e edit) string {
	if len(e.steps) > 2 && (e.steps[1] == "finalizers" || e.steps[1] == "ownerReferences") {
		return "metadata." + e.steps[1] + "[" + e.steps[2] + "]"
	}
	return e.path.String()
}

// everDeclared says whether some accepted form has the field.
func (r *review) everDeclared(p policies.Path) bool {
	for _, f := range r.forms() {
		if len(p) == 3 && p[1] == "finalizers" {
			// By value: the place in a set says nothing.
			gone, _ := policies.Lookup(r.c.Old.Map(), p)
			declared, _ := policies.Lookup(f.Object.Map(), policies.Path{"metadata", "finalizers"})
			if contains(asList(declared), gone) {
				return true
			}
			continue
		}
		at := translated(p, r.c.Old.Map(), f.Object.Map(), r.lists())
		if _, ok := policies.Lookup(f.Object.Map(), at); ok && len(at) == len(p) {
			return true
		}
	}
	return false
}

// writerOf returns the declared writer to whom a field of this object belongs.
func (r *review) writerOf(e edit) string {
	for i := range r.j.writers {
		w := &r.j.writers[i]
		for k := range w.writes {
			x := &w.writes[k]
			if len(x.fields) > 0 && x.names(r.governed, r.key.Namespace, r.key.Name) && covered(x.fields, e) {
				return w.Name
			}
		}
	}
	return ""
}

// steps names the items of lists in a path by their keys.
func (r *review) steps(p policies.Path, in map[string]any) []string {
	lists := r.lists()
	out := make([]string, 0, len(p))
	var at any = in
	for i, step := range p {
		name := fmt.Sprint(step)
		if n, ok := step.(int); ok {
			list := asList(at)
			at = nil
			if n < len(list) {
				at = list[n]
				if lists != nil {
					if l := lists(p[:i]); l.Type == ListMap {
						name = nameOf(at, l.Keys)
					}
				}
			}
		} else {
			at = asMap(at)[name]
		}
		out = append(out, name)
	}
	return out
}
