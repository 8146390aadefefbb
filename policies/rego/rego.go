// Package rego turns Rego sources into policies: conftest's conventions (rules deny, warn and violation, exceptions, packages)
// with the object as input, and package kubernetes.admission with the AdmissionReview as input. Each package is one policy. It
// knows OPA and the nouns of policies, and no door, file system, configuration file or other kind of policy.
package rego

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/topdown/cache"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// DefaultTimeout bounds the evaluation of one package on one change when Options does not.
const DefaultTimeout = opa.DefaultTimeout

// Options is what gitgate.yaml can say of Rego policies. The zero value is the default.
type Options struct {
	Namespaces          []string      // packages that are policies ("main", "kubernetes.admission"); empty: each that has a rule of conftest's names
	RegoVersion         string        // "v0" or "v1"; "": v1, and v0 for a file that is not v1
	AllowBuiltins       []string      // builtins with side effects or chance that policies may call: see opa.Guarded
	StrictBuiltinErrors bool          // a builtin that fails (to_number of no number) fails the policy; else it is undefined, as in conftest and OPA
	DataRoots           []string      // folders whose data documents start at data; empty: the topmost folder that has policies
	Timeout             time.Duration // of one package on one change; 0 is DefaultTimeout
	Warn                func(error)   // told what is suspicious but no error, with its position; may be nil
}

// Claims says whether d is Rego's: a Rego source, or data, which is a JSON or YAML document that says neither apiVersion nor
// kind. Tests (_test.rego) are claimed too, so that nobody else takes them for lost: Compiler leaves them aside.
func Claims(d policies.Document) bool {
	if isSource(d) {
		return true
	}
	if d.Object != nil {
		m := d.Object.Map()
		return m["apiVersion"] == nil && m["kind"] == nil && m["$schema"] == nil
	}
	switch path.Base(d.File) {
	case "data.json", "data.yaml", "data.yml":
		return true
	}
	return false
}

func isSource(d policies.Document) bool {
	return d.Object == nil && strings.EqualFold(path.Ext(d.File), ".rego")
}

func isTest(d policies.Document) bool { return strings.HasSuffix(d.File, "_test.rego") }

// Compiler compiles Rego sources and their data as o says.
func Compiler(o Options) policies.Compiler {
	return func(ctx context.Context, docs []policies.Document) ([]*policies.Policy, error) {
		return compile(ctx, o, docs)
	}
}

func compile(ctx context.Context, o Options, docs []policies.Document) ([]*policies.Policy, error) {
	s, notes, err := newSuite(ctx, o, docs)
	if err != nil {
		return nil, err
	}
	return s.policies(notes)
}

// newSuite compiles all packages together, and reads what is noted on them.
func newSuite(ctx context.Context, o Options, docs []policies.Document) (*suite, *annotations, error) {
	guard, err := opa.NewGuard(o.AllowBuiltins)
	if err != nil {
		return nil, nil, err
	}
	var sources, datas []policies.Document
	for _, d := range docs {
		switch {
		case isSource(d) && isTest(d):
		case isSource(d):
			sources = append(sources, d)
		default:
			datas = append(datas, d)
		}
	}
	modules, errParse := parseAll(sources, o.RegoVersion)
	data, errData := mergeData(datas, dataRoots(o.DataRoots, sources))
	if err := errors.Join(errParse, errData); err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	notes := readAnnotations(modules)
	packages, err := split(modules, o.Namespaces)
	if err != nil {
		return nil, nil, err
	}
	compiler, err := compileModules(modules, data, guard)
	if err != nil {
		return nil, nil, err
	}
	s := &suite{
		all:      modules,
		compiler: compiler,
		packages: packages,
		data:     data,
		values:   cache.NewInterQueryValueCache(context.Background(), nil),
		writes:   opa.Writes(compiler),
		strict:   o.StrictBuiltinErrors,
		timeout:  o.Timeout,
	}
	if s.timeout <= 0 {
		s.timeout = DefaultTimeout
	}
	if o.Warn != nil {
		for _, err := range s.unused() {
			o.Warn(err)
		}
	}
	return s, notes, nil
}

// checkNamespaces refuses namespaces that no source has.
func checkNamespaces(wanted []string, known map[string]bool) error {
	var errs []error
	for _, w := range wanted {
		if !known[w] {
			names := make([]string, 0, len(known))
			for k := range known {
				names = append(names, k)
			}
			slices.Sort(names)
			errs = append(errs, fmt.Errorf("rego namespace %s: no source has package %s, expected one of %s", w, w, strings.Join(names, ", ")))
		}
	}
	return errors.Join(errs...)
}
