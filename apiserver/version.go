package apiserver

import (
	"fmt"
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gitgate.dev/gitgate/apiserver/openapi"
	"gitgate.dev/gitgate/policies"
)

// The code that is compiled in is that of Native. For another version it judges together with the form that the kinds have there
// (package openapi):
//
//   - a field, or a value of an enum, that the other version does not have is refused, though the code knows it;
//   - a field, or a value of an enum, that only the other version has is taken with the type it has there and named in a warning,
//     because no rule on it is known here; such a field is kept as written in the stored form, and what the code says of the value
//     around it is a warning too;
//   - a kind that only the other version has is judged by its form and its metadata alone, which a warning says;
//   - a field that the native code drops, as its feature is off there, and the other version keeps is stored as written or with its default
//     (graduated).

// forms are the forms of the kinds in r's version and in the native one.
func (r *Rules) forms() (chosen, native *openapi.Version, err error) {
	if chosen, err = openapi.Of(r.version); err != nil {
		return nil, nil, err
	}
	native, err = openapi.Of(Native)
	return chosen, native, err
}

// fit makes a, the native code's answer on o, the answer of r's version.
func (r *Rules) fit(a *Admission, o *policies.Object) error {
	if r.version == Native {
		return nil
	}
	chosen, native, err := r.forms()
	if err != nil {
		return err
	}
	k := chosen.Kind(o.Kind)
	if k == nil {
		return nil
	}
	fields, values := chosen.Newer(k, o.Map(), native)
	kept := a.Violations[:0:0]
	for _, v := range a.Violations {
		switch {
		case v.Rule == ruleUnknownField && slices.ContainsFunc(fields, func(p policies.Path) bool { return slices.Equal(p, v.Path) }):
		case (v.Rule == ruleUnsupported || v.Rule == ruleInvalid) && slices.ContainsFunc(values, func(p policies.Path) bool { return slices.Equal(p, v.Path) || isParent(v.Path, p) }):
		case slices.ContainsFunc(fields, func(p policies.Path) bool { return isParent(v.Path, p) }):
			v.Warning = true
			v.Message += fmt.Sprintf(": so says the code of Kubernetes %s, which does not know all fields that are written here", Native)
			v.Rule = ruleNotJudged
			a.Warnings = append(a.Warnings, v)
		default:
			kept = append(kept, v)
		}
	}
	a.Violations = kept
	a.addNew(chosen.Check(k, o.Map(), native))
	for _, p := range fields {
		a.Warnings = append(a.Warnings, policies.Violation{
			Rule: ruleNotJudged, Path: p, At: policies.AtKey, Warning: true,
			Message: fmt.Sprintf("field %s is newer than Kubernetes %s, whose rules gitgate has: only its type was judged", p, Native),
		})
	}
	for _, p := range values {
		a.Warnings = append(a.Warnings, policies.Violation{
			Rule: ruleNotJudged, Path: p, Warning: true,
			Message: fmt.Sprintf("the value of %s is newer than Kubernetes %s, whose rules gitgate has: what depends on it was not judged", p, Native),
		})
	}
	return nil
}

// Duplicates says which items of o's lists repeat the key of another, or a value in a list that is a set: what server-side apply
// refuses, though the API server takes some of it in a request that creates or updates the object whole. Items that a refuses
// already are left out. Custom resources have none: there the API server always refuses them.
func (r *Rules) Duplicates(o *policies.Object, a *Admission) []policies.Violation {
	chosen, _, err := r.forms()
	if err != nil {
		return nil
	}
	k := chosen.Kind(o.Kind)
	if k == nil {
		return nil
	}
	return slices.DeleteFunc(chosen.Duplicates(k, o.Map()), func(d policies.Violation) bool {
		item := d.Path
		for _, isIndex := item[len(item)-1].(int); !isIndex; _, isIndex = item[len(item)-1].(int) {
			item = item[:len(item)-1]
		}
		return slices.ContainsFunc(a.Violations, func(v policies.Violation) bool { return isWithin(item, v.Path) })
	})
}

