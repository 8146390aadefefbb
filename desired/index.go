package desired

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/trust"
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
	x.at.Store(&snapshot{tips: map[string]git.Hash{}, order: map[string]map[git.Hash]int{}, held: map[string]policies.Violation{}})
	return x, nil
}

// snapshot is the index at one moment.
type snapshot struct {
	state *State // at the tips; nil until every source has one
	tips  map[string]git.Hash
	steps []step // accepted commits in the order in which they were taken
	first int    // number of steps that were forgotten before steps[0]
	forms map[policies.Key][]*form
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

// form is one form of an object in one unit, for some steps. It holds on to no state, so that history is small.
type form struct {
	entry  *entry
	stored *storedForm
	unit   policies.Unit
	source string
	files  map[string]git.Hash // what the unit read, for places; nil when it is no more declared
	owner  *owner              // what declares the unit, for places; nil when it is no more declared
	since  int
	until  int // -1 while it is declared
}

func (f *form) of(id unitID) bool { return f.until < 0 && idOf(f.unit, f.source) == id }

type closed struct {
	key  policies.Key
	step int
}

// UntrustedError is the error of commits that the rules of a source do not trust.
type UntrustedError struct {
	Source   string
	Evidence []trust.Evidence // of the commits that are not trusted, newest first
}

func (e *UntrustedError) Error() string {
	first := e.Evidence[len(e.Evidence)-1]
	more := ""
	if n := len(e.Evidence) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more after it", n)
	}
	return fmt.Sprintf("source %s: commit %s is not trusted: %s%s", e.Source, first.Commit.Hash.Short(), first.Reason, more)
}

// RewrittenError is the error of a branch whose new tip does not descend from the accepted one.
type RewrittenError struct {
	Source        string
	Accepted, Tip git.Hash
}

func (e *RewrittenError) Error() string {
	return fmt.Sprintf("source %s: the branch was rewritten: %s does not descend from the accepted commit %s, which goes on serving", e.Source, e.Tip.Short(), e.Accepted.Short())
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

func isHeld(err error) bool {
	var untrusted *UntrustedError
	var rewritten *RewrittenError
	return errors.As(err, &untrusted) || errors.As(err, &rewritten)
}

func heldProblem(err error) policies.Violation {
	v := policies.Violation{Rule: RuleUntrusted, Message: err.Error(), Fix: "sign what is meant to be there by a new commit on top of a trusted one, or let a person accept the commit"}
	var rewritten *RewrittenError
	if errors.As(err, &rewritten) {
		v.Rule, v.Fix = RuleRewritten, "let a person look at the rewrite and accept it"
	}
	return v
}

// accepted lists the commits from an accepted tip to a new one that may be accepted, oldest first, and why not all of them.
func (x *Index) accepted(ctx context.Context, s *Source, from, tip git.Hash) ([]accepted, error) {
	if from == tip {
		return nil, nil
	}
	if from != "" {
		descends, err := follows(ctx, s.Repo, from, tip)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
		if !descends {
			return nil, &RewrittenError{Source: s.Name, Accepted: from, Tip: tip}
		}
	}
	signers, trusted, held, err := x.trusted(ctx, s, from, tip)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	if trusted == from {
		return nil, held
	}
	limit := 0
	if from == "" {
		limit = x.renderer.o.History.Commits
	}
	commits, err := s.Repo.FirstParents(ctx, trusted, from, limit)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	slices.Reverse(commits)
	if from == "" && x.renderer.o.History.Age > 0 {
		// The newest commit that is too old was still the tip later on.
		oldest := x.now().Add(-x.renderer.o.History.Age)
		for len(commits) > 1 && commits[1].Committer.When.Before(oldest) {
			commits = commits[1:]
		}
	}
	out := make([]accepted, 0, len(commits))
	for _, c := range commits {
		out = append(out, accepted{commit: c, signer: signers[c.Hash]})
	}
	return out, held
}

// follows says whether tip descends from another commit. The common case, one commit on top, needs no process.
func follows(ctx context.Context, repo *git.Repo, from, tip git.Hash) (bool, error) {
	raw, err := repo.RawCommit(ctx, tip)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(raw)) {
		if line == "parent "+string(from)+"\n" {
			return true, nil
		}
		if line == "\n" {
			break
		}
	}
	return repo.IsAncestor(ctx, from, tip)
}

