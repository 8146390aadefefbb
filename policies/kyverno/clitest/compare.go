package clitest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno"
)

// expectation runs entry i of results: one result for each of its resources.
func (t *test) expectation(ctx context.Context, i int) []Result {
	e := &t.spec.Results[i]
	pos := t.at("results", i, "policy")
	rule := e.Rule
	if rule != "" {
		rule = "/" + rule
	}
	one := func(resource string, outcome Outcome, message string) Result {
		name := t.file + ":" + e.Policy + rule
		if resource != "" {
			name += "/" + resource
		}
		r := Result{Name: name, Pos: pos, Outcome: outcome}
		if message != "" {
			r.Problems = []error{policies.ErrorAt(pos, errors.New(message))}
		}
		return r
	}
	if what := e.idle(); what != "" {
		return []Result{one("", Skipped, what+": not a validation; ignored, nothing was compared")}
	}
	expected := cmp.Or(e.Result, e.Status)
	if !slices.Contains([]string{"pass", "fail", "skip", "warn", "error"}, expected) {
		return []Result{one("", Errored, fmt.Sprintf("result %q: expected pass, fail, skip, warn or error", expected))}
	}
	operation := policies.Operation(e.Operation)
	if !slices.Contains([]policies.Operation{"", policies.Create, policies.Update, policies.Delete}, operation) {
		return []Result{one("", Errored, fmt.Sprintf("operation %q: expected CREATE, UPDATE or DELETE", e.Operation))}
	}
	name := e.Policy[strings.LastIndex(e.Policy, "/")+1:]
	if kind := t.idle[name]; kind != "" {
		return []Result{one("", Skipped, fmt.Sprintf("%s %s: not a validation; ignored, nothing was compared", kind, name))}
	}
	objects, missing := t.chosen(e)
	var out []Result
	for _, resource := range missing {
		if slices.Contains(t.requests, path.Clean(resource)) {
			out = append(out, one(resource, Skipped, resource+": a request to a service is not judged; nothing was compared"))
			continue
		}
		message := fmt.Sprintf("resource %s: expected it in the resources of the test, got none", resource)
		if len(t.absent) > 0 {
			message += fmt.Sprintf("; %s: no such file", strings.Join(t.absent, ", "))
		}
		out = append(out, one(resource, Failed, message))
	}
	for _, o := range objects {
		shown := t.shown(o)
		outcome, message := t.compare(ctx, e, name, expected, o, operation)
		if outcome == Passed && message != "" && o.Kind.Kind != e.Kind && slices.ContainsFunc(objects, func(o *policies.Object) bool { return o.Kind.Kind == e.Kind }) {
			continue // it only has the name of what is meant
		}
		out = append(out, one(shown, outcome, message))
	}
	if len(out) == 0 {
		if len(t.requests) > 0 {
			return []Result{one("", Skipped, "requests to services are not judged; nothing was compared")}
		}
		out = append(out, one("", Failed, "expected resources in the test, got none"))
	}
	return out
}

// chosen are the resources that an entry names, in the order of the test, and the names that name none. One that names none is
// about all.
func (t *test) chosen(e *expectation) (objects []*policies.Object, missing []string) {
	names := slices.Clone(e.Resources)
	if e.Resource != "" {
		names = append(names, e.Resource)
	}
	if len(names)+len(e.ResourceSpecs) == 0 {
		objects = slices.Clone(t.resources)
		for _, p := range t.payloads {
			objects = append(objects, p.object)
		}
		return objects, nil
	}
	take := func(name string, is func(*policies.Object) bool) {
		found := false
		for _, o := range t.resources {
			if is(o) {
				found = true
				if !slices.Contains(objects, o) {
					objects = append(objects, o)
				}
			}
		}
		for _, p := range t.payloads {
			if p.name == path.Clean(name) {
				found, objects = true, append(objects, p.object)
			}
		}
		if !found {
			missing = append(missing, name)
		}
	}
	for _, n := range names {
		if slices.ContainsFunc(t.payloads, func(p payload) bool { return p.name == path.Clean(n) }) {
			take(n, func(*policies.Object) bool { return false })
			continue
		}
		namespace, name, ok := strings.Cut(n, "/")
		if !ok {
			namespace, name = e.Namespace, n
		}
		take(n, func(o *policies.Object) bool {
			return o.Name == name && (namespace == "" || o.Namespace == namespace)
		})
	}
	for _, s := range e.ResourceSpecs {
		take(s.Name, func(o *policies.Object) bool {
			return o.Kind.Group == s.Group && o.Kind.Version == s.Version && o.Name == s.Name && o.Namespace == s.Namespace
		})
	}
	return objects, missing
}

