// Package kyverno is the kind of policy that Kyverno judges by: of its classic engine ClusterPolicy and Policy (kyverno.io) with
// their validate rules and PolicyException, and of policies.kyverno.io what celpolicy reads. It follows Kyverno v1.19 (pkg/engine) in what it lets pass and what it says, and takes its
// comparison of patterns and its JMESPath from it; policies are decoded into types of its own and compiled once. It knows neither
// doors nor configuration files nor other kinds of policy, and asks no cluster: what an answer needs and the door does not know is
// said by name.
package kyverno

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
	"gitgate.dev/gitgate/policies/kyverno/celpolicy"
)

const group = "kyverno.io"

// Options is what a host gives to the kind.
type Options struct {
	Warn    func(error)         // told what is in a policy and is no validation, with its position; may be nil
	API     admission.API       // what the API server serves, for policies in CEL; may be nil
	Convert admission.Converter // for policies in CEL; may be nil
	Plain   bool                // documents that are no Kubernetes objects are judged
}

// Claims says whether a document is Kyverno's, of its classic engine or of its policies in CEL, in any version.
func Claims(d policies.Document) bool { return Classic(d) || celpolicy.Claims(d) }

// Classic says whether a document is of Kyverno's classic engine.
func Classic(d policies.Document) bool { return d.Object != nil && d.Object.Kind.Group == group }

// versions are those that this package reads, by kind.
var versions = map[string][]string{
	"ClusterPolicy":   {"v1", "v2beta1"},
	"Policy":          {"v1", "v2beta1"},
	"PolicyException": {"v2", "v2beta1", "v2alpha1"},
}

// idle are the kinds of Kyverno's that judge nothing.
var idle = []string{"CleanupPolicy", "ClusterCleanupPolicy", "GlobalContextEntry", "UpdateRequest"}

// Compiler makes policies of ClusterPolicies and Policies. One whose rules lead to different actions becomes one policy an action:
// the strongest has its name, the others its name and the action.
func Compiler(o Options) policies.Compiler {
	return func(ctx context.Context, docs []policies.Document) ([]*policies.Policy, error) {
		if len(docs) == 0 {
			return nil, nil
		}
		b := bundle{options: o, queries: newQueries(), cel: newEnvironments(), names: map[string]*policies.Object{}}
		var newer []policies.Document
		for _, d := range docs {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("no time left to compile Kyverno policies: %w", context.Cause(ctx))
			}
			if d.Object == nil {
				b.errs = append(b.errs, policies.ErrorAt(policies.Position{File: d.File}, errors.New("no Kyverno policy: expected a ClusterPolicy, Policy or PolicyException")))
				continue
			}
			if celpolicy.Claims(d) {
				newer = append(newer, d)
			} else {
				b.document(d.Object)
			}
		}
		inCEL, err := celpolicy.Compile(ctx, celpolicy.Options{Warn: o.Warn, API: o.API, Convert: o.Convert, Plain: o.Plain}, newer)
		if err = errors.Join(append(b.errs, err)...); err != nil {
			return nil, err
		}
		var out []*policies.Policy
		for _, p := range b.policies {
			p.except(b.exceptions)
			out = append(out, p.split()...)
		}
		return append(out, inCEL...), nil
	}
}

// bundle is one compilation.
type bundle struct {
	options    Options
	queries    *queries
	cel        environments
	names      map[string]*policies.Object
	policies   []*policy
	exceptions []*exception
	errs       []error
}

func (b *bundle) document(o *policies.Object) {
	kind := o.Kind.Kind
	if slices.Contains(idle, kind) {
		b.ignore(errorAt(o, policies.Path{"kind"}, policies.AtValue, fmt.Errorf("%s is not a validation; ignored", o)))
		return
	}
	if !slices.Contains(versions[kind], o.Kind.Version) {
		b.errs = append(b.errs, errorAt(o, policies.Path{"apiVersion"}, policies.AtValue,
			fmt.Errorf("%s %s is not supported: expected ClusterPolicy or Policy (v1, v2beta1) or PolicyException (v2, v2beta1)", kind, o.Kind.APIVersion())))
		return
	}
	key := kind + "/" + o.Namespace + "/" + o.Name
	if other := b.names[key]; other != nil && o.Name != "" {
		b.errs = append(b.errs, errorAt(o, policies.Path{"metadata", "name"}, policies.AtValue,
			fmt.Errorf("%s is declared twice, also at %s:%d", o, other.Origin.File, other.Origin.Line)))
		return
	}
	b.names[key] = o
	c := &compiler{doc: o, queries: b.queries, environments: b.cel}
	if kind == "PolicyException" {
		d := &exceptionDocument{}
		if c.errs = decode(o, d); len(c.errs) == 0 {
			b.exceptions = append(b.exceptions, c.exception(d))
		}
	} else {
		d := &document{}
		if c.errs = decode(o, d); len(c.errs) == 0 {
			if p := b.policy(c, d); p != nil {
				b.policies = append(b.policies, p)
			}
		}
	}
	b.errs = append(b.errs, c.errs...)
}

