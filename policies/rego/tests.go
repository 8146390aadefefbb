package rego

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// TestResult is the answer of one test rule, as `opa test` gives it.
type TestResult struct {
	Package  string // without data.: "main_test"
	Name     string // "test_privileged"; a second rule of a name is "test_privileged#01"
	Pos      policies.Position
	Passed   bool     // neither failed nor in error nor skipped
	Skipped  bool     // its name begins with todo_
	Err      error    // why it could not be run; nil when it was
	Failed   []string // the cases of the test that failed, when it has named ones
	Output   string   // what it printed
	Duration time.Duration
}

// Test runs the test rules (test_…, todo_test_…) of all Rego documents with the data beside them: those whose package and name
// (main_test.test_privileged) match run, or all when run is nil. The sources are compiled as Compiler does, with the same builtins refused. An error is one
// of the documents; what becomes of a test is its result. The results are in the order of their places.
func Test(ctx context.Context, o Options, docs []policies.Document, run *regexp.Regexp) ([]TestResult, error) {
	guard, err := opa.NewGuard(o.AllowBuiltins)
	if err != nil {
		return nil, err
	}
	var rego, datas []policies.Document
	for _, d := range docs {
		if isSource(d) {
			rego = append(rego, d)
		} else {
			datas = append(datas, d)
		}
	}
	all, errParse := parseAll(rego, o.RegoVersion)
	data, errData := mergeData(datas, dataRoots(o.DataRoots, rego))
	if err := errors.Join(errParse, errData); err != nil {
		return nil, err
	}
	modules := make(map[string]*ast.Module, len(all))
	for file, s := range all {
		modules[file] = s.module
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	memory := inmem.NewFromObject(data.root)
	txn, err := memory.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("data of the tests: %w", err)
	}
	defer memory.Abort(ctx, txn)
	compiler := newCompiler(data, guard).WithEnablePrintStatements(true)
	runner := tester.NewRunner().
		SetCompiler(compiler).
		SetStore(memory).
		SetModules(modules).
		SetTimeout(timeout).
		CapturePrintOutput(true).
		RaiseBuiltinErrors(o.StrictBuiltinErrors)
	results, err := runner.RunTests(ctx, txn)
	if err != nil {
		return nil, errors.Join(all.located(err)...)
	}
	var out []TestResult
	for r := range results {
		// The runner's own filter does not know a second rule of a name by its name.
		if one := all.testResult(compiler, r); run == nil || run.MatchString(one.Package+"."+one.Name) {
			out = append(out, one)
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	slices.SortFunc(out, func(a, b TestResult) int {
		return cmp.Or(strings.Compare(a.Pos.File, b.Pos.File), a.Pos.Line-b.Pos.Line, strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

func (all sources) testResult(c *ast.Compiler, r *tester.Result) TestResult {
	out := TestResult{
		Package: strings.TrimPrefix(r.Package, "data."), Name: r.Name, Pos: all.position(r.Location),
		Passed: r.Pass(), Skipped: r.Skip, Output: string(r.Output), Duration: r.Duration,
	}
	if r.Error != nil {
		out.Err = r.Error
		var e *topdown.Error
		if errors.As(r.Error, &e) && e.Location != nil {
			at := e.Location
			if e.Code == topdown.ConflictErr {
				at = firstOf(c, at)
			}
			out.Err = policies.ErrorAt(all.position(at), errors.New(message(&ast.Error{Message: e.Message})))
		}
	}
	for name, sub := range maps.Collect(flat(r.SubResults)) {
		if sub.Fail {
			out.Failed = append(out.Failed, name)
		}
	}
	slices.Sort(out.Failed)
	return out
}

// flat visits the named cases of a test, by their names joined.
func flat(results tester.SubResultMap) func(yield func(string, *tester.SubResult) bool) {
	return func(yield func(string, *tester.SubResult) bool) {
		for names, sub := range results.Iter {
			if len(sub.SubResults) == 0 && !yield(strings.Join(names, "/"), sub) {
				return
			}
		}
	}
}
