// Package validate is the first door: it finds manifests in files, folders and standard input, makes of each object the change
// that creates it, and hands the engine's decisions on, in a stable order and in memory that does not grow with their number.
// It must not know of policy kinds, of configuration, or of how a decision is shown.
package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// Rules is what has to be known of the API server: see package apiserver.
type Rules interface {
	// Stored is o as the API server would store it.
	Stored(set *policies.Set, o *policies.Object) (map[string]any, error)
	// Resource is the resource that objects of a kind are sent to, and whether it is namespaced.
	Resource(set *policies.Set, gvk policies.GroupVersionKind) (res policies.Resource, namespaced, known bool)
}

// Options say what to check and how.
type Options struct {
	Paths         []string  // files, folders, or "-" for Stdin; shown in messages as they are given
	Stdin         io.Reader // read for the path "-"
	StdinFilename string    // what Stdin is called in messages; "" for "stdin"
	Exclude       []Exclusion

	Plain  *Plain // what is read is documents of any sort; nil for manifests
	Engine *policies.Engine
	Rules  Rules
	Limits manifest.Limits // zero for the default ones

	// Known are objects that policies and rules see although no path holds them, such as CustomResourceDefinitions of other
	// repositories. They are not judged, and one of the paths with the same identity takes their place.
	Known []*policies.Object

	// Online says that policies may ask the network, because the configuration lets them.
	Online bool

	Workers    int              // how many objects are judged at once; 0 for one a processor
	FailFast   policies.Verdict // stop behind the first decision that is at least this bad; 0 for never
	AllowEmpty bool             // finding no object is no error

	// Progress, when it is not nil, is told how many of how many files are done. It is called by one goroutine at a time.
	Progress func(done, total int)
}

// Plain says how files are read that hold no Kubernetes objects but documents of any sort: what a text holds, and which files of a folder are
// read.
type Plain struct {
	Parse func(file string, text []byte, lim manifest.Limits) ([]*policies.Object, []manifest.Problem)
	Reads func(name string) bool
}

// Exclusion is a file or folder that is not to be checked although it lies in a path or is one, such as gitgate.yaml itself: a
// hook that names every changed file names it too.
type Exclusion struct{ Path, Reason string }

// Summary says what a run met.
type Summary struct {
	Files      int       // files that were read
	Objects    int       // objects that were judged
	Malformed  int       // problems of files and documents, duplicates not among them
	Duplicates int       // objects whose identity another one has already
	Skipped    []Skipped // what was seen and not judged, in the order of the paths
	Others     int       // files in folders whose names end neither in .yaml, .yml nor .json
	Stopped    bool      // FailFast ended the run
	Elapsed    time.Duration
}

// Skipped is a file, folder or object that was seen and not judged, and why.
type Skipped struct{ File, Reason string }

// ErrNothing is the error of a run that found no object to judge and nothing wrong: success would mean nothing.
var ErrNothing = errors.New("nothing to check")

// UsageError is the error of options that cannot be followed: a path that does not exist.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Policy is the pseudo policy whose results tell what is wrong with a file or document before any policy can be asked:
// the rules of package manifest, and RuleDuplicateObject. The engine does not know it.
func Policy() *policies.Policy { return manifestPolicy }

// RuleDuplicateObject is the rule that two objects of one change set may not have the same group, kind, namespace and name.
const RuleDuplicateObject = "duplicate-object"

var manifestPolicy = func() *policies.Policy {
	p := &policies.Policy{
		Name: "manifest", Kind: "manifest", Severity: policies.High,
		Doc:   "A file can be read and holds well-formed Kubernetes objects, each of them once.",
		Judge: func(context.Context, *policies.Change) (policies.Finding, error) { return policies.Finding{}, nil },
	}
	p.Rules = append(p.Rules, manifest.RuleIDs()...)
	p.Rules = append(p.Rules, RuleDuplicateObject)
	return p
}()

// Run judges every object of o.Paths as its creation and gives each decision to sink, sorted by path and then in the order of
// the text. What is wrong with a file or document is a decision too (see Policy). Its error is a *UsageError, ErrNothing, the
// sink's, or ctx's. The summary is true also with an error.
func Run(ctx context.Context, o Options, sink func(policies.Decision) error) (sum Summary, err error) {
	start := time.Now()
	defer func() { sum.Elapsed = time.Since(start) }()
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	w := newWalker(&o)
	defer w.close()
	if err := w.walk(ctx); err != nil {
		return sum, err
	}
	sum.Others = w.others
	kept, err := collect(ctx, &o, w)
	if err != nil {
		return sum, err
	}
	r := &run{options: &o, walker: w, kept: kept, sum: &sum, seen: newIdentities()}
	if err := r.judge(ctx, sink); err != nil {
		return sum, err
	}
	if sum.Objects == 0 && sum.Malformed == 0 && !o.AllowEmpty {
		if o.Plain != nil {
			return sum, fmt.Errorf("%w: no document in %s", ErrNothing, describePaths(o.Paths))
		}
		return sum, fmt.Errorf("%w: no Kubernetes object in %s", ErrNothing, describePaths(o.Paths))
	}
	return sum, nil
}

func describePaths(paths []string) string {
	switch len(paths) {
	case 0:
		return "no path"
	case 1:
		return paths[0]
	default:
		return fmt.Sprintf("%s and %d more", paths[0], len(paths)-1)
	}
}