func (b *bundle) ignore(err error) {
	if b.options.Warn != nil {
		b.options.Warn(err)
	}
}

// policy compiles a document. It returns nil for one that validates nothing.
func (b *bundle) policy(c *compiler, d *document) *policy {
	p := &policy{doc: c.doc, queries: b.queries, name: d.Metadata.Name, annotations: d.Metadata.Annotations, one: d.Spec.ApplyRules == "One"}
	if c.doc.Kind.Kind == "Policy" {
		if p.namespace = d.Metadata.Namespace; p.namespace == "" {
			p.namespace = "default"
		}
		p.name = p.namespace + "/" + p.name
	}
	b.checkSpec(c, &d.Spec)
	policy := d.Spec.FailurePolicy
	if w := d.Spec.WebhookConfiguration; w != nil && w.FailurePolicy != "" {
		policy = w.FailurePolicy
	}
	p.ignoreErrors = policy == "Ignore"
	p.conditions = c.conditional(d.Spec.WebhookConfiguration)
	raw, _ := policies.Lookup(c.doc.Map(), policies.Path{"spec", "rules"})
	list, _ := raw.([]any)
	if len(list) == 0 {
		c.wrong(policies.Path{"spec"}, policies.AtKey, fmt.Errorf("%s has no rules", c.doc))
		return nil
	}
	kinds := autogenKinds(d.Spec.Rules, d.Metadata.Annotations)
	var plain []string
	for _, k := range kinds {
		if k != "CronJob" {
			plain = append(plain, k)
		}
	}
	names := map[string]bool{}
	var made []*compiled
	for i := range d.Spec.Rules {
		r := &d.Spec.Rules[i]
		at := policies.Path{"spec", "rules", i}
		if r.Name == "" || names[r.Name] {
			c.wrong(at.Append("name"), policies.AtValue, fmt.Errorf("rule %q: expected a name that no other rule has", r.Name))
		}
		names[r.Name] = true
		for key, v := range map[string]any{"mutate": r.Mutate, "generate": r.Generate, "verifyImages": r.VerifyImages} {
			if v != nil {
				b.ignore(errorAt(c.doc, at.Append(key), policies.AtKey, fmt.Errorf("rule %s of %s: %s is not a validation; ignored", r.Name, c.doc, key)))
			}
		}
		if r.Validate == nil {
			if r.Mutate == nil && r.Generate == nil && r.VerifyImages == nil {
				c.wrong(at, policies.AtKey, fmt.Errorf("rule %s does nothing: expected validate", r.Name))
			}
			continue
		}
		p.rules = append(p.rules, c.rule(at, r, &d.Spec))
		document := list[i].(map[string]any)
		for _, variant := range []struct {
			kinds    []string
			template policies.Path
			prefix   string
		}{
			{plain, policies.Path{"spec", "template"}, "autogen"},
			{cronOf(kinds), policies.Path{"spec", "jobTemplate", "spec", "template"}, "autogen-cronjob"},
		} {
			moved := autogen(document, r, variant.kinds, variant.template, variant.prefix)
			if moved == nil {
				continue
			}
			var for_ rule
			if err := refill(moved, &for_); err != nil {
				c.wrong(at, policies.AtKey, fmt.Errorf("rule %s cannot be made for controllers: %w", r.Name, err))
				continue
			}
			auto := &compiler{doc: c.doc, queries: c.queries, environments: c.environments, made: true}
			made = append(made, auto.rule(at, &for_, &d.Spec))
		}
	}
	p.rules = append(p.rules, made...)
	if len(p.rules) == 0 {
		return nil
	}
	return p
}

func cronOf(kinds []string) []string {
	if slices.Contains(kinds, "CronJob") {
		return []string{"CronJob"}
	}
	return nil
}

func (b *bundle) checkSpec(c *compiler, s *spec) {
	at := policies.Path{"spec"}
	failure := func(text string, at policies.Path) {
		if text != "" && text != "Fail" && text != "Ignore" {
			c.wrong(at, policies.AtValue, fmt.Errorf("failurePolicy %q: expected Fail or Ignore", text))
		}
	}
	failure(s.FailurePolicy, at.Append("failurePolicy"))
	if s.WebhookConfiguration != nil {
		failure(s.WebhookConfiguration.FailurePolicy, at.Append("webhookConfiguration", "failurePolicy"))
	}
	if t := s.WebhookTimeoutSeconds; t != nil && (*t < 1 || *t > 30) {
		c.wrong(at.Append("webhookTimeoutSeconds"), policies.AtValue, fmt.Errorf("webhookTimeoutSeconds %d: expected 1 to 30", *t))
	}
	if s.Admission != nil && !*s.Admission && s.Background != nil && !*s.Background {
		c.wrong(at.Append("admission"), policies.AtValue, fmt.Errorf("%s is asked neither at admission nor in the background: expected one of them", c.doc))
	}
	if s.ApplyRules != "" && s.ApplyRules != "All" && s.ApplyRules != "One" {
		c.wrong(at.Append("applyRules"), policies.AtValue, fmt.Errorf("applyRules %q: expected All or One", s.ApplyRules))
	}
}
