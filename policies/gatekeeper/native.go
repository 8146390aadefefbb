package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
	"gitgate.dev/gitgate/policies/strict"
)

// native is a template's code for the engine K8sNativeValidation: CEL, evaluated as the API server evaluates a
// ValidatingAdmissionPolicy whose parameters are the constraint (gatekeeper pkg/drivers/k8scel).
type native struct {
	source  admission.Source
	deletes bool // it speaks of DELETE
	program *admission.Program
}

// What Gatekeeper adds to the variables of a template (pkg/drivers/k8scel/transform, cel_snippets.go).
const (
	paramsVariable = "params"
	objectVariable = "anyObject"
	reservedPrefix = "gatekeeper_internal_"

	paramsExpression = "!has(params.spec) ? null : !has(params.spec.parameters) ? null: params.spec.parameters"
	objectExpression = `has(request.operation) && request.operation == "DELETE" && object == null ? oldObject : object`
)

// newNative reads the code that stands at path. The errors are all that is wrong with it but for the expressions, which compileNative
// compiles.
func newNative(o *policies.Object, at policies.Path, content any) (*native, []error) {
	var errs []error
	fail := func(path policies.Path, format string, args ...any) {
		errs = append(errs, errorAt(o, path, policies.AtValue, fmt.Errorf(format, args...)))
	}
	if content == nil {
		return nil, []error{errorAt(o, at[:len(at)-1], policies.AtKey, fmt.Errorf("code of the engine %s has no source", engineCEL))}
	}
	var d nativeDocument
	usable, errs := strict.Decode(o, at, content, &d, strict.Options{})
	if m, ok := content.(map[string]any); ok && m["matchConditions"] != nil {
		errs = []error{errorAt(o, at.Append("matchConditions"), policies.AtKey, errors.New("unknown field matchConditions: expected matchCondition, as Gatekeeper spells it"))}
	}
	if !usable || len(errs) > 0 {
		return nil, errs
	}
	n := &native{source: admission.Source{
		Name: o.Name, Params: true, Hidden: true, Composed: true, Budget: celconfig.PerCallLimit,
		ConditionsAt: at.Append("matchCondition"), ValidationsAt: at.Append("validations"), VariablesAt: at.Append("variables"),
		Implied: []admissionv1.Variable{{Name: objectVariable, Expression: objectExpression}, {Name: paramsVariable, Expression: paramsExpression}},
	}}
	switch policy := d.FailurePolicy; {
	case policy == nil || *policy == string(admissionv1.Fail):
	case *policy == string(admissionv1.Ignore):
		n.source.IgnoreErrors = true
	default:
		fail(at.Append("failurePolicy"), "failurePolicy %q does not exist: expected Fail or Ignore", *policy)
	}
	look := func(expression string) string {
		n.deletes = n.deletes || strings.Contains(expression, string(policies.Delete))
		return expression
	}
	need := func(path policies.Path, text string) {
		if strings.TrimSpace(text) == "" {
			fail(path, "%s is required, and not given", path)
		}
	}
	for i, v := range d.Variables {
		path := at.Append("variables", i)
		need(path.Append("name"), v.Name)
		need(path.Append("expression"), v.Expression)
		if v.Name == paramsVariable || v.Name == objectVariable || strings.HasPrefix(v.Name, reservedPrefix) {
			fail(path.Append("name"), "variable %q is Gatekeeper's own: expected another name", v.Name)
		}
		n.source.Variables = append(n.source.Variables, admissionv1.Variable{Name: v.Name, Expression: look(v.Expression)})
	}
	for i, c := range d.MatchConditions {
		path := at.Append("matchCondition", i)
		need(path.Append("expression"), c.Expression)
		if strings.HasPrefix(c.Name, reservedPrefix) {
			fail(path.Append("name"), "name %q begins as Gatekeeper's own do: expected another one", c.Name)
		}
		n.source.Conditions = append(n.source.Conditions, admissionv1.MatchCondition{Name: c.Name, Expression: look(c.Expression)})
	}
	if len(d.Validations) == 0 {
		errs = append(errs, errorAt(o, at, policies.AtKey, fmt.Errorf("template %s has no validations: expected at least one", o.Name)))
	}
	for i, v := range d.Validations {
		need(at.Append("validations", i, "expression"), v.Expression)
		n.source.Validations = append(n.source.Validations, admissionv1.Validation{
			Expression: look(v.Expression), Message: v.Message, MessageExpression: v.MessageExpression,
		})
	}
	return n, errs
}

