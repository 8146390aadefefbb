package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// What is kept of the answer of one constraint on one change.
const (
	maxViolations = 1000
	maxText       = 4096 // bytes
	maxEvidence   = 100
	maxUndefined  = 5
)

// needs is what a template looks at that not every door knows.
type needs struct {
	actor, old, namespace, options, inventory bool
	operation                                 bool                 // whether the object is created or updated
	deletes                                   bool                 // it speaks of DELETE
	external                                  bool                 // it asks external data providers
	online                                    bool                 // it asks the network
	refers                                    []policies.GroupKind // what of the inventory it looks at
}

func (t *template) findNeeds() needs {
	r := opa.NewReach(t.compiler)
	r.Follow(t.compiler.GetRulesExact(t.violation()))
	looks := func(field string) bool { return r.LooksAt(ast.InputRootDocument, "review", field) }
	n := needs{
		actor: looks("userInfo"), old: looks("oldObject"), namespace: looks("namespaceObject"), options: looks("options"),
		operation: looks("operation"), deletes: r.Says(string(policies.Delete)),
		external: r.Calls()[externalData],
	}
	kinds, all, asked := r.Inventory()
	n.inventory = asked
	if all {
		kinds = map[string]bool{"*": true}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		n.refers = append(n.refers, policies.GroupKind{Group: "*", Kind: kind})
	}
	for name := range r.Calls() {
		n.online = n.online || opa.Online(name)
	}
	return n
}

// missing says what of the needs is not known of c.
func (n needs) missing(c *policies.Change) error {
	need := func(facts policies.Facts) error {
		return &policies.NeedError{Facts: facts, What: strings.Join(facts.Names(), ", ")}
	}
	switch {
	case n.external && c.Knows&(policies.Online|policies.KnowsActor) != 0:
		return errors.New("external_data: gitgate asks no external data provider of Gatekeeper, so that it cannot tell")
	case n.external:
		return &policies.NeedError{Facts: policies.Online, What: "external data providers of Gatekeeper"}
	case n.online && !c.Knows.Has(policies.Online):
		return need(policies.Online)
	case n.actor && c.Actor == nil:
		return need(policies.KnowsActor)
	case n.namespace && c.Holder == nil && c.Namespaced && !c.Knows.Has(policies.KnowsNamespace):
		return need(policies.KnowsNamespace)
	case n.options && c.Options == nil:
		return &policies.NeedError{What: "the options of the request"}
	case n.old && c.Operation == policies.Update && c.Old == nil && !c.Knows.Has(policies.KnowsOld):
		return need(policies.KnowsOld)
	case n.inventory && c.Subject().Origin.File == "" && !c.Knows.Has(policies.KnowsCluster):
		return need(policies.KnowsCluster)
	}
	return nil
}

// judge is the constraint's answer on c.
func (k *constraint) judge(ctx context.Context, c *policies.Change) (policies.Finding, error) {
	no, err := k.match.matches(c)
	if err != nil {
		return policies.Finding{}, err
	}
	if no != "" {
		return policies.Finding{Skipped: no}, nil
	}
	if k.template.native != nil {
		return k.judgeNative(ctx, c)
	}
	n := k.template.needs
	if err := n.missing(c); err != nil {
		return policies.Finding{}, err
	}
	finding, err := k.ask(ctx, c, c.Operation)
	if err != nil || len(finding.Violations) > 0 || c.Operation != policies.Create || c.Knows.Has(policies.KnowsOld) {
		return finding, err
	}
	// It holds for a new object. Whether this one is new is not known: it has to hold for an old one too.
	unsettled := &policies.NeedError{Facts: policies.KnowsOld, What: "whether " + c.Subject().String() + " is there already"}
	if n.old {
		return policies.Finding{}, unsettled
	}
	if n.operation {
		if again, err := k.ask(ctx, c, policies.Update); err != nil || len(again.Violations) > 0 {
			return policies.Finding{}, unsettled
		}
	}
	return finding, nil
}

const answerVar = ast.Var("answer")

// sharedKey is that of the common rules' values for a change as one operation.
type sharedKey struct {
	rules *commonRules
	op    policies.Operation
}

// ask evaluates the template for the constraint on c as the request op.
func (k *constraint) ask(ctx context.Context, c *policies.Change, op policies.Operation) (policies.Finding, error) {
	review, err := reviewOf(c, op)
	if err != nil {
		return policies.Finding{}, err
	}
	v, err := c.Derive(sharedKey{k.template.rules, op}, func() (any, error) { return &sharedCache{nodes: map[int]*cacheNode{}}, nil })
	if err != nil {
		return policies.Finding{}, err
	}
	shared := v.(*sharedCache)
	answer, undefined, err := k.query(ctx, review, k.template.extra(c), newRuleCache(k.template.common, shared))
	if err != nil {
		shared.forget()
		return policies.Finding{}, k.template.failure(err)
	}
	finding, err := read(answer)
	if err != nil {
		return policies.Finding{}, k.template.failure(err)
	}
	for i, e := range undefined {
		if i < maxUndefined {
			finding.Evidence = append(finding.Evidence, policies.Evidence{Kind: "undefined", Value: cut(k.template.failure(&e).Error())})
		}
	}
	return finding, nil
}

