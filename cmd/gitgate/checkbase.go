package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
	"gitgate.dev/gitgate/report"
)

// baseFlags are the flags of gitgate check --base.
type baseFlags struct {
	base, head string
	onlyNew    bool
	offline    bool
	policies   string // both, base or head
}

func (f *baseFlags) validate(paths []string) error {
	switch {
	case f.policies != policiesBoth && f.policies != policiesBase && f.policies != policiesHead:
		return usage("--policies %s: expected both, base or head", f.policies)
	case f.base == "" && f.policies != policiesBoth:
		return usage("--policies %s: needs --base, the commit before the change", f.policies)
	case f.base == "" && f.head != "":
		return usage("--head %s: needs --base, the commit that it is compared with", f.head)
	case f.base == "" && f.offline:
		return usage("--offline: needs --base: without it no source is fetched")
	case f.base == "" && f.onlyNew:
		return usage("--only-new: needs --base, the commit before the change")
	case f.base != "" && len(paths) > 0:
		return usage("--base: judges what the sources of gitgate.yaml declare; it takes no path, got %s", paths[0])
	}
	return nil
}

// checkBase judges exactly the changes that merging head into base would send to the cluster, by the policies of head, and by those of base where they
// are others: see judgesOf.
func (p *program) checkBase(ctx context.Context, f checkFlags, outs []output) error {
	start := time.Now()
	tip, base, head, err := p.endpoints(ctx, f.baseFlags)
	if err != nil {
		return err
	}
	j, err := p.judgesOf(ctx, f, tip, head)
	if err != nil {
		return err
	}
	l := j.first
	listed, err := p.listedAt(ctx, f.configFlags, base)
	if err != nil {
		return err
	}
	r, err := p.openRevisions(ctx, l.Config, l.rules, otherSources{offline: f.offline, listed: listed})
	if err != nil {
		return err
	}
	defer r.close()
	before, after, changes, err := r.changes(ctx, base, head)
	if err != nil {
		return err
	}
	reports, sum, err := p.startReports(f, l, outs)
	if err != nil {
		return err
	}
	defer reports.discard()
	policy := problemsPolicy()
	sum.Policies = append(j.policiesOf(), policy)
	var decisions []policies.Decision
	known := fingerprintsOf(problems(policy, before))
	for _, d := range problems(policy, after) {
		decisions = append(decisions, tellNew(d, known, f.onlyNew))
	}
	judged, err := p.judgeChanges(ctx, l, before, after, changes, f.onlyNew)
	if err != nil {
		return err
	}
	if j.before != nil {
		var same *rendered
		if j.reuse {
			same = &rendered{before, after, changes}
		}
		if judged, err = p.byThoseBefore(ctx, f, j.before, base, head, judged, same, listed); err != nil {
			return err
		}
	}
	decisions = append(decisions, judged...)
	// Reports want the decisions file by file.
	slices.SortStableFunc(decisions, func(a, b policies.Decision) int {
		x, y := a.Subject.Origin, b.Subject.Origin
		if x.File != y.File {
			if x.File < y.File {
				return -1
			}
			return 1
		}
		return x.Line - y.Line
	})
	files := map[string]bool{}
	for _, d := range decisions {
		sum.Count(&d)
		files[d.Subject.Origin.File] = true
		if err := reports.Decision(d); err != nil {
			return exitWith(exitUnjudged, err)
		}
	}
	sum.Files, sum.Objects, sum.Elapsed = len(files), len(judged), time.Since(start)
	for _, text := range opaque(after) {
		fmt.Fprintf(p.stderr, "gitgate: %s\n", report.Line(text))
	}
	for _, c := range changes {
		if c.Kept != "" {
			fmt.Fprintf(p.stderr, "gitgate: %s is no longer declared, and stays: %s\n", report.Line(c.Subject().String()), report.Line(c.Kept))
		}
	}
	if sum.Verdict == 0 {
		sum.Verdict = policies.Allow // nothing is sent to the cluster, which is an answer
	}
	return p.conclude(ctx, f, reports, sum, nil)
}

// endpoints resolves --base, which is the tip, and --head. base is the merge base of both: what the branch itself changes is judged, not what the
// tip has got since; but by the policies of the tip, or a branch could begin before they were made strict.
func (p *program) endpoints(ctx context.Context, f baseFlags) (tip, base, head git.Hash, err error) {
	repo, _, err := git.Open(ctx, p.dir)
	if err != nil {
		return "", "", "", exitWith(exitUsage, err)
	}
	defer repo.Close()
	if head, err = resolve(ctx, repo, orHEAD(f.head)); err != nil {
		return "", "", "", err
	}
	if tip, err = resolve(ctx, repo, f.base); err != nil {
		return "", "", "", err
	}
	base, err = repo.MergeBase(ctx, tip, head)
	if err != nil {
		return "", "", "", exitWith(exitUsage, fmt.Errorf("--base %s: has no commit in common with %s; a shallow clone may be the reason (git fetch --unshallow): %w", f.base, orHEAD(f.head), err))
	}
	return tip, base, head, nil
}

func orHEAD(rev string) string {
	if rev == "" {
		return "HEAD"
	}
	return rev
}

// rendered is what two commits declare, and what differs.
type rendered struct {
	before, after *desired.State
	changes       []*desired.Change
}

