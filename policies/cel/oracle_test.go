package cel_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
	listersv1 "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

// oracle judges a change with the API server's own matcher and validator. It answers as told does.
type oracle struct {
	policy    *admissionv1.ValidatingAdmissionPolicy
	bindings  []*admissionv1.ValidatingAdmissionPolicyBinding
	validator validating.Validator
}

func newOracle(t testing.TB, text string) *oracle {
	t.Helper()
	o := &oracle{}
	for _, doc := range strings.Split(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.Kind {
		case "ValidatingAdmissionPolicy":
			o.policy = &admissionv1.ValidatingAdmissionPolicy{}
			if err := yaml.UnmarshalStrict([]byte(doc), o.policy); err != nil {
				t.Fatal(err)
			}
			defaultMatch(o.policy.Spec.MatchConstraints)
		case "ValidatingAdmissionPolicyBinding":
			b := &admissionv1.ValidatingAdmissionPolicyBinding{}
			if err := yaml.UnmarshalStrict([]byte(doc), b); err != nil {
				t.Fatal(err)
			}
			defaultMatch(b.Spec.MatchResources)
			o.bindings = append(o.bindings, b)
		}
	}
	o.validator = validatorOf(t, o.policy)
	return o
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

// validatorOf puts the API server's parts together as its plugin does (policy/validating, plugin.go).
func validatorOf(t testing.TB, p *admissionv1.ValidatingAdmissionPolicy) validating.Validator {
	t.Helper()
	compiler, err := admissioncel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		t.Fatal(err)
	}
	vars := admissioncel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil, HasAuthorizer: true}
	messageVars := vars
	messageVars.HasAuthorizer = false
	for _, v := range p.Spec.Variables {
		compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, vars, environment.StoredExpressions)
	}
	var validations, messages, annotations, conditions []admissioncel.ExpressionAccessor
	for _, v := range p.Spec.Validations {
		validations = append(validations, &validating.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason})
		if v.MessageExpression == "" {
			messages = append(messages, nil)
		} else {
			messages = append(messages, &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression})
		}
	}
	for _, a := range p.Spec.AuditAnnotations {
		annotations = append(annotations, &validating.AuditAnnotationCondition{Key: a.Key, ValueExpression: a.ValueExpression})
	}
	var matcher matchconditions.Matcher
	if len(p.Spec.MatchConditions) > 0 {
		for i := range p.Spec.MatchConditions {
			conditions = append(conditions, (*matchconditions.MatchCondition)(&p.Spec.MatchConditions[i]))
		}
		matcher = matchconditions.NewMatcher(compiler.CompileCondition(conditions, vars, environment.StoredExpressions), p.Spec.FailurePolicy, "policy", "validate", p.Name)
	}
	return validating.NewValidator(
		compiler.CompileCondition(validations, vars, environment.StoredExpressions), matcher,
		compiler.CompileCondition(annotations, vars, environment.StoredExpressions),
		compiler.CompileCondition(messages, messageVars, environment.StoredExpressions), p.Spec.FailurePolicy, nil)
}

// attributes are those of a change, as the API server's handlers would make them.
func attributes(c *policies.Change) admission.Attributes {
	content := func(o *policies.Object) runtime.Object {
		if o == nil {
			return nil
		}
		u := (&unstructured.Unstructured{Object: o.Settled()}).DeepCopy()
		if u.GetName() == "" && o == c.Object {
			u.SetName(u.GetGenerateName() + "xxxxx") // generated before policies are asked
		}
		return u
	}
	subject := c.Subject()
	namespace := c.Namespace
	if subject.Kind.Kind == "Namespace" {
		namespace = subject.Name
	}
	name := subject.Name
	if meta, _ := subject.Settled()["metadata"].(map[string]any); name == "" && meta["generateName"] != nil && c.Object != nil {
		name = fmt.Sprint(meta["generateName"], "xxxxx")
	}
	extra := map[string][]string{}
	for k, v := range c.Actor.Extra {
		extra[k] = v
	}
	return admission.NewAttributesRecord(content(c.Object), content(c.Old), schema.GroupVersionKind(subject.Kind), namespace, name,
		schema.GroupVersionResource{Group: c.Resource.Group, Version: c.Resource.Version, Resource: c.Resource.Resource}, c.Resource.Subresource,
		admission.Operation(c.Operation), &metav1.CreateOptions{TypeMeta: metav1.TypeMeta{Kind: "CreateOptions", APIVersion: "meta.k8s.io/v1"}, FieldManager: "kubectl"},
		c.DryRun, &user.DefaultInfo{Name: c.Actor.User, UID: c.Actor.UID, Groups: c.Actor.Groups, Extra: extra})
}