// isWithin says that p is at or below the place at outer.
func isWithin(outer, p policies.Path) bool {
	return len(outer) <= len(p) && slices.Equal(outer, p[:len(outer)])
}

// addNew adds those of more that are about fields of which a says nothing yet.
func (a *Admission) addNew(more []policies.Violation) {
	said := map[string]bool{}
	if len(more) > 0 {
		for _, v := range a.Violations {
			said[v.Path.String()] = true
			if n := len(v.Path); v.Rule == ruleDuplicate && n > 0 {
				said[v.Path[:n-1].String()] = true // an item whose key is one that another has
			}
		}
	}
	for _, v := range more {
		if v.Rule != ruleDuplicate && !said[v.Path.String()] {
			a.Violations = append(a.Violations, ours(v))
		}
	}
}

// ours gives a violation of package openapi the rule id that the native code has for the same.
func ours(v policies.Violation) policies.Violation {
	if v.Rule == "enum" {
		v.Rule = ruleUnsupported
	}
	return v
}

// isParent says that child is a field of what stands at parent. The native code may name either when it means a field.
func isParent(parent, child policies.Path) bool {
	return len(child) > 0 && slices.Equal(parent, child[:len(child)-1])
}

// fitStored makes stored, which the native code made of o, what r's version would store.
func (r *Rules) fitStored(stored map[string]any, o *policies.Object) (map[string]any, error) {
	if r.version == Native {
		return stored, nil
	}
	chosen, native, err := r.forms()
	if err != nil {
		return nil, err
	}
	k := chosen.Kind(o.Kind)
	if k == nil || native.Kind(o.Kind) == nil {
		return stored, nil
	}
	stored = chosen.Fit(k, stored, o.Map(), native)
	for _, f := range graduatedFields() {
		if f.kind == o.Kind && f.minor <= r.minor {
			f.put(stored, o.Map())
		}
	}
	return stored, nil
}

// graduated is a field of a feature that is off in the native code and on by default from a minor version on.
type graduated struct {
	kind  policies.GroupVersionKind
	minor int
	in    policies.Path // where the field is
	name  string
	value any // its default, where in is stored
}

