package cel

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/strict"
)

// The limits of pkg/apis/admissionregistration/validation.
const (
	maxMatchConditions         = 64
	maxAuditAnnotations        = 20
	maxAuditAnnotationExprSize = 5 * 1024
)

// problems collects what is wrong with a document, each at its field.
type problems struct {
	doc  *policies.Object
	errs []error
}

// add says that the field at path is wrong.
func (p *problems) add(path policies.Path, format string, args ...any) {
	p.errs = append(p.errs, errorAt(p.doc, path, policies.AtValue, fmt.Errorf("%s: "+format, append([]any{path}, args...)...)))
}

// addAll takes what Kubernetes' own validation found.
func (p *problems) addAll(errs field.ErrorList) {
	for _, e := range errs {
		path := policies.ParsePath(e.Field)
		p.errs = append(p.errs, errorAt(p.doc, path, policies.AtValue, fmt.Errorf("%s: %s", path, e.ErrorBody())))
	}
}

func (p *problems) oneOf(path policies.Path, value string, valid ...string) {
	if !slices.Contains(valid, value) {
		p.add(path, "%q is not supported: expected %s", strict.Shorten(value), strings.Join(valid, ", "))
	}
}

// required reports a string without content, and says whether it has some.
func (p *problems) required(path policies.Path, value string) bool {
	if strings.TrimSpace(value) == "" {
		p.add(path, "required, and not given")
		return false
	}
	return true
}