type noAuthorizer struct{}

func (noAuthorizer) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", nil
}

// judge answers for the first binding of the policy.
func (o *oracle) judge(t testing.TB, c *policies.Change, param *policies.Object) string {
	t.Helper()
	ctx := context.Background()
	attrs := attributes(c)
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	var namespace *corev1.Namespace
	known := c.Holder
	if c.Subject().Kind.Kind == "Namespace" {
		if known = c.Old; known == nil {
			known = c.Object
		}
	}
	if known != nil {
		ns := &corev1.Namespace{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(known.Settled(), ns); err != nil {
			t.Fatal(err)
		}
		if err := indexer.Add(ns); err != nil {
			t.Fatal(err)
		}
		if known == c.Holder {
			namespace = ns
		}
	}
	matcher := generic.NewPolicyMatcher(matching.NewMatcher(listersv1.NewNamespaceLister(indexer), nil))
	interfaces := admission.NewObjectInterfacesFromScheme(runtime.NewScheme())
	matched, resource, kind, err := matcher.DefinitionMatches(attrs, interfaces, validating.NewValidatingAdmissionPolicyAccessor(o.policy))
	if err != nil {
		return "error: " + err.Error()
	}
	if !matched {
		return "skipped"
	}
	if matched, err = matcher.BindingMatches(attrs, interfaces, validating.NewValidatingAdmissionPolicyBindingAccessor(o.bindings[0])); err != nil {
		return "error: " + err.Error()
	}
	if !matched {
		return "skipped"
	}
	versioned, err := admission.NewVersionedAttributes(attrs, kind, interfaces)
	if err != nil {
		t.Fatal(err)
	}
	var params runtime.Object
	if param != nil {
		params = &unstructured.Unstructured{Object: param.Settled()}
	}
	result := o.validator.Validate(ctx, resource, versioned, params, namespace, celconfig.RuntimeCELCostBudget, noAuthorizer{})
	return toldByOracle(result)
}

// toldByOracle sorts denials from errors, as gitgate does: an error tells only where there is no denial.
func toldByOracle(result validating.ValidateResult) string {
	var denials, errs []string
	for i, d := range result.Decisions {
		switch {
		case d.Action == validating.ActionDeny && d.Evaluation == validating.EvalError:
			// Errors of match conditions come in one, as "[a, b]".
			message := strings.TrimSuffix(strings.TrimPrefix(d.Message, "["), "]")
			errs = append(errs, strings.Split(strings.ReplaceAll(message, ", expression '", "\nexpression '"), "\n")...)
		case d.Action == validating.ActionDeny:
			denials = append(denials, fmt.Sprintf("validations[%d] %s: %s", i, d.Reason, d.Message))
		}
	}
	for _, a := range result.AuditAnnotations {
		if a.Action == validating.AuditAnnotationActionError {
			errs = append(errs, a.Error)
		}
	}
	switch {
	case len(denials) > 0:
		return strings.Join(denials, "\n")
	case len(errs) > 0:
		return "error: " + strings.Join(slices.Compact(errs), "\n")
	case len(result.Decisions) == 0 && len(result.AuditAnnotations) == 0:
		return "skipped"
	default:
		return "passed"
	}
}

// comparable takes from gitgate's answer what the API server does not say: where an expression stands, and why it is skipped.
func comparable(text string) string {
	if strings.HasPrefix(text, "skipped") {
		if strings.Contains(text, "validations") {
			return "passed" // an ignored error of a validation admits
		}
		return "skipped"
	}
	rest, failed := strings.CutPrefix(text, "error: ")
	if !failed {
		return text
	}
	lines := strings.Split(rest, "\n")
	for i, line := range lines {
		for _, field := range []string{"expression: ", "valueExpression: "} {
			if at := strings.Index(line, field); strings.HasPrefix(line, "spec.") && at > 0 && !strings.Contains(line[:at], " ") {
				line = line[at+len(field):]
			}
		}
		lines[i] = line
	}
	return "error: " + strings.Join(slices.Compact(lines), "\n")
}

// oracleObjects are what the policies of the comparison are asked about.
var oracleObjects = []string{
	deployment,
	"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, labels: {app: a}}\nspec: {containers: [{name: c, image: \"nginx@sha256:00\", resources: {limits: {memory: 1Gi}}}]}\n",
	"apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-, namespace: prod}\nspec: {hostNetwork: true, containers: []}\n",
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm, namespace: shop}\ndata: {a: \"1\", b: x}\n",
	"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n",
	"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\nrules: [{apiGroups: [\"*\"], resources: [\"*\"], verbs: [\"*\"]}]\n",
}

// oracleExpressions are put together at random. Each is a boolean that holds for some of the objects, or fails.
var oracleExpressions = []string{
	"true", "false", "has(object.spec)", "object.spec.replicas > 3", "object.metadata.name == 'a'",
	"object.spec.containers.all(c, c.image.contains('@sha256:'))",
	"object.spec.template.spec.containers.all(c, !c.image.endsWith(':latest'))",
	"has(object.metadata.labels) && 'app' in object.metadata.labels",
	"object.?metadata.?labels['app'].orValue('') == 'web'",
	"!has(object.spec.hostNetwork) || object.spec.hostNetwork == false",
	"request.operation == 'CREATE'", "request.namespace == 'shop'", "has(request.name)", "request.userInfo.username == 'alice'",
	"'dev' in request.userInfo.groups", "oldObject == null", "oldObject != null && object.metadata == oldObject.metadata",
	"namespaceObject.metadata.labels['team'] == 'a'", "namespaceObject == null", "request.kind.kind in ['Pod', 'Deployment']",
	"object.rules.exists(r, '*' in r.verbs)", "object.data.all(k, object.data[k] != '')",
	"quantity(object.spec.containers[0].resources.limits.memory).compareTo(quantity('2Gi')) < 0",
	"object.metadata.name.matches('^[a-z]+$') ? true : object.nothing", "variables.shared", "variables.count > 0", "variables.broken == 1",
	"object.spec.containers.map(c, c.name).exists_one(n, n == 'c')",
	"request.options.fieldManager == 'kubectl'", "request.dryRun", "type(object.metadata.name) == string && dyn(object.spec.replicas) == 7.0",
	"object.?metadata.optMap(x, x.name == 'cm').orValue(true)", "object.metadata.name.split('').all(i, v, i < 3 || v != 'x')",
}

const oracleVariables = `
variables:
- {name: shared, expression: "has(object.metadata.labels) && object.metadata.labels.size() > 0"}
- {name: count, expression: "size(object.metadata.name) + (variables.shared ? 1 : 0)"}
- {name: broken, expression: "object.nothing"}
`

var oracleMatches = []string{
	"{resourceRules: [{apiGroups: [\"*\"], apiVersions: [\"*\"], operations: [\"*\"], resources: [\"*\"]}]}",
	"{resourceRules: [{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [pods, namespaces]}]}",
	"{resourceRules: [{apiGroups: [\"*\"], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [\"*/*\"], scope: Cluster}]}",
	"{resourceRules: [{apiGroups: [\"\", apps], apiVersions: [v1], operations: [CREATE, DELETE], resources: [\"*\"], scope: Namespaced}], excludeResourceRules: [{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [\"pods/*\"], resourceNames: [a]}]}",
	"{namespaceSelector: {matchLabels: {team: a}}, resourceRules: [{apiGroups: [\"*\"], apiVersions: [v1], operations: [\"*\"], resources: [\"*\"]}]}",
	"{objectSelector: {matchExpressions: [{key: app, operator: Exists}]}, matchPolicy: Exact, resourceRules: [{apiGroups: [\"*\"], apiVersions: [v1], operations: [\"*\"], resources: [\"*/*\"]}]}",
	"{objectSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}, resourceRules: [{apiGroups: [\"*\"], apiVersions: [v1beta1, v1], operations: [UPDATE], resources: [pods/status, configmaps, deployments]}]}",
}

// randomPolicy draws a policy and its binding.
func randomPolicy(r *rand.Rand) string {
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	var b strings.Builder
	b.WriteString("apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: p}\nspec:\n  matchConstraints: " + pick(oracleMatches) + "\n")
	fmt.Fprintf(&b, "  failurePolicy: %s\n", pick([]string{"Fail", "Fail", "Ignore"}))
	b.WriteString(indent(oracleVariables))
	if n := r.IntN(3); n > 0 {
		b.WriteString("  matchConditions:\n")
		for i := range n {
			e := pick(oracleExpressions)
			for strings.Contains(e, "variables.") {
				e = pick(oracleExpressions)
			}
			fmt.Fprintf(&b, "  - {name: c%d, expression: %q}\n", i, e)
		}
	}
	b.WriteString("  validations:\n")
	for range 1 + r.IntN(4) {
		e := pick(oracleExpressions)
		switch r.IntN(4) {
		case 0:
			e = e + " || " + pick(oracleExpressions)
		case 1:
			e = "!(" + e + ") && " + pick(oracleExpressions)
		}
		fmt.Fprintf(&b, "  - {expression: %q%s}\n", e, pick([]string{"", ", message: denied", ", reason: Forbidden", ", message: m, messageExpression: \"'name ' + object.metadata.name\"",
			", messageExpression: \"object.nothing\" ", ", messageExpression: \"string(variables.count) + (variables.broken ? 'a' : 'b')\""}))
	}
	if r.IntN(3) == 0 {
		fmt.Fprintf(&b, "  auditAnnotations: [{key: k, valueExpression: %q}]\n", pick([]string{"'v'", "object.metadata.name + ''", "null", "'' + object.nothing"}))
	}
	b.WriteString("---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: p}\nspec:\n  policyName: p\n  validationActions: [Deny]\n")
	if r.IntN(3) == 0 {
		b.WriteString("  matchResources: " + pick(oracleMatches) + "\n")
	}
	return b.String()
}

// randomChange draws a request about one of the objects, at a door that knows everything.
func randomChange(t testing.TB, r *rand.Rand) *policies.Change {
	text := oracleObjects[r.IntN(len(oracleObjects))]
	c := creation(object(t, text))
	switch r.IntN(4) {
	case 0:
		c.Operation, c.Old = policies.Update, c.Object
		if r.IntN(2) == 0 {
			c.Old = object(t, strings.NewReplacer("replicas: 7", "replicas: 2", "app: a", "app: b", "labels: {team: a}", "labels: {}").Replace(text))
		}
	case 1:
		c.Operation, c.Old, c.Object = policies.Delete, c.Object, nil
	case 2:
		c.Resource.Subresource = "status"
		c.DryRun = true
	}
	return c
}

func compareWithOracle(t *testing.T, r *rand.Rand) {
	t.Helper()
	text := randomPolicy(r)
	compiled, err := cel.Compiler(cel.Options{API: testAPI{}})(context.Background(), documents(t, "p.yaml", text))
	if err != nil {
		// The API server refuses these too when they are created; what it does with them later is no matter.
		return
	}
	o := newOracle(t, text)
	for range 6 {
		c := randomChange(t, r)
		want := o.judge(t, c, nil)
		raw := told(compiled[0].Judge(context.Background(), c))
		got := comparable(raw)
		if got != want {
			t.Fatalf("%s %s %s:\ngitgate:    %s\nAPI server: %s\n%s", c.Operation, c.Subject(), c.Resource.Subresource, raw, want, text)
		}
	}
}

func TestAnswersAreThoseOfTheAPIServersOwnValidator(t *testing.T) {
	t.Parallel()
	rounds := 150
	if testing.Short() {
		rounds = 40
	}
	for seed := range rounds {
		compareWithOracle(t, rand.New(rand.NewPCG(uint64(seed), 1)))
	}
}