// compileNative compiles the templates in CEL, on all cores.
func (b *bundle) compileNative(ctx context.Context) {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(b.templates)) {
		if b.templates[kind].native != nil {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		return
	}
	envs, err := admission.NewEnvironments(b.options.Kubernetes)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	errs := make([][]error, len(kinds))
	onAllCores(len(kinds), func(i int) {
		if t := b.templates[kinds[i]]; ctx.Err() == nil {
			t.native.program, errs[i] = compileOne(envs, t.doc, &t.native.source)
		}
	})
	if ctx.Err() != nil {
		b.errs = append(b.errs, fmt.Errorf("no time left to compile templates: %w", context.Cause(ctx)))
		return
	}
	for i, kind := range kinds {
		if len(errs[i]) > 0 {
			b.broken[kind], b.errs = true, append(b.errs, errs[i]...)
		}
	}
}

// compileOne turns a panic of the CEL compiler into an error of the template that brought it down.
func compileOne(envs *admission.Environments, doc *policies.Object, s *admission.Source) (p *admission.Program, errs []error) {
	defer func() {
		if v := recover(); v != nil {
			p, errs = nil, []error{errorAt(doc, nil, policies.AtValue, fmt.Errorf("template %s: its compiler panicked: %v", doc.Name, v))}
		}
	}()
	return envs.Compile(doc, s)
}

// contentWith is the constraint o as the API server would store it: with the defaults of its parameters.
func contentWith(o *policies.Object, params any, given bool) map[string]any {
	content := maps.Clone(o.Map())
	spec, _ := content["spec"].(map[string]any)
	if !given || spec == nil && params == nil {
		return content
	}
	spec = maps.Clone(spec)
	if spec == nil {
		spec = map[string]any{}
	}
	spec["parameters"], content["spec"] = params, spec
	return content
}

// judgeNative is the answer of a constraint in CEL on c, which it matches.
func (k *constraint) judgeNative(ctx context.Context, c *policies.Change) (policies.Finding, error) {
	r, err := admission.RequestOf(c)
	if err != nil {
		return policies.Finding{}, err
	}
	finding, err := k.evaluate(ctx, r)
	if err != nil || len(finding.Violations) > 0 || c.Operation != policies.Create || c.Knows.Has(policies.KnowsOld) || !k.template.native.program.WatchesUpdates() {
		return finding, err
	}
	// It holds for a new object. Whether this one is new is not known: it has to hold for an old one too.
	again, err := k.evaluate(ctx, r.AsUpdate())
	var need *policies.NeedError
	switch {
	case errors.As(err, &need):
		return policies.Finding{}, err
	case err != nil || len(again.Violations) > 0:
		return policies.Finding{}, admission.NeedOld.Err(r, "")
	}
	return finding, nil
}

func (k *constraint) evaluate(ctx context.Context, r *admission.Request) (policies.Finding, error) {
	in, err := admission.InputsOf(r, admission.Target{Resource: r.Resource, Kind: r.Kind}, nil)
	if err != nil {
		return policies.Finding{}, err
	}
	o, err := k.template.native.program.Evaluate(ctx, in, k.content)
	if err != nil {
		return policies.Finding{}, err
	}
	broken := len(o.Violations)+len(o.Errs) > 0
	switch {
	case (broken || o.Unknown != 0) && o.Conditional != 0:
		return policies.Finding{}, (o.Conditional | o.Unknown).Err(r, "")
	case len(o.Violations) > 0:
		out := policies.Finding{Violations: o.Violations}
		for _, err := range slices.Concat(o.Errs, o.Ignored) {
			out.Evidence = append(out.Evidence, policies.Evidence{Kind: "undecided", Value: cut(err.Error())})
		}
		return out, nil
	case len(o.Errs) > 0:
		return policies.Finding{}, k.template.failure(errors.Join(o.Errs...))
	case o.Unknown != 0:
		return policies.Finding{}, o.Unknown.Err(r, "")
	}
	return policies.Finding{Skipped: o.Skipped}, nil
}

// askNative puts a request of a test to a constraint in CEL. What could not be evaluated is a violation, as in Gatekeeper.
func (k *constraint) askNative(ctx context.Context, r *trialRequest) ([]string, error) {
	in := &admission.Inputs{}
	if r.object != nil && r.object != r.old {
		in.Object = r.object.Map()
	}
	if r.old != nil {
		in.OldObject = r.old.Map()
	}
	request := map[string]any{}
	for key, value := range r.review {
		switch key {
		case "object", "oldObject", "namespaceObject":
		default:
			request[key] = value
		}
	}
	request["requestKind"], request["requestResource"] = request["kind"], request["resource"]
	if request["dryRun"] == nil {
		request["dryRun"] = false
	}
	in.Request = func() map[string]any { return request }
	in.Unmatched = in.Request
	o, err := k.template.native.program.Evaluate(ctx, in, k.content)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range o.Violations {
		out = append(out, v.Message)
	}
	for _, err := range o.Errs {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner
		}
		out = append(out, err.Error())
	}
	return out, nil
}
