package desired

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
)

// Index answers which accepted commits declare an object, and in which forms. Advance takes it on, one at a time; everything else
// reads one immutable snapshot without a lock, so that an answer never waits for rendering.
type Index struct {
	renderer *Renderer
	now      func() time.Time

	advancing sync.Mutex
	at        atomic.Pointer[snapshot]
}

// NewIndex makes an empty index: nothing is declared before the first Advance of each source.
func NewIndex(o Options) (*Index, error) {
	r, err := New(o)
	if err != nil {
		return nil, err
	}
	x := &Index{renderer: r, now: time.Now}
	x.at.Store(&snapshot{forms: newTable[*form](nil), tips: map[string]git.Hash{}, order: map[string]map[git.Hash]int{}, held: map[string]policies.Violation{}})
	return x, nil
}

// snapshot is the index at one moment.
type snapshot struct {
	state *State // at the tips; nil until every source has one
	tips  map[string]git.Hash
	steps []step // accepted commits in the order in which they were taken
	first int    // number of steps that were forgotten before steps[0]
	forms *table[*form]
	gone  []closed // forms that are no more declared, in the order in which they went
	order map[string]map[git.Hash]int
	held  map[string]policies.Violation // by source
}

// step is one accepted commit.
type step struct {
	source string
	commit policies.Commit
	when   time.Time // when it was taken
}

// Advance takes a source on to a new tip: every commit on its first-parent history up to there is accepted and rendered. Commits
// that are trusted are taken even when one after them is not. An *UntrustedError or *RewrittenError says that the source is held
// where it was, which Problems goes on telling; any other error that nothing could be told, and that it may be tried again.
func (x *Index) Advance(ctx context.Context, source string, tip git.Hash) error {
	x.advancing.Lock()
	defer x.advancing.Unlock()
	s := x.renderer.sources[source]
	if s == nil {
		return fmt.Errorf("source %s: not known", source)
	}
	next := x.at.Load().copy()
	commits, held := x.accepted(ctx, s, next.tips[source], tip)
	var err error
	if len(commits) > 0 {
		err = x.take(ctx, next, s, commits)
	}
	if err == nil && held != nil && !isHeld(held) {
		err = held // nothing was found out about the rest
	}
	if err != nil {
		return err
	}
	delete(next.held, source)
	if held != nil {
		next.held[source] = heldProblem(held)
	}
	x.at.Store(next)
	return held
}

// Mirror is a copy of a source's branch: see git.Mirror.
type Mirror interface {
	Fetch(ctx context.Context) (git.Tip, error)
}

// Follow fetches a source and advances to where its branch stands. When it cannot be fetched, or is held, what was accepted goes
// on serving, and Problems tells why.
func (x *Index) Follow(ctx context.Context, source string, m Mirror) error {
	tip, err := m.Fetch(ctx)
	switch {
	case err != nil:
		err = fmt.Errorf("source %s: %w", source, err)
		x.hold(source, policies.Violation{Rule: RuleUnavailable, Message: err.Error()})
		return err
	case tip.Rewritten:
		err := &RewrittenError{Source: source, Accepted: tip.Before, Tip: tip.Commit}
		if _, ok := x.Tip(source); !ok {
			// Of the accepted commit nothing is served yet: the process is new, and the branch was rewritten before.
			if err := x.Advance(ctx, source, tip.Before); err != nil {
				return err
			}
		}
		x.hold(source, heldProblem(err))
		return err
	}
	return x.Advance(ctx, source, tip.Commit)
}

// hold notes what keeps a source where it is.
func (x *Index) hold(source string, v policies.Violation) {
	x.advancing.Lock()
	defer x.advancing.Unlock()
	next := x.at.Load().copy()
	next.held[source] = v
	x.at.Store(next)
}

func (s *snapshot) copy() *snapshot {
	return &snapshot{
		state: s.state, tips: maps.Clone(s.tips), steps: slices.Clip(s.steps), first: s.first, forms: s.forms, gone: slices.Clip(s.gone),
		order: maps.Clone(s.order), held: maps.Clone(s.held),
	}
}

// take renders commits of a source one after the other and notes what each changed.
func (x *Index) take(ctx context.Context, next *snapshot, s *Source, commits []accepted) error {
	next.forms = next.forms.copy()
	order := maps.Clone(next.order[s.Name])
	if order == nil {
		order = map[git.Hash]int{}
	}
	next.order[s.Name] = order
	for _, c := range commits {
		next.tips[s.Name] = c.commit.Hash
		next.steps = append(next.steps, step{source: s.Name, commit: told(c), when: x.now()})
		number := next.first + len(next.steps) - 1
		order[c.commit.Hash] = number
		if len(next.tips) < len(x.renderer.o.Sources) {
			continue // the other sources have no commit yet, so nothing can be rendered
		}
		state, err := x.renderer.At(ctx, next.tips, next.state)
		if err != nil {
			return err
		}
		if err := x.settle(ctx, state, next.state); err != nil {
			return err
		}
		next.note(state, number)
		next.state = state
	}
	next.forget(x.renderer.o.History, x.now())
	if next.state != nil {
		for _, t := range next.state.trees {
			t.Forget()
		}
	}
	return nil
}

