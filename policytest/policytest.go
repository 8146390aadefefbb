// Package policytest finds the tests of policies in folders and runs them: gitgate's own fixtures (manifests whose lines say what
// is wanted of them, and folders ok and bad), test rules of Rego, and the test files of other tools. It is a door beside
// validate: what judges a fixture and what runs Rego is handed to it, and it knows no kind of policy, no configuration and no
// terminal.
package policytest

import (
	"context"
	"errors"
	"fmt"

	"gitgate.dev/gitgate/policies"
)

// Outcome is what became of a test. The zero value is none.
type Outcome int

const (
	Passed  Outcome = iota + 1
	Skipped         // it says of itself that it is not to be run
	Failed          // what came is not what was expected
	Errored         // it could not be run
)

// Problem is a place in a test, what was expected there and what came.
type Problem struct {
	Pos     policies.Position
	Message string
}

func (p Problem) String() string {
	return policies.ErrorAt(policies.Position{File: p.Pos.File, Line: p.Pos.Line}, errors.New(p.Message)).Error()
}

// Result is one test and what became of it.
type Result struct {
	Sort     string // "fixture", "rego", "kyverno", "gatekeeper"
	Name     string // what Options.Run is matched with
	Test     string // of a Gatekeeper suite: the test, and
	Case     string // the case of it
	Pos      policies.Position
	Outcome  Outcome
	Problems []Problem // why it failed or could not be run, in the order of their places
}

// Found is one finding on a fixture.
type Found struct {
	File  string // as it was given to Judge
	Line  int
	Text  string // what a want is matched with: "[level: ]message [policy/rule]"
	Error bool   // a policy could not judge
}

// Options says what to test, and by what.
type Options struct {
	Dirs []string // folders or files, as they are to be shown
	Run  *Filter  // the tests to run; nil for all

	// Judge judges the manifests of files, one change set, by the policies that belong to folder. Findings that are exempted are
	// left out. Its error says why they could not be judged: a policy that does not compile.
	Judge func(ctx context.Context, folder string, files []string) ([]Found, error)
	// IsPolicy says whether a file that wants nothing is policies, and so no fixture.
	IsPolicy func(file string) bool
	// Rego runs all test rules of the Rego files under folder, which are files, in the order of their places.
	Rego func(ctx context.Context, folder string, files []string) ([]Result, error)
	// Kyverno runs a test of the Kyverno CLI, which was read from file.
	Kyverno func(ctx context.Context, file string, test *policies.Object) []Result
	// KyvernoTest reads a test of the Kyverno CLI that does not say its kind; nil for a file that is none.
	KyvernoTest func(file string, text []byte) *policies.Object
	// Gatekeeper makes what the tests of a Gatekeeper suite ask.
	Gatekeeper NewTrial
	// Home is the folder nearest to file, itself inside dir, that has policies of its own: a gitgate.yaml. It is dir when there is
	// none.
	Home func(dir, file string) string
}

// ErrNothing is the error of a run that found no test: success would mean nothing.
var ErrNothing = errors.New("no test found")

// Run runs the tests of o.Dirs in the order of their files and gives each result to sink. Its error is ErrNothing, one of a folder
// that cannot be read, the sink's, or ctx's.
func Run(ctx context.Context, o Options, sink func(Result) error) error {
	told := 0
	tell := func(results ...Result) error {
		for _, r := range results {
			if !o.Run.matches(r) {
				continue
			}
			told++
			if err := sink(r); err != nil {
				return err
			}
		}
		return nil
	}
	seen := map[string]bool{}
	for _, dir := range o.Dirs {
		t, err := find(&o, dir, seen)
		if err != nil {
			return err
		}
		if err := t.run(ctx, &o, tell); err != nil {
			return err
		}
	}
	if told == 0 {
		if o.Run != nil {
			return fmt.Errorf("%w that matches %s", ErrNothing, o.Run)
		}
		return ErrNothing
	}
	return nil
}

func (t *tree) run(ctx context.Context, o *Options, tell func(...Result) error) error {
	for _, s := range t.sets {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.only != "" && !o.Run.matches(Result{Name: s.name}) {
			continue
		}
		if err := tell(s.run(ctx, o)...); err != nil {
			return err
		}
	}
	for _, r := range t.rego {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		results, err := o.Rego(ctx, r.folder, r.files)
		if err != nil {
			results = []Result{{Sort: "rego", Name: r.folder, Pos: policies.Position{File: r.folder}, Outcome: Errored, Problems: problemsOf(r.folder, err)}}
		}
		if err := tell(results...); err != nil {
			return err
		}
	}
	for _, f := range t.kyverno {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := tell(o.Kyverno(ctx, f.Origin.File, f)...); err != nil {
			return err
		}
	}
	for _, s := range t.gatekeeper {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := tell(gatekeeperSuiteOf(ctx, o, s)...); err != nil {
			return err
		}
	}
	return tell(t.foreign...)
}

// problemsOf is what err joins, each at its place, or at file without one.
func problemsOf(file string, err error) []Problem {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []Problem
		for _, e := range many.Unwrap() {
			out = append(out, problemsOf(file, e)...)
		}
		return out
	}
	var placed *policies.PositionError
	if errors.As(err, &placed) {
		return []Problem{{placed.Pos, placed.Err.Error()}}
	}
	return []Problem{{policies.Position{File: file}, err.Error()}}
}
