package kyverno

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// celRule is a rule in CEL, compiled: Kyverno evaluates it as the API server does a ValidatingAdmissionPolicy
// (pkg/engine/handlers/validation, validate_cel.go).
type celRule struct {
	program *admission.Program
	err     error // why a rule that autogen made does not compile
	params  *celParams
}

// celParams say which objects a rule takes its parameters from.
type celParams struct {
	kind      policies.GroupVersionKind
	name      string
	namespace string
	selector  labels.Selector // nil: by name
	must      bool            // finding none is an error
}

// environments are the API server's for CEL, made when the first rule wants them.
type environments func() (*admission.Environments, error)

func newEnvironments() environments {
	return sync.OnceValues(func() (*admission.Environments, error) { return admission.NewEnvironments("") })
}

// cel compiles a rule in CEL; at is the place of the rule.
func (c *compiler) cel(at policies.Path, r *rule) *celRule {
	in := r.Validate.CEL
	out := &celRule{}
	below := at.Append("validate", "cel")
	source := &admission.Source{
		Name: c.doc.Name, Params: in.ParamKind != nil,
		Conditions: r.CELPreconditions, ConditionsAt: at.Append("celPreconditions"),
		Variables: in.Variables, VariablesAt: below.Append("variables"),
		Validations: slices.Clone(in.Expressions), ValidationsAt: below.Append("expressions"),
		Annotations: in.AuditAnnotations, AnnotationsAt: below.Append("auditAnnotations"),
	}
	for i := range source.Validations {
		if source.Validations[i].Message == "" {
			source.Validations[i].Message = r.Validate.Message
		}
	}
	if len(in.Expressions) == 0 {
		c.wrong(below, policies.AtKey, fmt.Errorf("%s has no expressions: expected at least one", below))
	}
	if (in.ParamKind == nil) != (in.ParamRef == nil) {
		c.wrong(below, policies.AtKey, fmt.Errorf("%s: expected paramKind and paramRef together", below))
	}
	out.program = c.program(source, func(err error) { out.err = err })
	if in.ParamKind != nil && in.ParamRef != nil {
		out.params = c.params(below, in)
	}
	return out
}

// program compiles expressions. Those of a rule that autogen made are told when the rule is asked: the places are not the document's.
func (c *compiler) program(source *admission.Source, made func(error)) *admission.Program {
	envs, err := c.environments()
	if err != nil {
		made(err)
		c.wrong(nil, policies.AtValue, err)
		return nil
	}
	program, errs := envs.Compile(c.doc, source)
	switch {
	case len(errs) == 0:
		return program
	case c.made:
		made(errors.Join(errs...))
	default:
		c.errs = append(c.errs, errs...)
	}
	return nil
}

func (c *compiler) params(at policies.Path, in *cel) *celParams {
	out := &celParams{name: in.ParamRef.Name, namespace: in.ParamRef.Namespace}
	out.kind.Group, out.kind.Version = policies.ParseAPIVersion(in.ParamKind.APIVersion)
	out.kind.Kind = in.ParamKind.Kind
	action := in.ParamRef.ParameterNotFoundAction
	out.must = action != nil && *action == admissionv1.DenyAction
	if in.ParamRef.Selector != nil {
		var err error
		if out.selector, err = metav1.LabelSelectorAsSelector(in.ParamRef.Selector); err != nil {
			c.wrong(at.Append("paramRef", "selector"), policies.AtValue, err)
		}
	}
	if (out.name == "") == (out.selector == nil) {
		c.wrong(at.Append("paramRef"), policies.AtKey, fmt.Errorf("%s: expected one of name and selector", at.Append("paramRef")))
	}
	return out
}

// find returns the parameters for an object in a namespace.
func (p *celParams) find(c *policies.Change) ([]*policies.Object, error) {
	namespace := p.namespace
	if namespace == "" {
		namespace = namespaceOf(c)
	}
	var found []*policies.Object
	for _, o := range c.Set.Of(p.kind.GroupKind()) {
		if o.Namespace != "" && o.Namespace != namespace || p.selector == nil && o.Name != p.name {
			continue
		}
		if p.selector == nil || p.selector.Matches(admission.LabelsOf(o)) {
			found = append(found, o)
		}
	}
	what := p.kind.Kind + " " + namespace + "/" + p.name
	if p.selector != nil {
		what = p.kind.Kind + " with labels " + p.selector.String()
	}
	switch {
	case len(found) > 0:
		return found, nil
	case !c.Knows.Has(policies.KnowsCluster):
		return nil, &policies.NeedError{Facts: policies.KnowsCluster, What: what}
	case p.selector == nil || p.must:
		return nil, fmt.Errorf("parameters not found: expected %s", what)
	}
	return nil, nil
}