func (p *problems) metadata(meta *metav1.ObjectMeta) {
	p.addAll(apivalidation.ValidateObjectMeta(meta, false, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata")))
}

// validateDefinition checks the values of a policy as the API server does when it is created
// (pkg/apis/admissionregistration/validation, ValidateValidatingAdmissionPolicy), all but the CEL expressions themselves.
func validateDefinition(d *definition) []error {
	p := &problems{doc: d.doc}
	p.metadata(&d.ObjectMeta)
	spec := &d.Spec
	at := policies.Path{"spec"}
	p.oneOf(at.Append("failurePolicy"), string(*spec.FailurePolicy), string(admissionv1.Fail), string(admissionv1.Ignore))
	if spec.ParamKind != nil {
		p.paramKind(spec.ParamKind, at.Append("paramKind"))
	}
	if spec.MatchConstraints == nil || len(spec.MatchConstraints.ResourceRules) == 0 {
		p.add(at.Append("matchConstraints", "resourceRules"), "required, at least one rule")
	}
	p.match(spec.MatchConstraints, at.Append("matchConstraints"))
	p.matchConditions(spec.MatchConditions, at.Append("matchConditions"))
	for i, v := range spec.Variables {
		at := at.Append("variables", i)
		if p.required(at.Append("name"), v.Name) && !isIdentifier(v.Name) {
			p.add(at.Append("name"), "%q is no CEL identifier", strict.Shorten(v.Name))
		}
		p.required(at.Append("expression"), v.Expression)
	}
	if len(spec.Validations) == 0 && len(spec.AuditAnnotations) == 0 {
		p.add(at.Append("validations"), "required, at least one, or one of spec.auditAnnotations")
	}
	for i := range spec.Validations {
		p.validation(&spec.Validations[i], at.Append("validations", i))
	}
	p.auditAnnotations(d.Name, spec.AuditAnnotations, at.Append("auditAnnotations"))
	return p.errs
}

func (p *problems) paramKind(k *admissionv1.ParamKind, at policies.Path) {
	if p.required(at.Append("apiVersion"), k.APIVersion) {
		group, version := policies.ParseAPIVersion(k.APIVersion)
		var msgs []string
		if group != "" {
			msgs = validation.IsDNS1123Subdomain(group)
		}
		for _, msg := range append(msgs, validation.IsDNS1035Label(version)...) {
			p.add(at.Append("apiVersion"), "%q: %s", strict.Shorten(k.APIVersion), msg)
		}
	}
	if p.required(at.Append("kind"), k.Kind) {
		for _, msg := range validation.IsDNS1035Label(strings.ToLower(k.Kind)) {
			p.add(at.Append("kind"), "%q: %s", strict.Shorten(k.Kind), msg)
		}
	}
}

func (p *problems) matchConditions(conditions []admissionv1.MatchCondition, at policies.Path) {
	if len(conditions) > maxMatchConditions {
		p.add(at, "%d conditions: expected at most %d", len(conditions), maxMatchConditions)
	}
	names := map[string]bool{}
	for i, c := range conditions {
		at := at.Append(i)
		p.required(at.Append("expression"), c.Expression)
		if !p.required(at.Append("name"), c.Name) {
			continue
		}
		for _, msg := range validation.IsQualifiedName(c.Name) {
			p.add(at.Append("name"), "%q: %s", strict.Shorten(c.Name), msg)
		}
		if names[c.Name] {
			p.add(at.Append("name"), "%q is the name of another condition", c.Name)
		}
		names[c.Name] = true
	}
}

func (p *problems) validation(v *admissionv1.Validation, at policies.Path) {
	p.required(at.Append("expression"), v.Expression)
	if v.MessageExpression != "" && strings.TrimSpace(v.MessageExpression) == "" {
		p.add(at.Append("messageExpression"), "blank: expected an expression, or no such field")
	}
	switch trimmed := strings.TrimSpace(v.Message); {
	case v.Message != "" && trimmed == "":
		p.add(at.Append("message"), "blank: expected a text, or no such field")
	case strings.ContainsAny(trimmed, "\n\r"):
		p.add(at.Append("message"), "has line breaks: expected one line")
	}
	if v.Reason != nil {
		p.oneOf(at.Append("reason"), string(*v.Reason), string(metav1.StatusReasonForbidden), string(metav1.StatusReasonInvalid),
			string(metav1.StatusReasonRequestEntityTooLarge))
	}
}

func (p *problems) auditAnnotations(policy string, annotations []admissionv1.AuditAnnotation, at policies.Path) {
	if len(annotations) > maxAuditAnnotations {
		p.add(at, "%d annotations: expected at most %d", len(annotations), maxAuditAnnotations)
	}
	keys := map[string]bool{}
	for i, a := range annotations {
		at := at.Append(i)
		for _, msg := range validation.IsQualifiedName(policy + "/" + a.Key) {
			p.add(at.Append("key"), "%q: %s", strict.Shorten(policy+"/"+a.Key), msg)
		}
		if keys[a.Key] {
			p.add(at.Append("key"), "%q is the key of another annotation", a.Key)
		}
		keys[a.Key] = true
		if p.required(at.Append("valueExpression"), a.ValueExpression) && len(strings.TrimSpace(a.ValueExpression)) > maxAuditAnnotationExprSize {
			p.add(at.Append("valueExpression"), "longer than %d bytes", maxAuditAnnotationExprSize)
		}
	}
}

// validateBinding is validateDefinition for a binding (ValidateValidatingAdmissionPolicyBinding).
func validateBinding(b *binding) []error {
	p := &problems{doc: b.doc}
	p.metadata(&b.ObjectMeta)
	at := policies.Path{"spec"}
	if p.required(at.Append("policyName"), b.Spec.PolicyName) {
		for _, msg := range apivalidation.NameIsDNSSubdomain(b.Spec.PolicyName, false) {
			p.add(at.Append("policyName"), "%q: %s", strict.Shorten(b.Spec.PolicyName), msg)
		}
	}
	p.paramRef(b.Spec.ParamRef, at.Append("paramRef"))
	p.match(b.Spec.MatchResources, at.Append("matchResources"))
	p.actions(b.Spec.ValidationActions, at.Append("validationActions"))
	return p.errs
}

func (p *problems) paramRef(ref *admissionv1.ParamRef, at policies.Path) {
	if ref == nil {
		return
	}
	switch {
	case ref.Name != "" && ref.Selector != nil:
		p.add(at.Append("selector"), "name is given too: expected one of the two")
	case ref.Name == "" && ref.Selector == nil:
		p.add(at, "neither name nor selector: expected one of the two")
	}
	if ref.Name != "" {
		for _, msg := range content.IsPathSegmentName(ref.Name) {
			p.add(at.Append("name"), "%q: %s", strict.Shorten(ref.Name), msg)
		}
	}
	p.selector(ref.Selector, at.Append("selector"))
	if action := ref.ParameterNotFoundAction; action == nil || *action == "" {
		p.add(at.Append("parameterNotFoundAction"), "required: Deny or Allow")
	} else {
		p.oneOf(at.Append("parameterNotFoundAction"), string(*action), string(admissionv1.AllowAction), string(admissionv1.DenyAction))
	}
}

func (p *problems) actions(actions []admissionv1.ValidationAction, at policies.Path) {
	if len(actions) == 0 {
		p.add(at, "required, at least one of Audit, Deny, Warn")
	}
	for i, a := range actions {
		p.oneOf(at.Append(i), string(a), string(admissionv1.Audit), string(admissionv1.Deny), string(admissionv1.Warn))
		if slices.Contains(actions[:i], a) {
			p.add(at.Append(i), "%s is given twice", a)
		}
	}
	if slices.Contains(actions, admissionv1.Deny) && slices.Contains(actions, admissionv1.Warn) {
		p.add(at, "both Deny and Warn: expected one of the two, since a denial says the same as its warning")
	}
}

func (p *problems) match(m *admissionv1.MatchResources, at policies.Path) {
	if m == nil {
		return
	}
	p.oneOf(at.Append("matchPolicy"), string(*m.MatchPolicy), string(admissionv1.Equivalent), string(admissionv1.Exact))
	p.selector(m.NamespaceSelector, at.Append("namespaceSelector"))
	p.selector(m.ObjectSelector, at.Append("objectSelector"))
	for i := range m.ResourceRules {
		p.rule(&m.ResourceRules[i], at.Append("resourceRules", i))
	}
	for i := range m.ExcludeResourceRules {
		p.rule(&m.ExcludeResourceRules[i], at.Append("excludeResourceRules", i))
	}
}

func (p *problems) selector(s *metav1.LabelSelector, at policies.Path) {
	if s == nil {
		return
	}
	found := metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, field.NewPath(at.String()))
	p.addAll(found)
	if len(found) > 0 {
		return
	}
	if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
		p.add(at, "%v", err)
	}
}

