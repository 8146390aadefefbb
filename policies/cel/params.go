package cel

import (
	"errors"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// params finds the parameter objects of a binding: in the change set, and beside the policies.
type params struct {
	kind     policies.GroupVersionKind
	ref      *admissionv1.ParamRef // nil: the policy is evaluated with params null
	selector labels.Selector       // nil unless ref has one
	beside   []*policies.Object    // of the kind, from the policies' own folders
	api      admission.API
}

// newParams returns nil for a policy without a paramKind: it ignores what a binding says of parameters.
func newParams(kind *admissionv1.ParamKind, ref *admissionv1.ParamRef, beside []*policies.Object, api admission.API) (*params, error) {
	if kind == nil {
		return nil, nil
	}
	p := &params{kind: paramGVK(kind), ref: ref, api: api}
	if ref != nil && ref.Selector != nil {
		var err error
		if p.selector, err = metav1.LabelSelectorAsSelector(ref.Selector); err != nil {
			return nil, fmt.Errorf("selector: %w", err)
		}
	}
	for _, o := range beside {
		if o.Kind.GroupKind() == p.kind.GroupKind() {
			p.beside = append(p.beside, o)
		}
	}
	return p, nil
}

func paramGVK(kind *admissionv1.ParamKind) policies.GroupVersionKind {
	group, version := policies.ParseAPIVersion(kind.APIVersion)
	return policies.GroupVersionKind{Group: group, Version: version, Kind: kind.Kind}
}

var errNoParams = errors.New("no params found for policy binding with `Deny` parameterNotFoundAction")

// find follows CollectParams of the API server (policy/generic, policy_dispatcher.go). A nil object stands for params null. No
// objects mean that the binding does not apply. unknown is admission.NeedParams when the cluster may have what is not at hand.
func (p *params) find(r *admission.Request) (found []*policies.Object, unknown admission.Needs, err error) {
	if p == nil || p.ref == nil {
		return []*policies.Object{nil}, 0, nil
	}
	candidates := p.candidates(r.Change.Set)
	namespaced := p.namespaced(r.Change.Set, candidates)
	namespace := ""
	switch {
	case namespaced && p.ref.Namespace != "":
		namespace = p.ref.Namespace
	case namespaced && r.Namespace == "":
		return nil, 0, errors.New("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
	case namespaced:
		namespace = r.Namespace
	case p.ref.Namespace != "":
		return nil, 0, errors.New("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
	}
	for _, o := range candidates {
		if namespaced && namespaceOrDefault(o) != namespace {
			continue
		}
		if p.selector != nil && p.selector.Matches(admission.LabelsOf(o)) || p.selector == nil && o.Name == p.ref.Name {
			found = append(found, o)
		}
	}
	if len(found) > 0 {
		return found, 0, nil
	}
	if !r.Change.Knows.Has(policies.KnowsCluster) {
		return nil, admission.NeedParams, nil
	}
	if *p.ref.ParameterNotFoundAction == admissionv1.DenyAction {
		return nil, 0, errNoParams
	}
	return nil, 0, nil
}

// candidates are the objects of the kind. One that is in the change set stands for that of the same name beside the policies.
func (p *params) candidates(set *policies.Set) []*policies.Object {
	declared := set.Of(p.kind.GroupKind())
	if len(p.beside) == 0 {
		return declared
	}
	out := slices.Clone(declared)
	for _, o := range p.beside {
		same := func(d *policies.Object) bool {
			return d.Name == o.Name && namespaceOrDefault(d) == namespaceOrDefault(o)
		}
		if !slices.ContainsFunc(declared, same) {
			out = append(out, o)
		}
	}
	return out
}

// namespaced says whether the kind is. Where the API does not tell, the objects do.
func (p *params) namespaced(set *policies.Set, candidates []*policies.Object) bool {
	if p.api != nil {
		if _, namespaced, known := p.api.Resource(set, p.kind); known {
			return namespaced
		}
	}
	return p.ref.Namespace != "" || slices.ContainsFunc(candidates, func(o *policies.Object) bool { return o.Namespace != "" })
}

// namespaceOrDefault is where kubectl would put an object that names no namespace.
func namespaceOrDefault(o *policies.Object) string {
	if o.Namespace == "" {
		return metav1.NamespaceDefault
	}
	return o.Namespace
}

// describe names what the binding looks for.
func (p *params) describe(r *admission.Request) string {
	namespace := p.ref.Namespace
	if namespace == "" {
		namespace = r.Namespace
	}
	what := p.kind.Kind
	if p.selector != nil {
		what += " with labels " + p.selector.String()
	} else {
		what += " " + p.ref.Name
	}
	if namespace != "" {
		what += " of namespace " + namespace
	}
	return what + ", the parameters of the policy"
}
