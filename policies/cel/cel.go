// Package cel is the kind of policy that Kubernetes has built in: ValidatingAdmissionPolicy with its bindings and parameters,
// evaluated as the API server evaluates it, with the API server's own CEL environment. It knows neither doors nor configuration
// files nor other kinds of policy, and asks no cluster: what an answer needs and the door does not know is said by name.
package cel

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// Options is what gitgate.yaml can set for CEL policies, and what the kind needs of the API server.
type Options struct {
	Kubernetes string              // the version whose CEL libraries expressions may use, as in "1.36"; "" for the newest known
	API        admission.API       // nil: which versions of a kind are served, and whether it is namespaced, is told by the objects alone
	Convert    admission.Converter // nil: a policy that wants to see an object in another version than it is written in fails

	// ImplicitBinding judges a policy that no binding binds as if one bound it everywhere with Deny. Without it such a policy,
	// which does nothing in a cluster, is an error.
	ImplicitBinding bool
}

// Claims says whether a document is a ValidatingAdmissionPolicy or a binding of one, in any version.
func Claims(d policies.Document) bool {
	return d.Object != nil && d.Object.Kind.Group == group && (d.Object.Kind.Kind == policyKind || d.Object.Kind.Kind == bindingKind)
}

// Beside says whether a document that no kind claims is a parameter of the claimed ones: it belongs to the compiler too.
func Beside(claimed []policies.Document, d policies.Document) bool {
	return d.Object != nil && slices.Contains(paramKinds(claimed), d.Object.Kind.GroupKind())
}

// paramKinds lists the kinds that policies take their parameters from, as far as they are readable.
func paramKinds(docs []policies.Document) []policies.GroupKind {
	var kinds []policies.GroupKind
	for _, d := range docs {
		if d.Object == nil || d.Object.Kind.Group != group || d.Object.Kind.Kind != policyKind {
			continue
		}
		v, _ := policies.Lookup(d.Object.Map(), policies.Path{"spec", "paramKind"})
		if m, ok := v.(map[string]any); ok {
			apiVersion, _ := m["apiVersion"].(string)
			kind, _ := m["kind"].(string)
			group, _ := policies.ParseAPIVersion(apiVersion)
			kinds = append(kinds, policies.GroupKind{Group: group, Kind: kind})
		}
	}
	return kinds
}

// Compiler makes a policy of each pair of ValidatingAdmissionPolicy and binding. Documents of other kinds are parameters, which
// are found beside those of the change set.
func Compiler(o Options) policies.Compiler {
	return func(ctx context.Context, docs []policies.Document) ([]*policies.Policy, error) {
		if len(docs) == 0 {
			return nil, nil
		}
		b := bundle{options: o}
		b.sort(docs)
		if err := b.compile(ctx); err != nil {
			return nil, err
		}
		b.bind()
		if len(b.errs) > 0 {
			return nil, errors.Join(b.errs...)
		}
		return b.out, nil
	}
}

// bundle is one compilation.
type bundle struct {
	options     Options
	definitions []*definition
	bindings    []*binding
	unreadable  []string // names of policies that do not decode
	misbound    []string // names of policies that wrong bindings bind
	params      []*policies.Object
	compiled    map[string]*policy // by name; nil for one that is wrong
	out         []*policies.Policy
	errs        []error
}

// sort decodes and checks the documents.
func (b *bundle) sort(docs []policies.Document) {
	names := map[string]*policies.Object{}
	kinds := paramKinds(docs)
	for _, d := range docs {
		if !Claims(d) {
			if d.Object != nil && slices.Contains(kinds, d.Object.Kind.GroupKind()) {
				b.params = append(b.params, d.Object)
			} else {
				b.errs = append(b.errs, unwanted(d))
			}
			continue
		}
		key := d.Object.Kind.Kind + "/" + d.Object.Name
		if other := names[key]; other != nil && d.Object.Name != "" {
			b.errs = append(b.errs, errorAt(d.Object, policies.Path{"metadata", "name"}, policies.AtValue,
				fmt.Errorf("%s is declared twice, also at %s:%d", d.Object, other.Origin.File, other.Origin.Line)))
			continue
		}
		names[key] = d.Object
		if d.Object.Kind.Kind == policyKind {
			b.define(d.Object)
		} else {
			b.declare(d.Object)
		}
	}
}

func unwanted(d policies.Document) error {
	if d.Object == nil {
		return policies.ErrorAt(policies.Position{File: d.File}, errors.New("no admission policy: expected a ValidatingAdmissionPolicy or a binding"))
	}
	return errorAt(d.Object, policies.Path{"kind"}, policies.AtValue,
		fmt.Errorf("%s is no admission policy, and none here takes a %s as its parameters", d.Object, d.Object.Kind.Kind))
}

func (b *bundle) define(o *policies.Object) {
	d, errs := decodeDefinition(o)
	if d == nil {
		b.unreadable = append(b.unreadable, o.Name)
	} else {
		errs = append(errs, validateDefinition(d)...)
		d.invalid = len(errs) > 0
		b.definitions = append(b.definitions, d)
	}
	b.errs = append(b.errs, errs...)
}