func graduatedFields() []graduated {
	return []graduated{
		{policies.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"}, 37, policies.Path{"spec", "updateStrategy", "rollingUpdate"}, "maxUnavailable", int64(1)},
		{policies.GroupVersionKind{Group: "storage.k8s.io", Version: "v1", Kind: "CSIDriver"}, 37, policies.Path{"spec"}, "preventPodSchedulingIfMissing", false},
	}
}

// put gives the stored form the field as it is written, or its default.
func (f *graduated) put(stored, written map[string]any) {
	at, _ := policies.Lookup(stored, f.in)
	to, ok := at.(map[string]any)
	if !ok {
		return
	}
	to[f.name] = f.value
	if v, ok := policies.Lookup(written, f.in.Append(f.name)); ok && v != nil {
		to[f.name] = v
	}
}

// formOnly is the kind that r's version serves and the native code does not know, or nil.
func (r *Rules) formOnly(gvk policies.GroupVersionKind) *openapi.Kind {
	if chosen, native, err := r.forms(); err == nil && r.version != Native && native.Kind(gvk) == nil {
		return chosen.Kind(gvk)
	}
	return nil
}

// admitFormOnly judges an object of a kind that the native code does not know.
func (r *Rules) admitFormOnly(k *openapi.Kind, o *policies.Object) *Admission {
	a := &Admission{Known: true}
	chosen, native, err := r.forms()
	if err != nil {
		a.Err = err
		return a
	}
	a.addNew(chosen.Check(k, o.Map(), native))
	if len(a.Violations) == 0 {
		meta, _ := policies.Lookup(o.Map(), policies.Path{"metadata"})
		a.Violations = metadataViolations(meta, k.Namespaced)
	}
	a.Warnings = append(a.Warnings, policies.Violation{
		Rule: ruleNotJudged, Path: policies.Path{"kind"}, Warning: true,
		Message: fmt.Sprintf("%s %s is newer than Kubernetes %s, whose rules gitgate has: only its fields and their types were judged", k.APIVersion(), k.Kind, Native),
	})
	if k.Optional() {
		a.Warnings = append(a.Warnings, policies.Violation{
			Rule: ruleNotServed, Path: policies.Path{"apiVersion"}, Warning: true,
			Message: fmt.Sprintf("%s %s is not served by default: the cluster needs --runtime-config=%s/%s=true", k.APIVersion(), k.Kind, k.APIVersion(), k.Plural),
		})
	}
	return a
}

// metadataViolations is what the API server says of every kind's metadata, whose form is right.
func metadataViolations(written any, namespaced bool) []policies.Violation {
	c := &customObject{content: map[string]any{"metadata": clone(written)}}
	meta := metav1.ObjectMeta{}
	readMeta(written, &meta)
	if meta.Name == "" && meta.GenerateName != "" {
		meta.Name = meta.GenerateName[:min(len(meta.GenerateName), maxGenerateName)] + placeholderSuffix
	}
	switch {
	case !namespaced:
		meta.Namespace = ""
	case meta.Namespace == "":
		meta.Namespace = placeholderNamespace
	}
	var out []policies.Violation
	for _, e := range apivalidation.ValidateObjectMeta(&meta, namespaced, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata")) {
		out = append(out, customViolation(e, c.content))
	}
	return out
}

// admitUnknown answers for a kind that no embedded version has, in a group that is Kubernetes's own: nothing else can serve it. It
// is nil for other groups.
func (r *Rules) admitUnknown(o *policies.Object) *Admission {
	chosen, _, err := r.forms()
	if err != nil || !openapi.HasGroup(o.Kind.Group) {
		return nil
	}
	v := policies.Violation{Rule: ruleNotServed, Path: policies.Path{"kind"}}
	where := o.Kind.APIVersion()
	served := chosen.Versions(o.Kind.GroupKind())
	since, gone := chosen.Elsewhere(o.Kind)
	switch {
	case since != "":
		v.Path = policies.Path{"apiVersion"}
		v.Message = fmt.Sprintf("%s %s is served from Kubernetes %s on, not by %s", where, o.Kind.Kind, since, r.version)
	case gone != "":
		v.Rule, v.Path = ruleRemovedAPI, policies.Path{"apiVersion"}
		v.Message = fmt.Sprintf("%s %s was removed in Kubernetes %s", where, o.Kind.Kind, gone)
	case len(served) > 0:
		v.Path = policies.Path{"apiVersion"}
		v.Message = fmt.Sprintf("Kubernetes %s does not serve %s in %s", r.version, o.Kind.Kind, where)
	default:
		v.Message = fmt.Sprintf("Kubernetes %s has no kind %s in %s", r.version, o.Kind.Kind, where)
		if near := chosen.Nearest(o.Kind); near != nil {
			v.Fix = fmt.Sprintf("did you mean %s %s?", near.APIVersion(), near.Kind)
		}
	}
	if len(served) > 0 {
		for i := range served {
			served[i] = policies.GroupVersionKind{Group: o.Kind.Group, Version: served[i]}.APIVersion()
		}
		v.Fix = "use " + orList(served)
	}
	return &Admission{Known: true, Violations: []policies.Violation{v}}
}

// Nearest is the kind of r's version that gvk is most likely a slip of; zero for none.
func (r *Rules) Nearest(gvk policies.GroupVersionKind) policies.GroupVersionKind {
	if chosen, _, err := r.forms(); err == nil {
		if k := chosen.Nearest(gvk); k != nil {
			return k.GroupVersionKind
		}
	}
	return policies.GroupVersionKind{}
}

// NotJudged is the id of warnings that a part of the answer is missing.
const NotJudged = ruleNotJudged

// LifeRuleIDs lists the ids of those warnings that speak of the life of an API version.
func LifeRuleIDs() []string { return []string{ruleDeprecated, ruleNotServed} }
