// Package gatekeeper is the kind of policy that OPA Gatekeeper has: ConstraintTemplates in Rego or CEL and their constraints, with the
// verdict and the words of Gatekeeper's own validation. It knows OPA, CEL and the nouns of policies, and no door, configuration file,
// cluster or other kind of policy: what an answer needs and the door does not know is said by name.
package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

const (
	templateGroup   = "templates.gatekeeper.sh"
	constraintGroup = "constraints.gatekeeper.sh"
	testGroup       = "test.gatekeeper.sh"
	templateKind    = "ConstraintTemplate"
	groupSuffix     = ".gatekeeper.sh"
)

// Options is what gitgate.yaml can set for Gatekeeper's policies.
type Options struct {
	Kubernetes    string      // the version whose CEL libraries templates may use, as in "1.36"; "" for the newest known
	AllowBuiltins []string    // builtins with side effects or chance that templates may call: see opa.Guarded
	Warn          func(error) // told what is no error but should be known, with its position; may be nil
}

// Claims says whether a document is one of Gatekeeper's: a template, a constraint, or one of those that are no validation and of
// which Compiler says so.
func Claims(d policies.Document) bool {
	return d.Object != nil && strings.HasSuffix(d.Object.Kind.Group, groupSuffix)
}

// Compiler makes a policy of each constraint. Its error names every document that is wrong.
func Compiler(o Options) policies.Compiler {
	return func(ctx context.Context, docs []policies.Document) ([]*policies.Policy, error) {
		guard, err := opa.NewGuard(o.AllowBuiltins)
		if err != nil {
			return nil, err
		}
		b := bundle{options: o, templates: map[string]*template{}, broken: map[string]bool{}}
		b.read(docs)
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		b.compile(ctx, guard)
		return b.policies()
	}
}

// bundle is one compilation.
type bundle struct {
	options     Options
	templates   map[string]*template // by the kind of their constraints
	broken      map[string]bool      // kinds whose template is wrong, which was told
	constraints []*policies.Object
	out         []*policies.Policy
	errs        []error
}

func (b *bundle) warn(err error) {
	if b.options.Warn != nil {
		b.options.Warn(err)
	}
}

// read decodes the templates, on all cores, and sorts out what is no validation.
func (b *bundle) read(docs []policies.Document) {
	read := make([]readTemplate, len(docs))
	onAllCores(len(docs), func(i int) {
		if o := docs[i].Object; o != nil && o.Kind.Group == templateGroup {
			read[i] = readOne(o)
		}
	})
	for i, d := range docs {
		o := d.Object
		if o == nil {
			b.errs = append(b.errs, policies.ErrorAt(policies.Position{File: d.File}, errors.New("is no document of Gatekeeper")))
			continue
		}
		switch o.Kind.Group {
		case templateGroup:
			b.take(o, read[i])
		case constraintGroup:
			b.constraints = append(b.constraints, o)
		case testGroup: // suites are for tests
		default:
			b.warn(errorAt(o, policies.Path{"kind"}, policies.AtValue, fmt.Errorf("%s (%s) is not a validation; ignored", o, o.Kind.APIVersion())))
		}
	}
}

// readTemplate is what newTemplate says of a document.
type readTemplate struct {
	template *template
	errs     []error
}

// readOne turns a panic of a parser into an error of the template that brought it down.
func readOne(o *policies.Object) (out readTemplate) {
	defer func() {
		if v := recover(); v != nil {
			out = readTemplate{errs: []error{errorAt(o, nil, policies.AtValue, fmt.Errorf("template %s: its parser panicked: %v", o.Name, v))}}
		}
	}()
	t, errs := newTemplate(o)
	return readTemplate{t, errs}
}

func (b *bundle) take(o *policies.Object, read readTemplate) {
	t, errs := read.template, read.errs
	if kind := constraintKind(o); len(errs) > 0 && kind != "" {
		b.broken[kind] = true
	}
	if len(errs) == 0 {
		if other := b.templates[t.kind]; other != nil {
			errs = append(errs, errorAt(o, policies.Path{"spec", "crd", "spec", "names", "kind"}, policies.AtValue,
				fmt.Errorf("%s is declared twice, also at %s:%d", o, other.doc.Origin.File, other.doc.Origin.Line)))
		} else {
			b.templates[t.kind] = t
		}
	}
	b.errs = append(b.errs, errs...)
}

// onAllCores calls work with each number below n, several at once.
func onAllCores(n int, work func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	workers.Wait()
}

// policies makes what the engine asks.
func (b *bundle) policies() ([]*policies.Policy, error) {
	used := map[string]bool{}
	seen := map[string]*policies.Object{}
	for _, o := range b.constraints {
		name := o.Kind.Kind + "/" + o.Name
		if other := seen[name]; other != nil && o.Name != "" {
			b.errs = append(b.errs, errorAt(o, policies.Path{"metadata", "name"}, policies.AtValue,
				fmt.Errorf("constraint %s is declared twice, also at %s:%d", name, other.Origin.File, other.Origin.Line)))
			continue
		}
		seen[name] = o
		used[o.Kind.Kind] = true
		if b.broken[o.Kind.Kind] {
			continue
		}
		t := b.templates[o.Kind.Kind]
		if t == nil {
			b.errs = append(b.errs, errorAt(o, policies.Path{"kind"}, policies.AtValue,
				fmt.Errorf("constraint %s has no template: expected a ConstraintTemplate of the kind %s among the policies%s", o.Name, o.Kind.Kind, b.nearest(o.Kind.Kind))))
			continue
		}
		c, errs := newConstraint(o, t)
		b.errs = append(b.errs, errs...)
		if len(errs) == 0 {
			for _, err := range c.notes {
				b.warn(err)
			}
			b.out = append(b.out, c.policy(name))
		}
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	for kind, t := range b.templates {
		if !used[kind] {
			b.warn(errorAt(t.doc, policies.Path{"metadata", "name"}, policies.AtValue,
				fmt.Errorf("template %s has no constraint: nobody is judged by it", t.doc.Name)))
		}
	}
	return b.out, nil
}

// nearest names a kind of another case, which is the usual mistake.
func (b *bundle) nearest(kind string) string {
	for other := range b.templates {
		if strings.EqualFold(other, kind) {
			return fmt.Sprintf("; %s is one", other)
		}
	}
	return ""
}

// policy is the constraint as the engine asks it.
func (k *constraint) policy(name string) *policies.Policy {
	t := k.template
	out := &policies.Policy{
		Name:   name,
		Kind:   "gatekeeper",
		Doc:    describe(k.doc, t.doc),
		Origin: k.doc.Locate(policies.Path{"metadata", "name"}, policies.AtValue),
		Files:  []string{k.doc.Origin.File},
		Match:  k.match.coarse(t.operations),
		Action: k.action,
		Refers: t.needs.refers,
		Judge:  k.judge,
	}
	if t.native != nil {
		out.Rules = t.native.program.Rules()
	}
	if file := t.doc.Origin.File; !slices.Contains(out.Files, file) {
		out.Files = append(out.Files, file)
	}
	return out
}

// describe is what the constraint says of itself, or else the template (the annotations of Gatekeeper's library).
func describe(docs ...*policies.Object) string {
	for _, o := range docs {
		if v, ok := policies.Lookup(o.Map(), policies.Path{"metadata", "annotations", "description"}); ok {
			if s, ok := v.(string); ok && strings.TrimSpace(s) != "" {
				return strings.TrimSpace(s)
			}
		}
	}
	return ""
}