// settle finds out how the API server stores the objects of the units that changed, so that no look-up has to.
func (x *Index) settle(ctx context.Context, state, before *State) error {
	var fresh []owned
	redefined := before == nil || before.set != state.set
	for _, u := range state.units {
		if before != nil && !redefined {
			if old := before.byID[u.id()]; old != nil && old.result == u.result {
				continue
			}
		}
		for _, e := range u.result.all() {
			fresh = append(fresh, owned{u, e})
		}
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(fresh)) {
		wait.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(fresh) {
					return
				}
				state.settle(fresh[i].unit, fresh[i].entry, nil)
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Lookup returns the forms in which accepted commits declare an object, the current ones first, then the newest. It is nil for one
// that none declares.
func (x *Index) Lookup(key policies.Key) []*policies.Form {
	s := x.at.Load()
	forms := s.forms.get(key)
	if len(forms) == 0 {
		return nil
	}
	out := make([]*policies.Form, 0, len(forms))
	for i := len(forms) - 1; i >= 0; i-- {
		out = append(out, x.form(s, forms[i]))
	}
	slices.SortStableFunc(out, func(a, b *policies.Form) int {
		switch {
		case a.Current == b.Current:
			return 0
		case a.Current:
			return -1
		default:
			return 1
		}
	})
	return out
}

func (x *Index) form(s *snapshot, f *form) *policies.Form {
	var templates func(context.Context) policies.Source
	if u := s.state.byID[idOf(f.unit, f.source)]; u != nil && f.until < 0 {
		templates = s.state.template(u, f.entry)
	}
	object := x.renderer.object(f.entry, f.source, f.files, f.owner, f.stored.definition, templates, func(*policies.Object) *storedForm { return f.stored })
	out := &policies.Form{
		Object: object, Source: f.source, Unit: f.unit, Opaque: f.entry.opaque, Since: s.commit(f.since), Current: f.until < 0,
	}
	until := f.until
	if until < 0 {
		until = s.first + len(s.steps) - 1
	}
	out.Until = s.commit(until)
	return out
}

// commit is the accepted commit of a step; the oldest that is remembered for one that is forgotten.
func (s *snapshot) commit(number int) policies.Commit {
	return s.steps[max(number-s.first, 0)].commit
}

// Ready says whether every source has an accepted commit, so that what Lookup does not know is not declared.
func (x *Index) Ready() bool { return x.at.Load().state != nil }

// Tip is the newest accepted commit of a source; ok is false before the first.
func (x *Index) Tip(source string) (policies.Commit, bool) {
	s := x.at.Load()
	for i := len(s.steps) - 1; i >= 0; i-- {
		if s.steps[i].source == source {
			return s.steps[i].commit, true
		}
	}
	return policies.Commit{}, false
}

// Order is where an accepted commit stands among those of its source: a larger number is a newer commit. ok is false for one that
// is not accepted, or no more remembered. It tells whether a form is older than what was last applied to its unit.
func (x *Index) Order(source, commit string) (number int, ok bool) {
	number, ok = x.at.Load().order[source][git.Hash(commit)]
	return number, ok
}

// State is what the tips declare; nil before Ready.
func (x *Index) State() *State { return x.at.Load().state }

// Units lists the units that the tips declare.
func (x *Index) Units() []*Unit {
	if s := x.at.Load().state; s != nil {
		return s.units
	}
	return nil
}

// Former lists the units that declared what no tip declares any more, as they were, as far back as is remembered.
func (x *Index) Former() []policies.Unit {
	var out []policies.Unit
	seen := map[policies.Unit]bool{}
	for _, c := range x.at.Load().gone {
		if !seen[c.unit] {
			seen[c.unit], out = true, append(out, c.unit)
		}
	}
	return out
}

// Problems lists what is wrong: sources that are held, and what State.Problems tells of the tips.
func (x *Index) Problems() []policies.Violation {
	s := x.at.Load()
	var out []policies.Violation
	for _, source := range slices.Sorted(maps.Keys(s.held)) {
		out = append(out, s.held[source])
	}
	if s.state != nil {
		out = append(out, s.state.Problems()...)
	}
	return out
}