// shown is the name of an object in results.
func (t *test) shown(o *policies.Object) string {
	if at := slices.IndexFunc(t.payloads, func(p payload) bool { return p.object == o }); at >= 0 {
		return t.payloads[at].name
	}
	if o.Namespace != "" {
		return o.Namespace + "/" + o.Name
	}
	return o.Name
}

// compare says whether a policy says of an object what is expected: each rule that the entry names, and that says anything.
func (t *test) compare(ctx context.Context, e *expectation, policy, expected string, o *policies.Object, operation policies.Operation) (Outcome, string) {
	var found, ruled, compiled bool
	compared := 0
	for _, r := range t.ask(ctx, o, operation) {
		if r.Policy != policy {
			continue
		}
		found = true
		if r.Err != nil {
			return Errored, fmt.Sprintf("policy %s could not be compiled: %s", policy, strings.ReplaceAll(r.Err.Error(), "\n", "; "))
		}
		if what := other(r.Other, e.Rule); what != "" {
			return Skipped, fmt.Sprintf("rule %s: %s is not a validation; ignored, nothing was compared", e.Rule, what)
		}
		if e.Rule == "" && len(r.Known) == 0 && len(r.Other) > 0 {
			return Skipped, fmt.Sprintf("policy %s has no validations; ignored, nothing was compared", policy)
		}
		compiled = true
		ruled = ruled || r.Known == nil || e.Rule == "" || slices.ContainsFunc(r.Known, func(rule string) bool { return sameRule(rule, e.Rule) })
		for _, a := range r.Rules {
			if r.Known != nil && e.Rule != "" && !sameRule(a.Rule, e.Rule) {
				continue
			}
			compared++
			if a.Result == expected {
				continue
			}
			message := fmt.Sprintf("expected %s for %s, got %s", expected, o, a.Result)
			if a.Message != "" {
				message += ": " + a.Message
			}
			switch {
			case a.Result == unknown:
				return Errored, fmt.Sprintf("expected %s for %s, it could not be judged: %s", expected, o, a.Message)
			case a.Needs != "":
				return Errored, message + " (the test does not give the context entry " + a.Needs + ", and nobody else is asked for it)"
			case t.mutates != "":
				return Errored, message + " (" + t.mutates + " changes objects first, which is not done here)"
			}
			return Failed, message
		}
	}
	switch {
	case !found:
		return Failed, fmt.Sprintf("policy %s: expected it in the policies of the test, got none", policy)
	case compiled && !ruled:
		return Failed, fmt.Sprintf("rule %s: expected it in policy %s, got none", e.Rule, policy)
	case compared == 0 && expected != "skip":
		return Passed, fmt.Sprintf("nothing was judged: the policy does not match %s, which passes whatever is expected", o)
	}
	return Passed, ""
}

// sameRule says whether a rule is the one that is named, or made of it for controllers.
func sameRule(rule, named string) bool {
	return rule == named || rule == "autogen-"+named || rule == "autogen-cronjob-"+named
}

func other(others map[string]string, rule string) string {
	for _, prefix := range []string{"", "autogen-cronjob-", "autogen-"} {
		if short, ok := strings.CutPrefix(rule, prefix); ok && others[short] != "" {
			return others[short]
		}
	}
	return ""
}

// unknown is the answer of a policy that needs what nobody gives here.
const unknown = "unknown"

// ask asks all policies about an object, once an operation.
func (t *test) ask(ctx context.Context, o *policies.Object, operation policies.Operation) []kyverno.Response {
	q := question{o, operation}
	if known, ok := t.answers[q]; ok {
		return known
	}
	c := t.creation(o)
	var out []kyverno.Response
	payload := slices.ContainsFunc(t.payloads, func(p payload) bool { return p.object == o })
	if !payload {
		out = t.rehearsal.Judge(ctx, c, operation)
	}
	for _, f := range t.foreign {
		if payload && !f.json && f.err == nil {
			continue
		}
		r := kyverno.Response{Policy: f.name, Namespace: f.namespace, Err: f.err}
		if f.err == nil {
			r.Rules, r.Err = f.judge(ctx, t, c, operation)
		}
		out = append(out, r)
	}
	if t.answers == nil {
		t.answers = map[question][]kyverno.Response{}
	}
	t.answers[q] = out
	return out
}

