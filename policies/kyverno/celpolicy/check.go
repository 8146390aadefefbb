package celpolicy

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/strict"
)

// check tells the values that Kyverno or its CustomResourceDefinition refuses (pkg/cel/policies/vpol, Validate), all but the
// expressions themselves.
func (b *bundle) check(o *policies.Object, d *document) {
	at := policies.Path{"spec"}
	s := &d.Spec
	b.oneOf(o, at.Append("failurePolicy"), s.FailurePolicy, "", string(admissionv1.Fail), string(admissionv1.Ignore))
	b.oneOf(o, at.Append("evaluation", "mode"), s.mode(), modeKubernetes, modeJSON, "HTTP", "Envoy")
	for i, a := range s.ValidationActions {
		b.oneOf(o, at.Append("validationActions", i), string(a), string(admissionv1.Deny), string(admissionv1.Warn), string(admissionv1.Audit))
	}
	if d.Metadata.Name == "" {
		b.wrong(o, policies.Path{"metadata"}, policies.AtKey, "metadata.name: required, and not given")
	}
	if s.mode() == modeKubernetes {
		b.match(o, at.Append("matchConstraints"), s.MatchConstraints)
	}
	for i, c := range s.MatchConditions {
		b.required(o, at.Append("matchConditions", i, "name"), c.Name)
		b.required(o, at.Append("matchConditions", i, "expression"), c.Expression)
	}
	names := map[string]bool{}
	for i, v := range s.Variables {
		name := at.Append("variables", i, "name")
		if b.required(o, name, v.Name); v.Name != "" && names[v.Name] {
			b.wrong(o, name, policies.AtValue, "%s: %q is the name of another variable", name, strict.Shorten(v.Name))
		}
		names[v.Name] = true
		b.required(o, at.Append("variables", i, "expression"), v.Expression)
	}
	for i, v := range s.Validations {
		b.required(o, at.Append("validations", i, "expression"), v.Expression)
	}
	for i, a := range s.AuditAnnotations {
		b.required(o, at.Append("auditAnnotations", i, "key"), a.Key)
		b.required(o, at.Append("auditAnnotations", i, "valueExpression"), a.ValueExpression)
	}
}

func (b *bundle) oneOf(o *policies.Object, path policies.Path, value string, valid ...string) {
	if !slices.Contains(valid, value) {
		shown := slices.DeleteFunc(slices.Clone(valid), func(v string) bool { return v == "" })
		b.wrong(o, path, policies.AtValue, "%s: %q is not supported: expected %s", path, strict.Shorten(value), strings.Join(shown, ", "))
	}
}

func (b *bundle) required(o *policies.Object, path policies.Path, value string) {
	if strings.TrimSpace(value) == "" {
		b.wrong(o, path, policies.AtValue, "%s: required, and not given", path)
	}
}

func (b *bundle) match(o *policies.Object, at policies.Path, m *admissionv1.MatchResources) {
	if m == nil || len(m.ResourceRules) == 0 {
		b.wrong(o, at, policies.AtKey, "%s: required, with at least one of resourceRules", at)
		return
	}
	if m.MatchPolicy != nil {
		b.oneOf(o, at.Append("matchPolicy"), string(*m.MatchPolicy), string(admissionv1.Exact), string(admissionv1.Equivalent))
	}
	for key, selector := range map[string]*metav1.LabelSelector{"namespaceSelector": m.NamespaceSelector, "objectSelector": m.ObjectSelector} {
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			b.errs = append(b.errs, strict.ErrorAt(o, at.Append(key), policies.AtKey, fmt.Errorf("%s: %w", at.Append(key), err)))
		}
	}
	for key, rules := range map[string][]admissionv1.NamedRuleWithOperations{"resourceRules": m.ResourceRules, "excludeResourceRules": m.ExcludeResourceRules} {
		for i, rule := range rules {
			at := at.Append(key, i)
			for j, op := range rule.Operations {
				b.oneOf(o, at.Append("operations", j), string(op), "*", string(admissionv1.Create), string(admissionv1.Update), string(admissionv1.Delete), string(admissionv1.Connect))
			}
			if rule.Scope != nil {
				b.oneOf(o, at.Append("scope"), string(*rule.Scope), "*", string(admissionv1.ClusterScope), string(admissionv1.NamespacedScope))
			}
		}
	}
}
