package kyverno

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Trial is what a test gives in place of a cluster and of the API server's request, as tests of the Kyverno CLI do. The zero
// Trial gives nothing: expressions that need more fail as they do there.
type Trial struct {
	Global  map[string]any               // values of every request, by their dotted path: "request.operation"
	Objects map[[2]string]map[string]any // values of the request for one object, by the policy's and the object's name
	Rules   map[[2]string]map[string]any // values that a rule's context has, by the policy's and the rule's name

	Roles        []string // of the change's actor: "namespace:name"
	ClusterRoles []string

	Calls   map[string]Answer // answers of HTTP calls, by "METHOD:url" or url; url is a path for those to the API server
	Globals []GlobalEntry     // in place of GlobalContextEntries
	Images  []any             // data of images, as the CLI's context files have it
	Cluster bool              // the change set is the cluster's: ConfigMaps and GET of the API server are answered from it
}

// Answer is what an HTTP call gives.
type Answer struct {
	Status int // 0 means 200
	Body   any
}

// GlobalEntry is the data of a GlobalContextEntry, and what is taken of it.
type GlobalEntry struct {
	Name        string
	Data        any
	FieldPath   string // JMESPath; "" for all
	Projections []Projection
}

// Projection is a part of a GlobalEntry's data by a name of its own.
type Projection struct{ Name, Path string }

// Rehearsal is policies that are judged rule by rule. It is immutable and safe for concurrent use.
type Rehearsal struct{ policies []*rehearsed }

type rehearsed struct {
	Response
	policy *policy
	scored bool
}

// Response is what a policy says of an object, rule by rule.
type Response struct {
	Policy    string
	Namespace string // of the policy; "" for a ClusterPolicy
	Err       error  // why the policy could not be compiled: nothing else is known of it then
	// Known are the names of the rules that are judged, those of autogen among them. Other rules do what the value says: "mutate".
	Known []string
	Other map[string]string
	Rules []RuleAnswer // of the rules that match the object
}

// RuleAnswer is what a rule says, in the words of Kyverno's reports: pass, fail, warn, error or skip. A rule that has nothing to
// say gives no answer.
type RuleAnswer struct {
	Rule, Result, Message string
	// Needs names a context entry that the rule has and nobody gave: its answer may be another where it is known. "" for none.
	Needs string
}

// Rehearse compiles ClusterPolicies, Policies and PolicyExceptions, each by itself: one that does not compile leaves the others
// alone. Documents of other kinds are left out. The error is ctx's.
func Rehearse(ctx context.Context, docs []policies.Document, t Trial) (*Rehearsal, error) {
	out := &Rehearsal{}
	shared, cel := newQueries(), newEnvironments()
	var exceptions []*exception
	var wrong []error
	for _, d := range docs {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !Classic(d) || slices.Contains(idle, d.Object.Kind.Kind) {
			continue
		}
		b := bundle{queries: shared, cel: cel, names: map[string]*policies.Object{}}
		b.document(d.Object)
		exceptions = append(exceptions, b.exceptions...)
		err := errors.Join(b.errs...)
		if d.Object.Kind.Kind == "PolicyException" {
			if err != nil {
				wrong = append(wrong, err)
			}
			continue
		}
		one := &rehearsed{Response: Response{Policy: d.Object.Name, Err: err, Other: map[string]string{}}, scored: true}
		if d.Object.Kind.Kind == "Policy" {
			if one.Namespace = d.Object.Namespace; one.Namespace == "" {
				one.Namespace = "default"
			}
		}
		one.others(d.Object)
		if v, _ := policies.Lookup(d.Object.Map(), policies.Path{"metadata", "annotations", "policies.kyverno.io/scored"}); v == "false" {
			one.scored = false
		}
		for _, p := range b.policies {
			one.policy, p.trial = p, &t
			for _, r := range p.rules {
				one.Known = append(one.Known, r.name)
			}
		}
		out.policies = append(out.policies, one)
	}
	for _, one := range out.policies {
		if one.policy != nil {
			one.policy.except(exceptions)
		}
		one.Err = errors.Join(append([]error{one.Err}, wrong...)...)
	}
	return out, nil
}

// others finds the rules that are no validations.
func (r *rehearsed) others(o *policies.Object) {
	v, _ := policies.Lookup(o.Map(), policies.Path{"spec", "rules"})
	rules, _ := v.([]any)
	for _, item := range rules {
		rule, _ := item.(map[string]any)
		name, _ := rule["name"].(string)
		for _, what := range []string{"mutate", "generate", "verifyImages"} {
			if rule[what] != nil && rule["validate"] == nil {
				r.Other[name] = what
			}
		}
	}
}

// Judge asks all policies about the creation c of an object. operation, CREATE, UPDATE or DELETE, makes another change of it, in
// which the object takes its own place; "" is the operation that the trial's values say.
func (r *Rehearsal) Judge(ctx context.Context, c *policies.Change, operation policies.Operation) []Response {
	var out []Response
	for _, one := range r.policies {
		answer := one.Response
		if one.policy != nil && one.Err == nil {
			answer.Rules = one.judge(ctx, c, operation)
		}
		out = append(out, answer)
	}
	return out
}