// creation is the creation of an object, with all that the test tells of it.
func (t *test) creation(o *policies.Object) *policies.Change {
	c := &policies.Change{
		Operation: policies.Create, Object: o, Actor: t.actor, Set: t.set,
		Knows: policies.KnowsOld | policies.KnowsActor | policies.KnowsNamespace | policies.KnowsCluster,
	}
	res, namespaced, known := t.options.Resource(t.set, o.Kind)
	if !known {
		namespaced = o.Namespace != ""
	}
	c.Resource, c.Namespaced = res, namespaced
	for _, s := range t.subs {
		if r := s.Subresource; r.Group == o.Kind.Group && r.Version == o.Kind.Version && r.Kind == o.Kind.Kind {
			plural, sub, _ := strings.Cut(r.Name, "/")
			c.Resource = policies.Resource{Group: s.ParentResource.Group, Version: s.ParentResource.Version, Resource: plural, Subresource: sub}
		}
	}
	if o.Kind.Group == "" && o.Kind.Kind == "Namespace" {
		c.Holder = o
		return c
	}
	if c.Namespace = o.Namespace; c.Namespace != "" {
		c.Holder = t.holder(c.Namespace)
	}
	return c
}

// judge asks a policy of another kind. All its violations together are one answer, as the CLI has it.
func (f *foreign) judge(ctx context.Context, t *test, c *policies.Change, operation policies.Operation) ([]kyverno.RuleAnswer, error) {
	engine, err := policies.New(f.compiled, nil, nil)
	if err != nil {
		return nil, err
	}
	if operation == "" {
		given, _ := t.trial.Global["request.operation"].(string)
		operation = policies.Operation(given)
	}
	asked := withoutMemo(c)
	if f.json {
		asked.Object, operation, asked.Plain = bare(c.Object), policies.Create, true
	}
	switch operation {
	case policies.Update:
		asked.Operation, asked.Old = policies.Update, c.Object
	case policies.Delete:
		asked.Operation, asked.Old, asked.Object = policies.Delete, c.Object, nil
	}
	if asked.Actor == nil {
		asked.Actor = &policies.Actor{}
	}
	decision := engine.Decide(ctx, asked)
	var best kyverno.RuleAnswer
	weight := 0
	for i := range decision.Results {
		r := &decision.Results[i]
		if r.Pod {
			continue // the CLI asks policies of Pods about Pods only
		}
		a, w := kyverno.RuleAnswer{Rule: f.name}, 0
		switch r.Outcome {
		case policies.Violated:
			if a.Result, a.Message, w = "fail", r.Finding.Violations[0].Message, 3; !f.scored {
				a.Result = "warn"
			}
		case policies.Failed:
			a.Result, a.Message, w = "error", r.Err.Error(), 4
		case policies.Deferred:
			a.Result, a.Message, w = unknown, "it needs "+r.Missing, 5
		case policies.Passed:
			a.Result, w = "pass", 2
		case policies.Skipped:
			if conditional(r.Finding.Skipped) {
				a.Result, a.Message, w = "skip", r.Finding.Skipped, 1
			}
		}
		if w > weight {
			best, weight = a, w
		}
	}
	if weight == 0 {
		return nil, nil
	}
	return []kyverno.RuleAnswer{best}, nil
}

// conditional says whether a policy that matches an object left it out by a condition of its own or an exception, rather than
// not match it.
func conditional(skipped string) bool {
	return strings.Contains(skipped, "condition") || strings.Contains(skipped, "exception")
}

// withoutMemo is c without what was made of it.
func withoutMemo(c *policies.Change) *policies.Change {
	return &policies.Change{
		Operation: c.Operation, Resource: c.Resource, Namespaced: c.Namespaced, Object: c.Object, Old: c.Old, Actor: c.Actor,
		Namespace: c.Namespace, Holder: c.Holder, Knows: c.Knows, Set: c.Set,
	}
}