// accepted is a commit that may be taken.
type accepted struct {
	commit git.Commit
	signer string
}

// trusted finds the newest commit on the way to tip that is trusted, and with it every commit since the last trusted one; "" when
// there is none. held says why it is not tip.
func (x *Index) trusted(ctx context.Context, s *Source, from, tip git.Hash) (signers map[git.Hash]string, newest git.Hash, held, err error) {
	if s.Trust == nil {
		return nil, tip, nil, nil
	}
	since := from
	if since == "" && s.Anchor != "" {
		descends, err := s.Repo.IsAncestor(ctx, s.Anchor, tip)
		if err != nil {
			return nil, "", nil, fmt.Errorf("anchor %s: %w", s.Anchor.Short(), err)
		}
		if !descends {
			return nil, "", &RewrittenError{Source: s.Name, Accepted: s.Anchor, Tip: tip}, nil
		}
		since = s.Anchor
	}
	evidence, err := s.Trust.Range(ctx, s.Repo, tip, since)
	if err != nil {
		return nil, "", nil, fmt.Errorf("signatures: %w", err)
	}
	signers = make(map[git.Hash]string, len(evidence))
	var bad []trust.Evidence
	for _, e := range evidence {
		signers[e.Commit.Hash] = e.Signer
		if e.State != trust.Trusted {
			bad = append(bad, e)
		}
	}
	if len(bad) == 0 {
		return signers, tip, nil, nil
	}
	held = &UntrustedError{Source: s.Name, Evidence: bad}
	if since == "" {
		return nil, "", held, nil // nobody vouched for any of them
	}
	commits, err := s.Repo.FirstParents(ctx, tip, since, 0)
	if err != nil {
		return nil, "", nil, err
	}
	newest = since
	for _, c := range slices.Backward(commits) {
		step, err := s.Trust.Range(ctx, s.Repo, c.Hash, newest)
		if err != nil {
			return nil, "", nil, fmt.Errorf("signatures: %w", err)
		}
		if slices.ContainsFunc(step, func(e trust.Evidence) bool { return e.State != trust.Trusted }) {
			break
		}
		newest = c.Hash
	}
	return signers, newest, held, nil
}

func (s *snapshot) copy() *snapshot {
	return &snapshot{
		state: s.state, tips: maps.Clone(s.tips), steps: slices.Clip(s.steps), first: s.first, forms: s.forms, gone: slices.Clip(s.gone),
		order: maps.Clone(s.order), held: maps.Clone(s.held),
	}
}