// query is the set of results that the template's rule violation has for a review, and the builtins that failed on the way.
func (k *constraint) query(ctx context.Context, review *ast.Term, data map[string]func() (*ast.Term, error), values *ruleCache) (*ast.Term, []topdown.Error, error) {
	t := k.template
	bindings, undefined, err := opa.Query{
		Compiler: t.compiler,
		Body:     t.query,
		Input: ast.ObjectTerm(
			ast.Item(ast.InternedTerm("review"), review),
			ast.Item(ast.InternedTerm("parameters"), k.params)),
		Data:    &opa.View{Root: ast.NewObject(), Extra: data},
		Virtual: values,
		Values:  t.values,
		Timeout: opa.DefaultTimeout,
	}.Run(ctx)
	return bindings[answerVar], undefined, err
}

// failure is an error of the template, at its place there.
func (t *template) failure(err error) error {
	var e *topdown.Error
	if !errors.As(err, &e) {
		return errorAt(t.doc, policies.Path{"metadata", "name"}, policies.AtValue, fmt.Errorf("template %s: %w", t.doc.Name, err))
	}
	pos := t.byID().position(e.Location)
	if e.Location == nil {
		pos = t.doc.Locate(policies.Path{"metadata", "name"}, policies.AtValue)
	}
	return policies.ErrorAt(pos, errors.New(opa.Message(&ast.Error{Message: e.Message})))
}

// told is what makes two results of a template one: Gatekeeper keeps nothing else of them.
type told struct {
	message, key string // key is details as text
	details      *ast.Term
}

// resultsOf lists the results in the answer of rule violation. A result without a message is none, as in Gatekeeper: mute says how many
// there are.
func resultsOf(t *ast.Term) (results []told, mute int, err error) {
	if t == nil {
		return nil, 0, errors.New("rule violation has no answer")
	}
	set, ok := t.Value.(ast.Set)
	if !ok {
		return nil, 0, fmt.Errorf("rule violation answers %s, expected a set", ast.ValueName(t.Value))
	}
	type same struct{ message, key string }
	seen := map[same]bool{}
	err = set.Iter(func(t *ast.Term) error {
		result, ok := t.Value.(ast.Object)
		var msg *ast.Term
		if ok {
			msg = result.Get(ast.InternedTerm("msg"))
		}
		if msg == nil {
			mute++
			return nil
		}
		text, ok := msg.Value.(ast.String)
		if !ok {
			return fmt.Errorf("msg of a violation is %s, expected a string", ast.ValueName(msg.Value))
		}
		one := told{message: string(text), key: "{}", details: result.Get(ast.InternedTerm("details"))}
		if one.details != nil {
			one.key = one.details.String()
		}
		if s := (same{one.message, one.key}); !seen[s] {
			seen[s] = true
			results = append(results, one)
		}
		return nil
	})
	return results, mute, err
}

// read makes a finding of the answer of rule violation.
func read(t *ast.Term) (policies.Finding, error) {
	results, mute, err := resultsOf(t)
	if err != nil {
		return policies.Finding{}, err
	}
	var finding policies.Finding
	for range mute {
		finding.Evidence = append(finding.Evidence, policies.Evidence{Kind: "undefined", Value: "a result of violation has no msg, and so is none"})
	}
	for _, one := range results[:min(len(results), maxViolations)] {
		message := cut(strings.TrimSpace(one.message))
		if message == "" {
			message = "rule violation holds, expected it not to"
		}
		finding.Violations = append(finding.Violations, policies.Violation{Message: message})
		finding.Evidence = append(finding.Evidence, evidenceOf(one.details)...)
	}
	if left := len(results) - maxViolations; left > 0 {
		finding.Violations = append(finding.Violations, policies.Violation{
			Message: fmt.Sprintf("template found %d violations more, expected at most %d to be told", left, maxViolations),
		})
	}
	finding.Evidence = finding.Evidence[:min(len(finding.Evidence), maxEvidence)]
	return finding, nil
}

// evidenceOf is the fields of a violation's details.
func evidenceOf(details *ast.Term) []policies.Evidence {
	if details == nil {
		return nil
	}
	o, ok := details.Value.(ast.Object)
	if !ok {
		return []policies.Evidence{{Kind: "details", Value: cut(textOf(details))}}
	}
	var out []policies.Evidence
	o.Foreach(func(k, v *ast.Term) {
		out = append(out, policies.Evidence{Kind: cut(textOf(k)), Value: cut(textOf(v))})
	})
	return out
}

func textOf(t *ast.Term) string {
	if s, ok := t.Value.(ast.String); ok {
		return string(s)
	}
	return t.String()
}

// cut bounds a text that a report shows.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
