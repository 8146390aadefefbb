// Package celpolicy judges by Kyverno's policies in CEL: ValidatingPolicy, NamespacedValidatingPolicy and PolicyException of
// policies.kyverno.io. It follows Kyverno v1.19 (pkg/cel) in what it lets pass and what it says, with Kyverno's own libraries of
// pure functions; each expression is compiled once, and the variables of a request are made once for all policies. It knows
// neither doors nor Kyverno's classic policies, and asks no cluster and no network: what an answer needs and the door does not
// know is said by name.
package celpolicy

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
	"gitgate.dev/gitgate/policies/strict"
)

// Options is what a host gives.
type Options struct {
	Warn    func(error)         // told what is in a policy and is no validation, with its position; may be nil
	API     admission.API       // nil: a policy is asked of the versions that it names alone, and objects by resource are not found
	Convert admission.Converter // nil: a policy that wants to see an object in another version than it is written in fails
	Plain   bool                // documents that are no Kubernetes objects are judged
	Answers *Answers            // what a test gives in place of a cluster and the network; nil otherwise
	Now     func() time.Time    // when exceptions end; nil for the system's clock
}

// Answers are what a test gives to expressions that ask a cluster or the network. An answer that is not there is an error, as in
// the Kyverno CLI.
type Answers struct {
	Global func(name, projection string) (any, error)     // globalContext.get
	Image  func(reference string) (map[string]any, error) // image.getMetadata
	HTTP   func(method, url string) (any, error)          // http.get and http.post
}

// Claims says whether a document is of Kyverno's CEL family, in any version.
func Claims(d policies.Document) bool { return d.Object != nil && d.Object.Kind.Group == group }

// Judges says whether a document is one of those that judge.
func Judges(d policies.Document) bool {
	return Claims(d) && (d.Object.Kind.Kind == clusterKind || d.Object.Kind.Kind == namespacedKind)
}

// idle are the kinds of the group that are no validations.
var idle = []string{"MutatingPolicy", "GeneratingPolicy", "DeletingPolicy"}

// Compile makes a policy of each ValidatingPolicy and NamespacedValidatingPolicy among docs, all of which Claims.
func Compile(ctx context.Context, o Options, docs []policies.Document) ([]*policies.Policy, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	b := &bundle{options: o, names: map[string]*policies.Object{}}
	for _, d := range docs {
		b.document(d.Object)
	}
	if len(b.policies) > 0 {
		b.compile(ctx)
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	out := make([]*policies.Policy, 0, len(b.policies))
	for _, p := range b.policies {
		if p.ignored {
			continue
		}
		out = append(out, p.describe())
	}
	return out, nil
}

// bundle is one compilation.
type bundle struct {
	options    Options
	names      map[string]*policies.Object
	policies   []*policy
	exceptions []*exception
	errs       []error
}

func (b *bundle) wrong(o *policies.Object, path policies.Path, at policies.Aspect, format string, args ...any) {
	b.errs = append(b.errs, strict.ErrorAt(o, path, at, fmt.Errorf(format, args...)))
}

func (b *bundle) ignore(o *policies.Object, path policies.Path, format string, args ...any) {
	if b.options.Warn != nil {
		b.options.Warn(strict.ErrorAt(o, path, policies.AtValue, fmt.Errorf(format, args...)))
	}
}

func (b *bundle) document(o *policies.Object) {
	kind := o.Kind.Kind
	at := policies.Path{"kind"}
	switch {
	case slices.Contains(idle, strings.TrimPrefix(kind, "Namespaced")):
		b.ignore(o, at, "%s is not a validation; ignored", o)
		return
	case strings.TrimPrefix(kind, "Namespaced") == "ImageValidatingPolicy":
		b.ignore(o, at, "%s judges the signatures of images, which is not supported; ignored", o)
		return
	case kind != clusterKind && kind != namespacedKind && kind != exceptionKind:
		b.wrong(o, at, policies.AtValue, "kind %s is unknown in %s: expected ValidatingPolicy, NamespacedValidatingPolicy or PolicyException", kind, group)
		return
	case !slices.Contains([]string{"v1", "v1beta1", "v1alpha1"}, o.Kind.Version):
		b.wrong(o, policies.Path{"apiVersion"}, policies.AtValue, "%s %s is not supported: expected version v1, v1beta1 or v1alpha1", kind, o.Kind.APIVersion())
		return
	}
	key := kind + "/" + o.Namespace + "/" + o.Name
	if other := b.names[key]; other != nil && o.Name != "" {
		b.wrong(o, policies.Path{"metadata", "name"}, policies.AtValue, "%s is declared twice, also at %s:%d", o, other.Origin.File, other.Origin.Line)
		return
	}
	b.names[key] = o
	before := len(b.errs)
	if kind == exceptionKind {
		if x := b.exception(o); len(b.errs) == before {
			b.exceptions = append(b.exceptions, x)
		}
		return
	}
	d := &document{}
	usable, errs := strict.Decode(o, nil, o.Map(), d, strict.Options{})
	b.errs = append(b.errs, errs...)
	if usable {
		b.check(o, d)
		p := &policy{doc: o, def: d, invalid: len(b.errs) > before, options: &b.options}
		p.ignored = !p.invalid && b.foreign(o, d)
		b.policies = append(b.policies, p)
	}
}

// foreign says whether a policy judges what is no object: requests to services. It tells of it.
func (b *bundle) foreign(o *policies.Object, d *document) bool {
	at := policies.Path{"spec", "evaluation", "mode"}
	switch d.Spec.mode() {
	case "HTTP", "Envoy":
		b.ignore(o, at, "%s judges requests to services (evaluation.mode %s), which are no manifests; ignored", o, d.Spec.mode())
		return true
	case modeJSON:
		if b.options.Answers == nil && !b.options.Plain {
			b.ignore(o, at, "%s judges payloads that are no Kubernetes objects (evaluation.mode JSON); no manifest is judged by it, but what gitgate check --parser reads", o)
		}
	}
	return false
}

// compile compiles all policies, on all cores.
func (b *bundle) compile(ctx context.Context) {
	envs := &environments{options: &b.options}
	errs := make([][]error, len(b.policies))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(b.policies)) {
		workers.Go(func() {
			for i := range next {
				if p := b.policies[i]; !p.ignored && ctx.Err() == nil {
					errs[i] = b.one(p, envs)
				}
			}
		})
	}
	for i := range b.policies {
		next <- i
	}
	close(next)
	workers.Wait()
	if ctx.Err() != nil {
		b.errs = append(b.errs, fmt.Errorf("no time left to compile Kyverno policies: %w", context.Cause(ctx)))
		return
	}
	for _, e := range errs {
		for _, err := range e {
			// An exception is compiled for each policy that it is about.
			if !slices.ContainsFunc(b.errs, func(known error) bool { return known.Error() == err.Error() }) {
				b.errs = append(b.errs, err)
			}
		}
	}
}

// one turns a panic of the CEL compiler into an error of the policy that brought it down.
func (b *bundle) one(p *policy, envs *environments) (errs []error) {
	defer func() {
		if v := recover(); v != nil {
			errs = []error{strict.ErrorAt(p.doc, nil, policies.AtValue, fmt.Errorf("policy %s: its compiler panicked: %v", p.doc.Name, v))}
		}
	}()
	return p.compile(envs, b.exceptions)
}

func (o *Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}
