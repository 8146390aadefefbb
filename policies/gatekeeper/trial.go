package gatekeeper

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// Trial is one template with one constraint, for tests. It is asked as `gator verify` asks (gatekeeper pkg/gator/verify): at the
// enforcement point gator.gatekeeper.sh, about objects as they are written, without the defaults of an API server and without the Pods
// of workloads. What nobody tells of a request is empty, not unknown.
type Trial struct {
	constraint *constraint
	expansions []*expansion
}

// SchemaError says that a constraint breaks the schema that its template makes.
type SchemaError struct{ Err error }

func (e *SchemaError) Error() string { return e.Err.Error() }

func (e *SchemaError) Unwrap() error { return e.Err }

// NewTrial compiles a template and a constraint of it. expansions are ExpansionTemplates, by which what an object generates is asked about
// too. The error names all that is wrong, each at its place; it wraps a *SchemaError when the constraint breaks its schema.
func NewTrial(ctx context.Context, o Options, templ, constr *policies.Object, expansions []*policies.Object) (*Trial, error) {
	guard, err := opa.NewGuard(o.AllowBuiltins)
	if err != nil {
		return nil, err
	}
	if templ.Kind.Group != templateGroup {
		return nil, errorAt(templ, policies.Path{"kind"}, policies.AtValue, fmt.Errorf("%s is no template: expected a ConstraintTemplate", templ))
	}
	if constr.Kind.Group != constraintGroup {
		return nil, errorAt(constr, policies.Path{"kind"}, policies.AtValue, fmt.Errorf("%s is no constraint: expected one of %s", constr, constraintGroup))
	}
	b := bundle{options: o, templates: map[string]*template{}, broken: map[string]bool{}}
	b.take(templ, readOne(templ))
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	b.compile(ctx, guard)
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	t := b.templates[constr.Kind.Kind]
	switch {
	case t == nil:
		return nil, errorAt(constr, policies.Path{"kind"}, policies.AtValue, fmt.Errorf("constraint %s has no template: expected the kind of %s, %s",
			constr.Name, templ, constraintKind(templ)))
	case t.needs.external:
		return nil, errorAt(templ, policies.Path{"spec", "targets"}, policies.AtKey, errors.New("external_data: gitgate asks no external data provider of Gatekeeper, so that it cannot tell"))
	}
	k, errs := newConstraint(constr, t)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	out := &Trial{constraint: k}
	for _, e := range expansions {
		one, wrong := newExpansion(e)
		if errs = append(errs, wrong...); len(wrong) == 0 {
			out.expansions = append(out.expansions, one)
		}
	}
	return out, errors.Join(errs...)
}

// Review returns the messages of all violations of an object, or of the request in an AdmissionReview, with inventory in data.inventory.
// Its error says why it cannot be asked.
func (t *Trial) Review(ctx context.Context, object *policies.Object, inventory []*policies.Object) ([]string, error) {
	data := written(inventory)
	if object.Kind.Group == admissionv1.GroupName && object.Kind.Kind == "AdmissionReview" {
		r, err := requestIn(object)
		if err != nil {
			return nil, err
		}
		return t.ask(ctx, r, data)
	}
	r, err := requestFor(object)
	if err != nil {
		return nil, err
	}
	told, err := t.ask(ctx, r, data)
	if err != nil {
		return nil, err
	}
	generated, err := t.expand(object, 0)
	if err != nil {
		return nil, err
	}
	for _, g := range generated {
		r, err := requestFor(g.object)
		if err != nil {
			return nil, err
		}
		r.generated = true
		more, err := t.ask(ctx, r, data)
		if err != nil {
			return nil, err
		}
		for _, one := range more {
			told = append(told, fmt.Sprintf("[Implied by %s] %s", g.by, one))
		}
	}
	return told, nil
}

// trialRequest is the request of a test.
type trialRequest struct {
	object, old *policies.Object
	review      map[string]any
	generated   bool
}

// requestFor is the request about an object alone.
func requestFor(o *policies.Object) (*trialRequest, error) {
	request := &admissionv1.AdmissionRequest{Name: o.Name, Namespace: o.Namespace}
	request.Kind.Group, request.Kind.Version, request.Kind.Kind = o.Kind.Group, o.Kind.Version, o.Kind.Kind
	return newTrialRequest(request, o, nil)
}