type celInputsKey struct{}

// inputsOf makes what expressions see of a change, once for all rules.
func inputsOf(c *policies.Change) (*admission.Request, *admission.Inputs, error) {
	type both struct {
		request *admission.Request
		inputs  *admission.Inputs
	}
	v, err := c.Derive(celInputsKey{}, func() (any, error) {
		r, err := admission.RequestOf(c)
		if err != nil {
			return nil, err
		}
		in, err := admission.InputsOf(r, admission.Target{Resource: r.Resource, Kind: r.Kind}, nil)
		return both{r, in}, err
	})
	if err != nil {
		return nil, nil, err
	}
	out := v.(both)
	return out.request, out.inputs, nil
}

// judge evaluates the rule. What cannot be evaluated is a violation, as Kyverno has it: its rules fail closed by themselves.
func (r *celRule) judge(ctx context.Context, c *policies.Change) verdict {
	if r.err != nil {
		return broken(r.err)
	}
	request, in, err := inputsOf(c)
	if err != nil {
		return broken(err)
	}
	params := []*policies.Object{nil}
	if r.params != nil {
		if params, err = r.params.find(c); err != nil {
			return broken(err)
		}
	}
	for _, param := range params {
		var value any
		if param != nil {
			value = param.Settled()
		}
		o, err := r.program.Evaluate(ctx, in, value)
		if err != nil {
			return broken(err)
		}
		if v := celVerdict(o, request); v.status != passed {
			return v
		}
	}
	return verdict{status: passed}
}

func celVerdict(o *admission.Opinion, r *admission.Request) verdict {
	switch {
	case o.Conditional != 0 && (len(o.Violations)+len(o.Errs) > 0 || o.Unknown != 0):
		return broken((o.Conditional | o.Unknown).Err(r, ""))
	case len(o.Violations) > 0:
		return verdict{status: failed, message: o.Violations[0].Message, path: o.Violations[0].Path}
	case len(o.Errs) > 0:
		return verdict{status: failed, message: o.Errs[0].Error()}
	case o.Unknown != 0:
		return broken(o.Unknown.Err(r, ""))
	case o.Skipped != "":
		return verdict{status: skipped, message: "cel preconditions not met: " + o.Skipped}
	}
	return verdict{status: passed}
}

// conditional compiles the match conditions of a policy's webhook configuration; nil without any.
func (c *compiler) conditional(w *webhookConfiguration) *admission.Program {
	if w == nil || len(w.MatchConditions) == 0 {
		return nil
	}
	return c.program(&admission.Source{
		Name: c.doc.Name, Conditions: w.MatchConditions, ConditionsAt: policies.Path{"spec", "webhookConfiguration", "matchConditions"},
	}, func(error) {})
}

// meets says whether a change meets the match conditions of the policy's webhook configuration.
func (p *policy) meets(ctx context.Context, c *policies.Change) (answer, error) {
	if p.conditions == nil {
		return yes, nil
	}
	request, in, err := inputsOf(c)
	if err != nil {
		return no, err
	}
	o, err := p.conditions.Evaluate(ctx, in, nil)
	switch {
	case err != nil:
		return no, err
	case len(o.Errs) > 0:
		return no, errors.Join(o.Errs...)
	case o.Conditional != 0:
		var need *policies.NeedError
		if err := o.Conditional.Err(request, ""); errors.As(err, &need) {
			return answer{need: need}, nil
		}
		return no, err
	}
	return answer{yes: o.Skipped == ""}, nil
}

// celReplacements move the paths of a Pod into the template at a path, in the texts of a rule in CEL.
func celReplacements(template policies.Path) []string {
	into := "." + template.String() + "."
	var out []string
	for _, object := range []string{"object", "oldObject"} {
		for _, part := range []string{"spec", "metadata"} {
			out = append(out, object+"."+part, object+into+part)
		}
	}
	return out
}

// isCEL says whether a rule's document is one in CEL.
func isCEL(rule map[string]any) bool {
	validate, _ := rule["validate"].(map[string]any)
	return validate["cel"] != nil
}
