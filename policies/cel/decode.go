package cel

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/strict"
)

const (
	group       = "admissionregistration.k8s.io"
	policyKind  = "ValidatingAdmissionPolicy"
	bindingKind = "ValidatingAdmissionPolicyBinding"
)

// definition is a ValidatingAdmissionPolicy with its defaults, and the document that it was read from.
type definition struct {
	*admissionv1.ValidatingAdmissionPolicy
	doc     *policies.Object
	invalid bool // its values are wrong, and that was told
}

// binding is a ValidatingAdmissionPolicyBinding with its defaults. doc is nil for an implicit one.
type binding struct {
	*admissionv1.ValidatingAdmissionPolicyBinding
	doc *policies.Object
}

// decodeDefinition reads a policy of any version of the group strictly, and defaults it as the API server does. Beside unknown
// fields the rest is read all the same, so that all that is wrong can be told; it is nil when that cannot be done.
func decodeDefinition(o *policies.Object) (*definition, []error) {
	d := &definition{ValidatingAdmissionPolicy: &admissionv1.ValidatingAdmissionPolicy{}, doc: o}
	ok, errs := decode(o, d.ValidatingAdmissionPolicy)
	if !ok {
		return nil, errs
	}
	if d.Spec.FailurePolicy == nil {
		fail := admissionv1.Fail
		d.Spec.FailurePolicy = &fail
	}
	defaultMatch(d.Spec.MatchConstraints)
	return d, errs
}

// decodeBinding is decodeDefinition for a binding.
func decodeBinding(o *policies.Object) (*binding, []error) {
	b := &binding{ValidatingAdmissionPolicyBinding: &admissionv1.ValidatingAdmissionPolicyBinding{}, doc: o}
	ok, errs := decode(o, b.ValidatingAdmissionPolicyBinding)
	if !ok {
		return nil, errs
	}
	defaultMatch(b.Spec.MatchResources)
	// Only the alpha version had a default here (pkg/apis/admissionregistration/v1alpha1, defaults.go).
	if ref := b.Spec.ParamRef; o.Kind.Version == "v1alpha1" && ref != nil && ref.ParameterNotFoundAction == nil {
		deny := admissionv1.DenyAction
		ref.ParameterNotFoundAction = &deny
	}
	return b, errs
}

func defaultMatch(m *admissionv1.MatchResources) {
	if m == nil {
		return
	}
	if m.MatchPolicy == nil {
		equivalent := admissionv1.Equivalent
		m.MatchPolicy = &equivalent
	}
	if m.NamespaceSelector == nil {
		m.NamespaceSelector = &metav1.LabelSelector{}
	}
	if m.ObjectSelector == nil {
		m.ObjectSelector = &metav1.LabelSelector{}
	}
}

// decode fills into, a pointer to an API type, from the document. Every unknown field and every value of a wrong type is an
// error at its place; ok says that there are none of the second sort. All versions of the group have the same fields, so that
// one type reads them all.
func decode(o *policies.Object, into any) (ok bool, errs []error) {
	return strict.Decode(o, nil, o.Map(), into, strict.Options{})
}

// errorAt says that err is at a field of a document.
func errorAt(o *policies.Object, path policies.Path, at policies.Aspect, err error) error {
	return policies.ErrorAt(o.Locate(path, at), err)
}