// requestIn is the request of an AdmissionReview.
func requestIn(review *policies.Object) (*trialRequest, error) {
	at := policies.Path{"request"}
	var r admissionv1.AdmissionReview
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(review.Map(), &r, true); err != nil {
		return nil, errorAt(review, at, policies.AtKey, fmt.Errorf("%s cannot be read: %w", review.Kind.Kind, err))
	}
	if r.Request == nil {
		return nil, errorAt(review, policies.Path{"kind"}, policies.AtValue, errors.New("AdmissionReview has no request: expected one"))
	}
	inside := func(field string) (*policies.Object, error) {
		v, ok := policies.Lookup(review.Map(), at.Append(field))
		if !ok || v == nil {
			return nil, nil
		}
		m, _ := v.(map[string]any)
		o := policies.NewObject(m, review.Origin, nil, nil)
		if o.Kind.Kind == "" {
			return nil, errorAt(review, at.Append(field), policies.AtKey, fmt.Errorf("%s of the request has no kind: expected an object", field))
		}
		return o, nil
	}
	object, err := inside("object")
	if err != nil {
		return nil, err
	}
	old, err := inside("oldObject")
	switch {
	case err != nil:
		return nil, err
	case object == nil && old == nil:
		return nil, errorAt(review, at, policies.AtKey, errors.New("request has neither object nor oldObject: expected one to review"))
	case r.Request.Operation == admissionv1.Delete && old == nil:
		return nil, errorAt(review, at, policies.AtKey, errors.New("request is a DELETE without oldObject: expected the object that is deleted"))
	case r.Request.Operation == admissionv1.Delete:
		object = old // as Gatekeeper has it for Rego; CEL sees none
	}
	return newTrialRequest(r.Request, object, old)
}

func newTrialRequest(request *admissionv1.AdmissionRequest, object, old *policies.Object) (*trialRequest, error) {
	request.Object, request.OldObject = runtime.RawExtension{}, runtime.RawExtension{}
	review, err := runtime.DefaultUnstructuredConverter.ToUnstructured(request)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	// A RawExtension without content is null in JSON, and so it is here.
	for _, field := range []string{"options", "object", "oldObject"} {
		if review[field] == nil {
			review[field] = nil
		}
	}
	r := &trialRequest{object: object, old: old, review: review}
	review["namespaceObject"] = map[string]any{}
	if object != nil {
		review["object"] = floating(object.Map())
	}
	if old != nil {
		review["oldObject"] = floating(old.Map())
	}
	return r, nil
}

// ask puts a request to the constraint.
func (t *Trial) ask(ctx context.Context, r *trialRequest, data *trialData) ([]string, error) {
	k := t.constraint
	if !k.atGator || k.match.Source == "Original" && r.generated || k.match.Source == "Generated" && !r.generated {
		return nil, nil
	}
	c := &policies.Change{Object: r.object, Old: r.old, Knows: policies.KnowsNamespace}
	if r.generated {
		c.Workload = r.object
	}
	if namespace, _ := r.review["namespace"].(string); namespace != "" {
		if c.Holder = data.namespaces[namespace]; c.Holder != nil {
			c.Namespace = namespace
		}
	}
	no, err := k.match.matches(c)
	if err != nil {
		// Gatekeeper refuses what it cannot match.
		return []string{err.Error()}, nil
	}
	if no != "" {
		return nil, nil
	}
	if k.template.native != nil {
		return k.askNative(ctx, r)
	}
	review, err := opa.Term(r.review)
	if err != nil {
		return nil, fmt.Errorf("request as a Rego value: %w", err)
	}
	answer, _, err := k.query(ctx, review, map[string]func() (*ast.Term, error){
		"inventory": func() (*ast.Term, error) { return data.inventory, data.err },
	}, newRuleCache(nil, nil))
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return []string{err.Error()}, nil // as Gatekeeper, for which a template that fails refuses
	}
	results, _, err := resultsOf(answer)
	if err != nil {
		return nil, k.template.failure(err)
	}
	out := make([]string, len(results))
	for i, one := range results {
		out[i] = one.message
	}
	return out, nil
}

// trialData is what a test puts beside its object.
type trialData struct {
	inventory  *ast.Term
	namespaces map[string]*policies.Object
	err        error
}

// written is data.inventory of objects as they are written: what has no namespace there lies under cluster.
func written(objects []*policies.Object) *trialData {
	d := &trialData{namespaces: map[string]*policies.Object{}}
	all := opa.Tree{}
	for _, o := range objects {
		t, err := opa.Value(o)
		if err != nil {
			d.err = err
			return d
		}
		if o.Kind.GroupKind() == (policies.GroupKind{Kind: "Namespace"}) {
			d.namespaces[o.Name] = o
		}
		if o.Namespace == "" {
			all.Put(t, "cluster", o.Kind.APIVersion(), o.Kind.Kind, o.Name)
		} else {
			all.Put(t, "namespace", o.Namespace, o.Kind.APIVersion(), o.Kind.Kind, o.Name)
		}
	}
	d.inventory = all.Term()
	return d
}
