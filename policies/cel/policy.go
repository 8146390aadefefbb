package cel

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
	"gitgate.dev/gitgate/policies/strict"
)

// policy is a compiled ValidatingAdmissionPolicy. It is immutable and safe for concurrent use.
type policy struct {
	*admission.Program
	name         string
	def          *definition
	matcher      *admission.Matcher
	ignoreErrors bool // failurePolicy is Ignore
	convert      admission.Converter

	shared         bool // several bindings bind it, so that its answers are kept for the others
	watchesUpdates bool // its answer may differ between a creation and an update of the same object
}

// compilePolicy compiles all expressions of a policy. The errors are all of them, each at its place. Of an invalid definition
// nothing but those errors is made.
func compilePolicy(d *definition, envs *admission.Environments, api admission.API, convert admission.Converter) (*policy, []error) {
	p := &policy{name: d.Name, def: d, convert: convert, ignoreErrors: *d.Spec.FailurePolicy == admissionv1.Ignore}
	at := policies.Path{"spec"}
	var errs []error
	p.Program, errs = envs.Compile(d.doc, &admission.Source{
		Name: d.Name, Params: d.Spec.ParamKind != nil, IgnoreErrors: p.ignoreErrors, Fix: strings.TrimSpace(d.Annotations["gitgate.dev/fix"]),
		Conditions: d.Spec.MatchConditions, ConditionsAt: at.Append("matchConditions"),
		Variables: d.Spec.Variables, VariablesAt: at.Append("variables"),
		Validations: d.Spec.Validations, ValidationsAt: at.Append("validations"),
		Annotations: d.Spec.AuditAnnotations, AnnotationsAt: at.Append("auditAnnotations"),
	})
	if len(errs) > 0 || d.invalid {
		return nil, errs
	}
	var err error
	if p.matcher, err = admission.NewMatcher(d.Spec.MatchConstraints, api); err != nil {
		return nil, []error{errorAt(d.doc, policies.Path{"spec", "matchConstraints"}, policies.AtKey, err)}
	}
	p.watchesUpdates = p.WatchesUpdates() || p.matcher.WatchesUpdates()
	return p, nil
}

// describe collects what the document says of itself.
func (p *policy) describe(out *policies.Policy) error {
	notes := p.def.Annotations
	out.Doc = notes["kubernetes.io/description"]
	out.URL = notes["gitgate.dev/url"]
	if s := notes["gitgate.dev/severity"]; s != "" {
		out.Severity = policies.Severity(s)
		if !slices.Contains([]policies.Severity{policies.Info, policies.Low, policies.Medium, policies.High, policies.Critical}, out.Severity) {
			return errorAt(p.def.doc, policies.Path{"metadata", "annotations", "gitgate.dev/severity"}, policies.AtValue,
				fmt.Errorf("severity %q: expected info, low, medium, high or critical", strict.Shorten(s)))
		}
	}
	for _, id := range strings.Split(notes["gitgate.dev/controls"], ",") {
		if id = strings.TrimSpace(id); id != "" {
			out.Controls = append(out.Controls, id)
		}
	}
	out.Rules = p.Rules()
	return nil
}

// actionOf is the strongest of a binding's actions.
func actionOf(actions []admissionv1.ValidationAction) policies.Action {
	switch {
	case slices.Contains(actions, admissionv1.Deny):
		return policies.Deny
	case slices.Contains(actions, admissionv1.Warn):
		return policies.Warn
	default:
		return policies.Audit
	}
}