func (b *bundle) declare(o *policies.Object) {
	bound, errs := decodeBinding(o)
	if bound != nil {
		errs = append(errs, validateBinding(bound)...)
	}
	if len(errs) == 0 {
		b.bindings = append(b.bindings, bound)
		return
	}
	b.errs = append(b.errs, errs...)
	v, _ := policies.Lookup(o.Map(), policies.Path{"spec", "policyName"})
	name, _ := v.(string)
	b.misbound = append(b.misbound, name)
}

// compile compiles all policies, on all cores. Its error means that time ran out or that there is no such Kubernetes version.
func (b *bundle) compile(ctx context.Context) error {
	envs, err := admission.NewEnvironments(b.options.Kubernetes)
	if err != nil {
		return err
	}
	compiled := make([]*policy, len(b.definitions))
	errs := make([][]error, len(b.definitions))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(b.definitions)) {
		workers.Go(func() {
			for i := range next {
				compiled[i], errs[i] = b.compileOne(b.definitions[i], envs)
			}
		})
	}
	for i := range b.definitions {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("no time left to compile admission policies: %w", context.Cause(ctx))
	}
	b.compiled = make(map[string]*policy, len(compiled))
	for i, d := range b.definitions {
		b.compiled[d.Name] = compiled[i]
		b.errs = append(b.errs, errs[i]...)
	}
	return nil
}

// compileOne turns a panic of the CEL compiler into an error of the policy that brought it down.
func (b *bundle) compileOne(d *definition, envs *admission.Environments) (p *policy, errs []error) {
	defer func() {
		if v := recover(); v != nil {
			p, errs = nil, []error{errorAt(d.doc, nil, policies.AtValue, fmt.Errorf("policy %s: its compiler panicked: %v", d.Name, v))}
		}
	}()
	return compilePolicy(d, envs, b.options.API, b.options.Convert)
}

// bind makes the policies that the engine asks.
func (b *bundle) bind() {
	byPolicy := map[string][]*binding{}
	for _, bound := range b.bindings {
		name := bound.Spec.PolicyName
		if _, ok := b.compiled[name]; !ok {
			if slices.Contains(b.unreadable, name) {
				continue
			}
			b.errs = append(b.errs, errorAt(bound.doc, policies.Path{"spec", "policyName"}, policies.AtValue,
				fmt.Errorf("binding %s binds policy %s, which is not among the policies", bound.Name, name)))
			continue
		}
		byPolicy[name] = append(byPolicy[name], bound)
	}
	for _, d := range b.definitions {
		p := b.compiled[d.Name]
		bindings := byPolicy[d.Name]
		if len(bindings) == 0 && !b.unbound(d, &bindings) || p == nil {
			continue
		}
		p.shared = len(bindings) > 1
		for _, bound := range bindings {
			b.add(p, bound)
		}
	}
}

// unbound puts an implicit binding in place of none, where that is wanted and possible.
func (b *bundle) unbound(d *definition, bindings *[]*binding) bool {
	at := policies.Path{"metadata", "name"}
	switch {
	case slices.Contains(b.misbound, d.Name):
		return false
	case !b.options.ImplicitBinding:
		b.errs = append(b.errs, errorAt(d.doc, at, policies.AtValue, fmt.Errorf("policy %s has no ValidatingAdmissionPolicyBinding, so that "+
			"nothing would be judged by it: add one beside it, or set cel.implicitBinding: true in gitgate.yaml", d.Name)))
		return false
	case d.Spec.ParamKind != nil:
		b.errs = append(b.errs, errorAt(d.doc, at, policies.AtValue, fmt.Errorf("policy %s takes parameters, which an implicit binding cannot "+
			"choose: add a ValidatingAdmissionPolicyBinding with a paramRef", d.Name)))
		return false
	}
	implicit := &admissionv1.ValidatingAdmissionPolicyBinding{}
	implicit.Spec.PolicyName = d.Name
	implicit.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Deny}
	*bindings = []*binding{{ValidatingAdmissionPolicyBinding: implicit}}
	return true
}

func (b *bundle) add(p *policy, with *binding) {
	out := &policies.Policy{
		Name: p.name, Kind: "cel", Origin: p.def.doc.Locate(policies.Path{"metadata", "name"}, policies.AtValue),
		Match: admission.Coarse(p.def.Spec.MatchConstraints), Action: actionOf(with.Spec.ValidationActions),
	}
	if p.shared {
		out.Name += "/" + with.Name
	}
	if err := p.describe(out); err != nil {
		if !slices.ContainsFunc(b.errs, func(e error) bool { return e.Error() == err.Error() }) {
			b.errs = append(b.errs, err)
		}
		return
	}
	m, err := admission.NewMatcher(with.Spec.MatchResources, b.options.API)
	if err != nil {
		b.errs = append(b.errs, errorAt(with.doc, policies.Path{"spec", "matchResources"}, policies.AtKey, err))
		return
	}
	params, err := newParams(p.def.Spec.ParamKind, with.Spec.ParamRef, b.params, b.options.API)
	if err != nil {
		b.errs = append(b.errs, errorAt(with.doc, policies.Path{"spec", "paramRef"}, policies.AtKey, err))
		return
	}
	if params != nil && params.ref != nil {
		out.Refers = []policies.GroupKind{params.kind.GroupKind()}
		out.Rules = append(out.Rules, ruleParams)
	}
	one := &bound{policy: p, matcher: m, params: params}
	out.Judge = one.judge
	b.out = append(b.out, out)
}
