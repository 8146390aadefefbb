// Package clitest runs tests of the Kyverno CLI (cli.kyverno.io/v1alpha1, kind Test) as `kyverno test` does: it reads the test and
// what it names, judges its resources by its policies, rule by rule, and compares. What is no validation is skipped and said to
// be. It asks no network and no cluster, runs no policy language but Kyverno's own (others are handed to it), and knows neither
// configuration nor terminals.
package clitest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno"
)

// Outcome is what became of one expectation. The zero value is none.
type Outcome int

const (
	Passed  Outcome = iota + 1
	Skipped         // it is about no validation
	Failed          // what came is not what was expected
	Errored         // it could not be run
)

// Result is one expectation of a test, for one of its resources.
type Result struct {
	Name     string // file:policy/rule/resource
	Pos      policies.Position
	Outcome  Outcome
	Problems []error // each a *policies.PositionError; of what passed, what is to be known of it
}

// Options is what a host gives.
type Options struct {
	// Read returns the content of a file, bounded; List the files in and below a folder, or nil for a file. Their errors are those of
	// package fs.
	Read func(file string) ([]byte, error)
	List func(folder string) ([]string, error)
	// Decode reads the Kubernetes objects of a file; the error joins what is wrong with it. Of the keys of resources that are
	// doubled the last counts, as for the CLI.
	Decode func(file string, text []byte, resources bool) ([]*policies.Object, error)
	// Resource says what a kind is served as; known is false for a kind that nobody declares.
	Resource func(set *policies.Set, gvk policies.GroupVersionKind) (res policies.Resource, namespaced, known bool)
	// Claims says whether another kind of policy than Kyverno's classic one judges by a document, and Compile makes policies of
	// such documents. Trial is the test's.
	Claims  func(policies.Document) bool
	Compile func(ctx context.Context, docs []policies.Document, t kyverno.Trial) ([]*policies.Policy, error)
}

// Run runs the test that o is, which was read from file.
func Run(ctx context.Context, options Options, file string, o *policies.Object) []Result {
	t := &test{options: options, file: file, doc: o}
	base := Result{Name: file, Pos: t.at("kind"), Outcome: Errored}
	t.load(ctx)
	if len(t.errs) > 0 {
		base.Problems = t.errs
		return []Result{base}
	}
	if len(t.spec.Results) == 0 {
		base.Outcome, base.Problems = Failed, []error{policies.ErrorAt(base.Pos, errors.New("expected results, got none"))}
		return []Result{base}
	}
	var out []Result
	for i := range t.spec.Results {
		if ctx.Err() != nil {
			base.Problems = []error{policies.ErrorAt(base.Pos, fmt.Errorf("no time left to run it: %w", context.Cause(ctx)))}
			return append(out, base)
		}
		out = append(out, t.expectation(ctx, i)...)
	}
	return out
}

// test is one test and what it names.
type test struct {
	options Options
	file    string
	doc     *policies.Object
	spec    spec
	errs    []error

	documents  []policies.Document // Kyverno's classic ones
	foreign    []*foreign          // policies of other kinds
	idle       map[string]string   // policies that are no validations, by name: their kind
	mutates    string              // a policy that changes objects before they are judged; "" for none
	trial      kyverno.Trial
	rehearsal  *kyverno.Rehearsal
	resources  []*policies.Object
	payloads   []payload
	requests   []string // payloads that are requests to services, which nothing here judges
	absent     []string // files of resources that do not exist
	set        *policies.Set
	actor      *policies.Actor
	namespaces map[string]*policies.Object
	subs       []subresource

	answers map[question][]kyverno.Response
}

// payload is JSON that is no Kubernetes object, under the name that results have for it.
type payload struct {
	name   string
	object *policies.Object
}

type question struct {
	object    *policies.Object
	operation policies.Operation
}

// at is the place of a field of the test.
func (t *test) at(steps ...any) policies.Position {
	return t.doc.Locate(policies.Path(steps), policies.AtKey)
}

func (t *test) wrong(pos policies.Position, err error) {
	t.errs = append(t.errs, policies.ErrorAt(pos, err))
}

// near is the path of what a test names.
func (t *test) near(name string) (string, error) {
	for _, prefix := range []string{"http://", "https://", "git://", "ssh://", "oci://"} {
		if strings.HasPrefix(name, prefix) {
			return "", fmt.Errorf("%s: the network is not asked in tests: expected a file beside the test", name)
		}
	}
	if path.IsAbs(name) {
		return path.Clean(name), nil
	}
	return path.Join(path.Dir(t.file), name), nil
}