func (p *problems) rule(r *admissionv1.NamedRuleWithOperations, at policies.Path) {
	for i, name := range r.ResourceNames {
		for _, msg := range content.IsPathSegmentName(name) {
			p.add(at.Append("resourceNames", i), "%q: %s", strict.Shorten(name), msg)
		}
		if slices.Contains(r.ResourceNames[:i], name) {
			p.add(at.Append("resourceNames", i), "%q is given twice", name)
		}
	}
	wildcard(p, at.Append("operations"), r.Operations)
	for i, op := range r.Operations {
		p.oneOf(at.Append("operations", i), string(op), "*", string(admissionv1.Connect), string(admissionv1.Create), string(admissionv1.Delete), string(admissionv1.Update))
	}
	wildcard(p, at.Append("apiGroups"), r.APIGroups)
	wildcard(p, at.Append("apiVersions"), r.APIVersions)
	for i, v := range r.APIVersions {
		if v == "" {
			p.add(at.Append("apiVersions", i), "required, and not given")
		}
	}
	if err := checkResources(r.Resources); err != nil {
		p.add(at.Append("resources"), "%v", err)
	}
	if r.Scope != nil {
		p.oneOf(at.Append("scope"), string(*r.Scope), string(admissionv1.AllScopes), string(admissionv1.ClusterScope), string(admissionv1.NamespacedScope))
	}
}

// wildcard wants at least one value, and a "*" to stand alone.
func wildcard[S ~string](p *problems, at policies.Path, values []S) {
	if len(values) == 0 {
		p.add(at, "required, at least one")
	}
	if len(values) > 1 && slices.Contains(values, "*") {
		p.add(at, `"*" stands beside others: expected it alone`)
	}
}

// checkResources refuses resources that another pattern of the list covers already.
func checkResources(resources []string) error {
	if len(resources) == 0 {
		return errors.New("required, at least one")
	}
	if slices.Contains(resources, "") {
		return errors.New("an empty name: expected a resource")
	}
	if len(resources) > 1 && slices.Contains(resources, "*/*") {
		return errors.New(`"*/*" stands beside others: expected it alone`)
	}
	anySub, anyResource, all, plain := map[string]bool{}, map[string]bool{}, false, false
	for _, r := range resources {
		name, sub, ok := strings.Cut(r, "/")
		if !ok {
			all = all || r == "*"
			plain = r != "*" // as upstream: what the last name without a subresource says
			continue
		}
		if anySub[name] {
			return fmt.Errorf("%q covers %q already", name+"/*", r)
		}
		if anyResource[sub] {
			return fmt.Errorf("%q covers %q already", "*/"+sub, r)
		}
		anySub[name] = anySub[name] || sub == "*"
		anyResource[sub] = anyResource[sub] || name == "*"
	}
	if all && plain {
		return errors.New(`"*" stands beside other resources: expected it alone`)
	}
	return nil
}

var identifier = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]*$`)

// isIdentifier says whether s can be the name of a variable: an identifier that the CEL grammar does not reserve.
func isIdentifier(s string) bool {
	switch s {
	case "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
		"loop", "package", "namespace", "return", "var", "void", "while":
		return false
	}
	return identifier.MatchString(s)
}