func (r *rehearsed) judge(ctx context.Context, c *policies.Change, operation policies.Operation) []RuleAnswer {
	change, data, err := r.policy.trial.change(c, r.Policy, operation)
	if err != nil {
		return []RuleAnswer{{Result: "error", Message: err.Error()}}
	}
	var out []RuleAnswer
	for _, v := range r.policy.ask(ctx, change, data) {
		if v.silent {
			continue
		}
		answer := RuleAnswer{Rule: v.rule.name, Message: v.message, Needs: r.policy.missing(v.rule)}
		switch v.status {
		case passed:
			answer.Result = "pass"
		case failed:
			if answer.Result = "fail"; !r.scored {
				answer.Result = "warn"
			}
		case skipped:
			answer.Result = "skip"
		default:
			answer.Result, answer.Message = "error", v.err.Error()
		}
		out = append(out, answer)
	}
	return out
}

// change makes the change that a policy sees, and the data that its expressions see, as the Kyverno CLI does: the values that are
// given go over the request, and what they set of the object the patterns see too.
func (t *Trial) change(c *policies.Change, policy string, operation policies.Operation) (*policies.Change, map[string]any, error) {
	o := c.Object
	values := map[string]any{}
	for k, v := range t.Global {
		values[k] = v
	}
	for k, v := range t.Objects[[2]string{policy, o.Name}] {
		values[k] = v
	}
	if operation == "" {
		given, _ := values["request.operation"].(string)
		operation = policies.Operation(given)
	} else {
		values["request.operation"] = string(operation)
	}
	if operation != policies.Update && operation != policies.Delete {
		operation = policies.Create
	}
	namespace, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "namespace"})
	text, _ := namespace.(string)
	request := map[string]any{"namespace": text, "operation": string(operation)}
	if operation != policies.Delete {
		request["object"] = untyped(o)
	}
	if operation != policies.Create {
		request["oldObject"] = untyped(o)
	}
	data := map[string]any{"request": request}
	if a := c.Actor; a != nil {
		request["roles"], request["clusterRoles"] = texts(t.Roles), texts(t.ClusterRoles)
		request["userInfo"] = userInfo(a)
		data["serviceAccountName"], data["serviceAccountNamespace"] = serviceAccount(a)
	}
	for _, key := range sortedKeys(values) {
		if err := put(data, key, floats(values[key])); err != nil {
			return nil, nil, err
		}
	}
	made := policies.Change{
		Operation: operation, Resource: c.Resource, Namespaced: c.Namespaced, Actor: c.Actor, Namespace: c.Namespace, Holder: c.Holder, Set: c.Set,
		Knows: policies.KnowsOld | policies.KnowsActor | policies.KnowsNamespace | policies.KnowsCluster | policies.Online,
	}
	var err error
	request, _ = data["request"].(map[string]any)
	if made.Object, err = injected(o, request, "object"); err != nil {
		return nil, nil, err
	}
	if made.Old, err = injected(o, request, "oldObject"); err != nil {
		return nil, nil, err
	}
	switch {
	case operation == policies.Delete:
		made.Object = nil
	case operation == policies.Create:
		made.Old = nil
	}
	if made.Subject() == nil {
		return nil, nil, fmt.Errorf("values leave no object of %s", o)
	}
	return &made, data, nil
}

// injected is the object that the request has under key: o itself, unless values changed it.
func injected(o *policies.Object, request map[string]any, key string) (*policies.Object, error) {
	v, ok := request[key]
	if !ok || v == nil {
		return nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("values make request.%s %s: expected a map", key, describe(v))
	}
	if sameMap(m, untyped(o)) {
		return o, nil
	}
	return policies.NewObject(m, o.Origin, nil, nil), nil
}

// given is what the trial gives to the expressions of one rule.
type given struct {
	trial  *Trial
	values map[string]any
}

// of is what t gives to a rule; nil without a trial.
func (t *Trial) of(policy, rule string) *given {
	if t == nil {
		return nil
	}
	out := &given{trial: t}
	for _, name := range []string{rule, strings.TrimPrefix(rule, "autogen-"), strings.TrimPrefix(rule, "autogen-cronjob-")} {
		if values, ok := t.Rules[[2]string{policy, name}]; ok {
			out.values = values
			break
		}
	}
	return out
}

// serves says whether a context entry is loaded. What is not leaves its name to the given values.
func (g *given) serves(e *entry) bool {
	switch {
	case e.ConfigMap != nil:
		return g.trial.Cluster
	case e.APICall != nil:
		return g.trial.Cluster || len(g.trial.Calls) > 0
	case e.GlobalReference != nil:
		return len(g.trial.Globals) > 0
	case e.ImageRegistry != nil:
		return false
	}
	return true
}

// missing names the first context entry of a rule that the trial does not give.
func (p *policy) missing(r *compiled) string {
	g := p.trial.of(p.shortName(), r.name)
	var of func(entries []*entry, b *body) string
	of = func(entries []*entry, b *body) string {
		for _, e := range entries {
			if !g.serves(e) && !g.gives(e.Name) {
				return e.Name
			}
		}
		if b == nil {
			return ""
		}
		for _, l := range b.loops {
			if name := of(l.body.context, l.body); name != "" {
				return name
			}
		}
		return ""
	}
	return of(r.context, r.body)
}

// gives says whether the values hold a name, or something below it.
func (g *given) gives(name string) bool {
	holds := func(values map[string]any) bool {
		for key := range values {
			if first, _, _ := strings.Cut(key, "."); first == name {
				return true
			}
		}
		return false
	}
	return holds(g.values) || holds(g.trial.Global)
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
