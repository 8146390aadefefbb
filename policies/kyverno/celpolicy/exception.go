package celpolicy

import (
	"slices"
	"strconv"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
	"gitgate.dev/gitgate/policies/strict"
)

// exception is a PolicyException. What it excepts is decided for each request.
type exception struct {
	doc        *policies.Object
	name       string // namespace/name
	refs       []policyRef
	conditions []admissionv1.MatchCondition
	images     []string
	values     []string
	passes     bool      // what is excepted is told to pass, not to be skipped
	expires    time.Time // zero for never
	priority   int
}

type policyRef struct{ kind, name string }

// priorityLabel chooses the exception that is told when several hold (Kyverno's pkg/utils/report).
const priorityLabel = "polex.kyverno.io/priority"

func (b *bundle) exception(o *policies.Object) *exception {
	d := &exceptionDocument{}
	usable, errs := strict.Decode(o, nil, o.Map(), d, strict.Options{})
	b.errs = append(b.errs, errs...)
	if !usable {
		return nil
	}
	at := policies.Path{"spec"}
	x := &exception{
		doc: o, name: o.Name, conditions: d.Spec.MatchConditions, images: d.Spec.Images, values: d.Spec.AllowedValues, passes: d.Spec.ReportResult == "pass",
	}
	if o.Namespace != "" {
		x.name = o.Namespace + "/" + o.Name
	}
	if len(d.Spec.PolicyRefs) == 0 {
		b.wrong(o, at, policies.AtKey, "%s excepts nothing: expected spec.policyRefs", o)
	}
	for i, ref := range d.Spec.PolicyRefs {
		b.required(o, at.Append("policyRefs", i, "name"), ref.Name)
		b.required(o, at.Append("policyRefs", i, "kind"), ref.Kind)
		x.refs = append(x.refs, policyRef{ref.Kind, ref.Name})
	}
	for i, c := range d.Spec.MatchConditions {
		b.required(o, at.Append("matchConditions", i, "expression"), c.Expression)
	}
	b.oneOf(o, at.Append("reportResult"), d.Spec.ReportResult, "", "skip", "pass")
	if d.Spec.ExpiresAt != nil {
		x.expires = d.Spec.ExpiresAt.Time
	}
	x.priority, _ = strconv.Atoi(d.Metadata.Labels[priorityLabel])
	return x
}

// about says whether x names a policy.
func (x *exception) about(o *policies.Object) bool {
	return slices.Contains(x.refs, policyRef{o.Kind.Kind, o.Name})
}

// compiledException is an exception whose conditions are compiled among a policy's libraries.
type compiledException struct {
	*exception
	conditions []*admission.Expression
}

// full says that x excepts all, and not only images or values that expressions ask for.
func (x *compiledException) full() bool { return len(x.images) == 0 && len(x.values) == 0 }
