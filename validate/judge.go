package validate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// run is the second pass: it judges every object, on several processors, and hands the decisions on in order.
type run struct {
	options *Options
	walker  *walker
	kept    *kept
	sum     *Summary
	seen    *identities
}

// job is a part of the run whose outcomes are handed on together: a small file, or some objects of a large one.
type job struct {
	work func(context.Context, *scratch) []outcome
	done chan []outcome
	file int  // index
	last bool // of its file
}

// outcome is one thing to hand on.
type outcome struct {
	decision  policies.Decision
	object    *policies.Object // nil when the decision is about a file or document
	namespace string           // in which the object is
	skipped   *Skipped         // instead of a decision
}

// maxHeld is how many problems of a large hidden file are held until it is known whether it holds an object.
const maxHeld = 1000

// batch is how many objects of a large file make one job.
const batch = 16

func (r *run) judge(ctx context.Context, sink func(policies.Decision) error) error {
	jobsCtx, stop := context.WithCancel(ctx)
	// Whatever waits for a place in the queue is in memory: a few jobs for each worker keep all of them busy.
	queue := make(chan *job, 4*r.options.Workers)
	todo := make(chan *job, 4*r.options.Workers)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for range r.options.Workers {
		wg.Go(func() {
			var buf scratch
			for j := range todo {
				if jobsCtx.Err() != nil {
					j.done <- nil
					continue
				}
				j.done <- j.work(jobsCtx, &buf)
			}
		})
	}
	wg.Go(func() {
		defer close(queue)
		defer close(todo)
		for i := range r.walker.files {
			if !r.file(i, func(j *job) bool {
				j.done, j.file = make(chan []outcome, 1), i
				if jobsCtx.Err() != nil {
					return false
				}
				select {
				case queue <- j:
				case <-jobsCtx.Done():
					return false
				}
				todo <- j
				return true
			}) {
				return
			}
		}
	})
	for j := range queue {
		var outcomes []outcome
		select {
		case outcomes = <-j.done:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // what was judged meanwhile may be cut short
		}
		for i := range outcomes {
			stopped, err := r.hand(j.file, &outcomes[i], sink)
			if err != nil || stopped {
				r.sum.Files++ // the one in which the run stops was read
				return err
			}
		}
		if j.last {
			r.sum.Files++
			if r.options.Progress != nil {
				r.options.Progress(r.sum.Files, len(r.walker.files))
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.sum.Skipped = append(r.sum.Skipped, r.walker.skipped...)
	slices.SortStableFunc(r.sum.Skipped, func(a, b Skipped) int { return cmp.Compare(a.File, b.File) })
	return nil
}

// hand gives one outcome of a file to the sink, and says whether the run is to stop.
func (r *run) hand(file int, out *outcome, sink func(policies.Decision) error) (stop bool, err error) {
	switch {
	case out.skipped != nil:
		r.sum.Skipped = append(r.sum.Skipped, *out.skipped)
		return false, nil
	case out.object == nil:
		r.sum.Malformed++
	default:
		r.sum.Objects++
		if r.options.Plain != nil {
			break
		}
		if first, doubled := r.seen.add(file, out.object, out.namespace); doubled {
			r.sum.Duplicates++
			out.decision.Results = append(out.decision.Results, duplicate(out.object, r.walker.files[first.file].name, int(first.line)))
		}
	}
	if err := sink(out.decision); err != nil {
		return false, fmt.Errorf("decision on %s cannot be handed on: %w", out.decision.Subject.Text, err)
	}
	if r.options.FailFast > 0 && out.decision.Verdict() >= r.options.FailFast {
		r.sum.Stopped = true
	}
	return r.sum.Stopped, nil
}

// file makes the jobs of one file and gives them to emit, in order. It says no when the run is over.
func (r *run) file(i int, emit func(*job) bool) bool {
	if r.options.Plain != nil {
		return emit(&job{last: true, work: func(ctx context.Context, _ *scratch) []outcome { return r.document(ctx, i) }})
	}
	if !r.kept.big[i] {
		return emit(&job{last: true, work: func(ctx context.Context, buf *scratch) []outcome { return r.small(ctx, i, buf) }})
	}
	f := r.walker.files[i]
	in, _, err := r.walker.open(f)
	if err != nil {
		return emit(&job{last: true, work: func(context.Context, *scratch) []outcome { return []outcome{unreadable(f.name, err)} }})
	}
	defer in.Close()
	return r.large(in, i, emit)
}

// small judges a file in one piece.
func (r *run) small(ctx context.Context, i int, buf *scratch) []outcome {
	f := r.walker.files[i]
	in, size, err := r.walker.open(f)
	if err != nil {
		return []outcome{unreadable(f.name, err)}
	}
	defer in.Close()
	text, small, err := buf.slurp(in, size)
	if err != nil {
		return []outcome{unreadable(f.name, cause(err))}
	}
	if !small {
		return []outcome{unreadable(f.name, errors.New("it grew while it was read, expected it to stay"))}
	}
	if isTemplate(f, text) {
		return []outcome{skipped(f.name, "Helm template: check what the chart renders")}
	}
	var found []finding
	for o, p := range manifest.ReadBytes(f.name, text, r.options.Limits) {
		found = append(found, finding{o, p})
	}
	if len(found) == 0 {
		return []outcome{skipped(f.name, "it holds no object")}
	}
	if reason := otherFile(f, text, found); reason != "" {
		return []outcome{skipped(f.name, reason)}
	}
	out := make([]outcome, 0, len(found))
	for _, it := range found {
		out = append(out, r.one(ctx, i, it))
	}
	return out
}

// finding is one thing that a text gives: an object, or a problem.
type finding struct {
	object  *policies.Object
	problem *manifest.Problem
}

// one is the outcome of one finding in file i.
func (r *run) one(ctx context.Context, i int, it finding) outcome {
	if it.problem != nil {
		return malformed(*it.problem)
	}
	return r.object(ctx, i, it.object)
}

// large reads a file as a stream and makes a job of each few findings.
func (r *run) large(in io.Reader, i int, emit func(*job) bool) bool {
	var found []finding
	flush := func(last bool) bool {
		mine := found
		found = nil
		return emit(&job{last: last, work: func(ctx context.Context, _ *scratch) []outcome {
			out := make([]outcome, 0, len(mine))
			for _, it := range mine {
				out = append(out, r.one(ctx, i, it))
			}
			return out
		}})
	}
	empty := true
	f := r.walker.files[i]
	for o, p := range manifest.Read(f.name, in, r.options.Limits) {
		if f.hidden && empty && foreignProblem(p) && len(found) < maxHeld {
			found = append(found, finding{o, p}) // told only if an object follows
			continue
		}
		empty = false
		if found = append(found, finding{o, p}); len(found) >= batch && !flush(false) {
			return false
		}
	}
	if empty {
		reason := "it holds no object"
		if f.hidden {
			reason = hiddenReason
		}
		return emit(&job{last: true, work: func(context.Context, *scratch) []outcome { return []outcome{skipped(f.name, reason)} }})
	}
	return flush(true)
}

// object judges the creation of o.
func (r *run) object(ctx context.Context, i int, o *policies.Object) (out outcome) {
	defer func() {
		if v := recover(); v != nil {
			out = panicked(o, v)
		}
	}()
	if reason := notForCluster(o.Kind); reason != "" {
		return skipped(o.Origin.File, reason)
	}
	if mine := r.kept.mine[i][o.Origin.Document]; mine != nil && mine.Kind == o.Kind && mine.Name == o.Name && mine.Namespace == o.Namespace {
		o = mine
	} else {
		o = o.WithStored(func(o *policies.Object) (map[string]any, error) { return r.options.Rules.Stored(r.kept.set, o) })
	}
	c := r.change(o)
	return outcome{object: o, namespace: c.Namespace, decision: r.options.Engine.Decide(ctx, c)}
}

// panicked is the outcome of an object that something panicked over, which is a bug and never a yes.
func panicked(o *policies.Object, v any) outcome {
	err := &policies.PanicError{Value: v, Stack: debug.Stack()}
	return outcome{object: o, decision: policies.Decision{
		Subject: policies.RefOf(o), Operation: policies.Create,
		Results: []policies.Result{{Policy: manifestPolicy, Outcome: policies.Failed, Err: err}},
	}}
}

// change is the creation of o, as merging it would send it to a cluster that does not have it.
func (r *run) change(o *policies.Object) *policies.Change {
	c := &policies.Change{Operation: policies.Create, Object: o, Set: r.kept.set}
	res, namespaced, known := r.options.Rules.Resource(r.kept.set, o.Kind)
	if !known {
		res, namespaced = guess(o.Kind), o.Namespace != ""
	}
	c.Resource, c.Namespaced = res, namespaced
	if r.options.Online {
		c.Knows |= policies.Online
	}
	if !namespaced {
		c.Knows |= policies.KnowsNamespace // there is none to know
		return c
	}
	if c.Namespace = o.Namespace; c.Namespace == "" {
		c.Namespace = "default"
	}
	if c.Holder = r.kept.holders[c.Namespace]; c.Holder != nil {
		c.Knows |= policies.KnowsNamespace
	}
	return c
}

// guess is the resource of a kind that nothing defines, by the rule that kubectl guesses with (apimachinery's
// UnsafeGuessKindToResource), so that policies written for resources are asked all the same.
func guess(gvk policies.GroupVersionKind) policies.Resource {
	plural := strings.ToLower(gvk.Kind)
	switch {
	case strings.HasSuffix(plural, "endpoints"):
	case strings.HasSuffix(plural, "s"):
		plural += "es"
	case strings.HasSuffix(plural, "y"):
		plural = plural[:len(plural)-1] + "ies"
	default:
		plural += "s"
	}
	return policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: plural}
}