// take renders commits of a source one after the other and notes what each changed.
func (x *Index) take(ctx context.Context, next *snapshot, s *Source, commits []accepted) error {
	next.forms = maps.Clone(next.forms)
	if next.forms == nil {
		next.forms = map[policies.Key][]*form{}
	}
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

func told(a accepted) policies.Commit {
	c := a.commit
	subject := c.Subject
	if len(subject) > maxSubject {
		subject = subject[:maxSubject]
	}
	return policies.Commit{Hash: string(c.Hash), Author: c.Author.String(), Time: c.Committer.When, Subject: subject, Signer: a.signer}
}

// maxSubject bounds the bytes of a commit's subject that are kept.
const maxSubject = 200

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
		for _, e := range u.result.entries {
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

// note compares a state with the one before, and begins and ends forms.
func (s *snapshot) note(state *State, number int) {
	before := s.state
	for _, u := range state.units {
		var old *Unit
		if before != nil {
			old = before.byID[u.id()]
		}
		if old != nil && old.result == u.result && old.Unit == u.Unit && old.Elsewhere == u.Elsewhere && before.set == state.set {
			continue
		}
		s.noteUnit(state, before, old, u, number)
	}
	if before == nil {
		return
	}
	for _, old := range before.units {
		if state.byID[old.id()] == nil {
			for _, e := range old.result.entries {
				s.endAll(before, e, old.id(), number, nil)
			}
		}
	}
}

// endAll ends the forms of an entry that a unit no more declares.
func (s *snapshot) endAll(before *State, e *entry, id unitID, number int, declared map[policies.Key]*entry) {
	key, other := before.keys(e)
	if declared[key] == nil {
		s.end(key, id, number)
	}
	if other != key && declared[other] == nil {
		s.end(other, id, number)
	}
}

func (s *snapshot) noteUnit(state, before *State, old, u *Unit, number int) {
	declared := make(map[policies.Key]*entry, len(u.result.entries))
	if u.Elsewhere == "" {
		for _, e := range u.result.entries {
			key, other := state.keys(e)
			declared[key], declared[other] = e, e
		}
	}
	if old != nil {
		for _, e := range old.result.entries {
			s.endAll(before, e, old.id(), number, declared)
		}
	}
	id := u.id()
	for key, e := range declared {
		now := &form{entry: e, stored: e.stored.Load(), unit: u.Unit, source: u.Source, files: u.result.layers, owner: u.result.owner, since: number, until: -1}
		if i := slices.IndexFunc(s.forms[key], func(f *form) bool { return f.of(id) }); i >= 0 {
			if f := s.forms[key][i]; f.same(now) {
				now.since = f.since
				s.forms[key] = slices.Clone(s.forms[key])
				s.forms[key][i] = now
				continue
			}
			s.end(key, id, number)
		}
		s.forms[key] = append(slices.Clip(s.forms[key]), now)
	}
}

// same says whether two forms of one key are one: what is sent, by whom, and what becomes of it.
func (f *form) same(o *form) bool {
	if f.unit != o.unit || f.source != o.source {
		return false
	}
	if f.entry == o.entry && f.stored == o.stored {
		return true
	}
	a, b := f.entry, o.entry
	return string(a.content) == string(b.content) && a.hook == b.hook && slices.EqualFunc(a.opaque, b.opaque, func(p, q policies.Path) bool { return p.String() == q.String() }) &&
		string(f.stored.content) == string(o.stored.content) && (f.stored.err == nil) == (o.stored.err == nil)
}

func (s *snapshot) end(key policies.Key, id unitID, number int) {
	forms := s.forms[key]
	i := slices.IndexFunc(forms, func(f *form) bool { return f.of(id) })
	if i < 0 {
		return
	}
	forms = slices.Clone(forms)
	ended := *forms[i]
	ended.until, ended.files, ended.owner = number-1, nil, nil
	forms[i] = &ended
	s.forms[key] = forms
	s.gone = append(s.gone, closed{key: key, step: ended.until})
}

// forget drops the commits that are beyond the bounds of history, and the forms that only they had.
func (s *snapshot) forget(h History, now time.Time) {
	perSource := map[string]int{}
	for _, st := range s.steps {
		perSource[st.source]++
	}
	drop := 0
	for drop < len(s.steps)-1 {
		st := s.steps[drop]
		tooMany := perSource[st.source] > h.Commits
		tooOld := h.Age > 0 && perSource[st.source] > 1 && s.steps[drop+1].commit.Time.Before(now.Add(-h.Age))
		if !tooMany && !tooOld {
			break
		}
		perSource[st.source]--
		drop++
	}
	if drop == 0 {
		return
	}
	for _, st := range s.steps[:drop] {
		delete(s.order[st.source], git.Hash(st.commit.Hash))
	}
	s.steps, s.first = slices.Clone(s.steps[drop:]), s.first+drop
	n := 0
	for ; n < len(s.gone) && s.gone[n].step < s.first; n++ {
		key := s.gone[n].key
		left := slices.DeleteFunc(slices.Clone(s.forms[key]), func(f *form) bool { return f.until >= 0 && f.until < s.first })
		if len(left) == 0 {
			delete(s.forms, key)
		} else {
			s.forms[key] = left
		}
	}
	s.gone = slices.Clone(s.gone[n:])
}

// Lookup returns the forms in which accepted commits declare an object, the current ones first, then the newest. It is nil for one
// that none declares.
func (x *Index) Lookup(key policies.Key) []*policies.Form {
	s := x.at.Load()
	forms := s.forms[key]
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