// changes renders both commits and lists what differs.
func (r *revisions) changes(ctx context.Context, base, head git.Hash) (before, after *desired.State, all []*desired.Change, err error) {
	if before, err = r.at(ctx, base, nil); err != nil {
		return nil, nil, nil, err
	}
	if after, err = r.at(ctx, head, before); err != nil {
		return nil, nil, nil, err
	}
	if all, err = desired.Changes(ctx, before, after); err != nil {
		return nil, nil, nil, exitWith(exitUnjudged, err)
	}
	return before, after, all, nil
}

// judgeChanges asks the policies about every change that is sent, in its order. Violations that the object before the change had
// too are marked, or left out.
func (p *program) judgeChanges(ctx context.Context, l *loaded, before, after *desired.State, changes []*desired.Change, onlyNew bool) ([]policies.Decision, error) {
	online := slices.ContainsFunc(l.Config.Rego.AllowBuiltins, opa.Online)
	refers := l.Engine.Refers()
	setAfter := after.Set(refers)
	setBefore := sync.OnceValue(func() *policies.Set { return before.Set(refers) })
	var sent []*desired.Change
	for _, c := range changes {
		if c.Kept == "" {
			sent = append(sent, c)
		}
	}
	out := make([]policies.Decision, len(sent))
	err := eachOf(ctx, len(sent), func(i int) {
		c := sent[i]
		ask := c.Change
		ask.Set = setAfter
		if online {
			ask.Knows |= policies.Online
		}
		d := l.Engine.Decide(ctx, ask)
		if c.Operation == policies.Update && d.Verdict() != policies.Allow {
			// What the object before breaks as it was: the same request, without the change.
			same := policies.Change{
				Operation: policies.Update, Resource: ask.Resource, Namespaced: ask.Namespaced, Object: c.Old, Old: c.Old, Actor: ask.Actor,
				Namespace: ask.Namespace, Holder: ask.Holder, Knows: ask.Knows, Set: setBefore(),
			}
			d = tellNew(d, fingerprintsOf([]policies.Decision{l.Engine.Decide(ctx, &same)}), onlyNew)
		}
		out[i] = d
	})
	return out, err
}

// sameViolation is what makes two violations one, wherever they are written.
type sameViolation struct{ object, policy, rule, path, message string }

func fingerprintsOf(decisions []policies.Decision) map[sameViolation]bool {
	all := map[sameViolation]bool{}
	for i := range decisions {
		d := &decisions[i]
		for j := range d.Results {
			for _, v := range d.Results[j].Finding.Violations {
				all[fingerprintOf(d, &d.Results[j], &v)] = true
			}
		}
	}
	return all
}

func fingerprintOf(d *policies.Decision, r *policies.Result, v *policies.Violation) sameViolation {
	return sameViolation{d.Subject.Text, r.Policy.Name, v.Rule, v.Path.String(), v.Message}
}

// tellNew marks the violations that were there before, or leaves them out.
func tellNew(d policies.Decision, known map[sameViolation]bool, onlyNew bool) policies.Decision {
	if len(known) == 0 {
		return d
	}
	results := make([]policies.Result, 0, len(d.Results))
	for _, r := range d.Results {
		if r.Outcome == policies.Violated {
			r = withoutOld(&d, r, known, onlyNew)
		}
		results = append(results, r)
	}
	d.Results = results
	return d
}

func withoutOld(d *policies.Decision, r policies.Result, known map[sameViolation]bool, onlyNew bool) policies.Result {
	var kept []policies.Violation
	var exempted []*policies.Exemption
	for i, v := range r.Finding.Violations {
		v.Before = known[fingerprintOf(d, &r, &v)]
		if v.Before && onlyNew {
			continue
		}
		kept = append(kept, v)
		if r.Exempted != nil {
			exempted = append(exempted, r.Exempted[i])
		}
	}
	if len(kept) == 0 {
		return policies.Result{Policy: r.Policy, Outcome: policies.Skipped, Pod: r.Pod, Mode: r.Mode, Finding: policies.Finding{Skipped: "what is wrong was there before the change"}}
	}
	r.Finding.Violations, r.Exempted = kept, exempted
	return r
}

// startReports opens the outputs of a run over commits.
func (p *program) startReports(f checkFlags, l *loaded, outs []output) (*reports, report.Summary, error) {
	root := gitRoot(p.dir)
	options := report.Options{Version: buildVersion(), Verbose: p.verbose, FailOnWarn: f.failOn == "warn", ByControl: f.by == "control", Width: widthOf(p.stdout)}
	// What commits hold is named from the root of the repository.
	options.Root, options.Dir = filepath.ToSlash(root), filepath.ToSlash(root)
	opened, err := p.openReports(outs, options, p.colored(f.color, p.stdout))
	if err != nil {
		return nil, report.Summary{}, err
	}
	return opened, report.Summary{Digest: l.Digest, Policies: l.policies(), FailOnWarn: f.failOn == "warn"}, nil
}

// eachOf calls work for every number below n, on all processors, and returns early with the error of ctx.
func eachOf(ctx context.Context, n int, work func(i int)) error {
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wait.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				work(i)
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return exitWith(exitUnjudged, errInterrupted)
	}
	return nil
}
