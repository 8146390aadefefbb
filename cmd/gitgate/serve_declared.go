package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

// declared is what accepted commits declare, kept fresh: the index of the sources, and the mirrors that it is made of. It is the
// Index of the trace.
type declared struct {
	*desired.Index
	identity string // of what it was made of: with another one, it has to be made anew
	sources  []followed
	state    string            // folder
	floors   map[string]string // commits from which the sources have to go on, by the names of their files, until they do
	config   *git.Mirror       // of the repository that holds gitgate.yaml; nil for a folder
	log      *slog.Logger
	metrics  *gateMetrics
	stage    func(name string, took time.Duration)

	wake chan struct{}
	done chan struct{} // closed when nobody asks Git any more

	mu      sync.Mutex
	pending *turn             // has not begun: who wants something newer waits for it
	held    map[string]string // source to why
	began   time.Time         // when the last turn did
	asked   time.Time         // when the last turn began in which Git could be asked

	listed atomic.Pointer[listing]
}

// followed is a source and the mirror that it is read from.
type followed struct {
	name, url, branch string
	mirror            *git.Mirror
}

// file is the name under which its accepted commit is kept.
func (s followed) file() string { return acceptedFile(s.name, s.url, s.branch) }

// turn is one look at Git.
type turn struct {
	done chan struct{}
	err  error
}

// turnInterval is the least time between two looks at Git: a reconciler that is refused again and again must not make more.
const turnInterval = 500 * time.Millisecond

// fetchTimeout bounds one look at one source.
const fetchTimeout = time.Minute

// run looks at Git whenever somebody wants something newer, one look at a time, until ctx ends.
func (d *declared) run(ctx context.Context) {
	defer close(d.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		if wait := time.Until(d.began.Add(turnInterval)); wait > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
		d.mu.Lock()
		t := d.pending
		began := time.Now()
		d.pending, d.began = nil, began
		d.mu.Unlock()
		if t == nil {
			continue
		}
		before := d.State()
		if t.err = d.follow(ctx); t.err == nil {
			d.mu.Lock()
			d.asked = began
			d.mu.Unlock()
		}
		close(t.done)
		if d.State() != before {
			release()
		}
	}
}

// Lookup is the index's, measured.
func (d *declared) Lookup(key policies.Key) []*policies.Form {
	began := time.Now()
	defer func() { d.stage("index", time.Since(began)) }()
	return d.Index.Lookup(key)
}

// next is the look that begins next. One that is under way may have asked before what is wanted was there.
func (d *declared) next() *turn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending == nil {
		d.pending = &turn{done: make(chan struct{})}
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	return d.pending
}

// refresh looks at Git and waits for the answer.
func (d *declared) refresh(ctx context.Context) error {
	t := d.next()
	select {
	case <-t.done:
		return t.err
	case <-d.done:
		return errors.New("it is shutting down")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Fresh looks whether Git has something newer.
func (d *declared) Fresh(ctx context.Context) (changed bool, err error) {
	before, began := d.tips(), time.Now()
	err = d.refresh(ctx)
	d.stage("freshness", time.Since(began))
	if !maps.Equal(before, d.tips()) {
		return true, nil
	}
	return false, err
}

func (d *declared) tips() map[string]string {
	out := map[string]string{}
	for _, s := range d.sources {
		if tip, ok := d.Tip(s.name); ok {
			out[s.name] = tip.Hash
		}
	}
	return out
}

// follow looks at every source and takes the index on.
func (d *declared) follow(ctx context.Context) error {
	fetched := d.fetch(ctx)
	var errs []error
	for _, s := range d.sources {
		if err := d.followOne(ctx, s, fetched[s.mirror]); err != nil {
			errs = append(errs, fmt.Errorf("source %s: %w", s.name, err))
		}
	}
	if len(errs) > 0 {
		d.metrics.fetchFailed()
		return errors.Join(errs...)
	}
	d.metrics.fetched()
	return nil
}

// fetched is what a remote answered.
type fetched struct {
	tip git.Tip
	err error
}

// fetch asks all remotes at once.
func (d *declared) fetch(ctx context.Context) map[*git.Mirror]*fetched {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	out := map[*git.Mirror]*fetched{}
	var wg sync.WaitGroup
	for _, s := range d.sources {
		if out[s.mirror] != nil {
			continue
		}
		f := &fetched{}
		out[s.mirror] = f
		wg.Go(func() { f.tip, f.err = s.mirror.Fetch(ctx) })
	}
	wg.Wait()
	return out
}

func (d *declared) followOne(ctx context.Context, s followed, f *fetched) error {
	tip, err := f.tip, f.err
	if err != nil {
		// What was accepted when Git could last be asked goes on serving, also after a restart.
		if _, known := d.Tip(s.name); !known {
			if accepted, _ := d.before(ctx, s); accepted != "" {
				return errors.Join(err, d.advance(ctx, s, accepted))
			}
		}
		return err
	}
	if floor := d.floors[s.file()]; floor != "" && !follows(ctx, s.mirror, floor, tip.Commit) {
		if _, known := d.Tip(s.name); !known {
			accepted, err := d.before(ctx, s)
			if err == nil && accepted != "" {
				err = d.advance(ctx, s, accepted)
			}
			if err != nil {
				return err
			}
		}
		d.hold(s.name, rewritten(tip.Commit, git.Hash(floor)).Error())
		return nil
	}
	delete(d.floors, s.file())
	if !tip.Rewritten {
		return d.advance(ctx, s, tip.Commit)
	}
	accepted, known := d.Tip(s.name)
	if !known {
		if err := d.advance(ctx, s, tip.Before); err != nil {
			return err
		}
		accepted, known = d.Tip(s.name)
	}
	// A commit that was fetched and never trusted may go from the branch again: what counts is whether the branch goes on from what is
	// accepted.
	if known {
		descends, err := s.mirror.IsAncestor(ctx, git.Hash(accepted.Hash), tip.Commit)
		if err != nil {
			return err
		}
		if descends {
			if err := s.mirror.Accept(ctx, tip.Commit); err != nil {
				return err
			}
			return d.advance(ctx, s, tip.Commit)
		}
		tip.Before = git.Hash(accepted.Hash)
	}
	d.hold(s.name, rewritten(tip.Commit, tip.Before).Error())
	return nil
}

// before is what was accepted here before this process began; "" for nothing. It is not what was fetched where that falls behind what others
// had accepted.
func (d *declared) before(ctx context.Context, s followed) (git.Hash, error) {
	accepted, err := s.mirror.Accepted(ctx)
	if floor := d.floors[s.file()]; err != nil || floor == "" || accepted == "" || follows(ctx, s.mirror, floor, accepted) {
		return accepted, err
	}
	return recalled(d.state, s.name, s.url, s.branch)
}

// advance takes the index on to a commit. That a source is held is no error: what it had goes on serving.
func (d *declared) advance(ctx context.Context, s followed, to git.Hash) error {
	before, _ := d.Tip(s.name)
	began := time.Now()
	err := d.Advance(ctx, s.name, to)
	var untrusted *desired.UntrustedError
	var rewritten *desired.RewrittenError
	if errors.As(err, &untrusted) || errors.As(err, &rewritten) {
		d.hold(s.name, err.Error())
		err = nil
	} else if err == nil {
		d.hold(s.name, "")
	}
	if err != nil {
		return err
	}
	after, ok := d.Tip(s.name)
	if !ok || after.Hash == before.Hash {
		return nil
	}
	d.metrics.advanced(after)
	said := []any{"source", s.name, "commit", after.Hash, "took", took(began)}
	if after.Signer != "" { // it was asked for once: not of a commit that was accepted before
		said = append(said, "signer", after.Signer)
	}
	d.log.Info("commit is accepted", said...)
	if s.mirror == d.config {
		if err := remember(d.state, followed{name: configSource, url: s.url, branch: s.branch}, after.Hash); err != nil {
			return err
		}
	}
	return remember(d.state, s, after.Hash)
}

// took is the time since, for a log: as JSON a duration is a number of nobody knows what.
func took(began time.Time) string { return time.Since(began).Round(time.Microsecond).String() }

func (d *declared) hold(source, why string) {
	d.mu.Lock()
	was := d.held[source]
	if why == "" {
		delete(d.held, source)
	} else {
		d.held[source] = why
	}
	d.mu.Unlock()
	d.metrics.hold(source, why != "")
	if why != "" && why != was {
		d.log.Error("source is held: its newer commits are not accepted", "source", source, "reason", why)
	}
}

// Held lists the sources of which newer commits are not accepted.
func (d *declared) Held() []trace.Held {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []trace.Held
	for _, source := range slices.Sorted(maps.Keys(d.held)) {
		out = append(out, trace.Held{Source: source, Reason: d.held[source]})
	}
	return out
}

// Older says that a commit of a source is an ancestor of another one.
func (d *declared) Older(source, commit, than string) bool {
	a, known := d.Order(source, commit)
	b, other := d.Order(source, than)
	return known && other && a < b
}

// knows says that a commit is one of a source's that are accepted.
func (d *declared) knows(commit string) bool {
	for _, s := range d.sources {
		if _, ok := d.Order(s.name, commit); ok {
			return true
		}
	}
	return false
}

// askedSince says that Git was asked, and answered, after a time.
func (d *declared) askedSince(t time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked.After(t)
}

// listing is what a state declares, for look-ups that its own index does not have.
type listing struct {
	state *desired.State
	in    map[place][]policies.Key
	units map[[3]string]policies.Unit
	takes map[string][]policies.Unit // by service account
	dark  []trace.Opaque

	objects int
}

type place struct {
	kind      policies.GroupKind
	namespace string
}

// list is the listing of the newest state, made once for each.
func (d *declared) list() *listing {
	state := d.State()
	if l := d.listed.Load(); l != nil && l.state == state {
		return l
	}
	l := &listing{state: state, in: map[place][]policies.Key{}, units: map[[3]string]policies.Unit{}, takes: map[string][]policies.Unit{}}
	if state != nil {
		for key := range state.Keys() {
			l.objects++
			at := place{key.GroupKind, key.Namespace}
			l.in[at] = append(l.in[at], key)
		}
		for _, u := range state.Units() {
			l.units[[3]string{u.Kind, u.Namespace, u.Name}] = u.Unit
			if u.Elsewhere == "" {
				l.takes[u.ServiceAccount] = append(l.takes[u.ServiceAccount], u.Unit)
			}
			for _, o := range u.Opaque {
				l.dark = append(l.dark, trace.Opaque{Source: u.Source, Unit: u.Unit, What: o.What, Reason: o.Reason})
			}
		}
		for _, u := range d.Former() {
			l.takes[u.ServiceAccount] = append(l.takes[u.ServiceAccount], u)
		}
	}
	d.listed.Store(l)
	return l
}

// In returns the forms in which the tip declares the objects of a kind in a namespace.
func (d *declared) In(kind policies.GroupKind, namespace string) []*policies.Form {
	var out []*policies.Form
	for _, key := range d.list().in[place{kind, namespace}] {
		for _, f := range d.Lookup(key) {
			if f.Current {
				out = append(out, f)
			}
		}
	}
	return out
}

// Unit returns a unit as the tip declares it.
func (d *declared) Unit(kind, namespace, name string) (policies.Unit, bool) {
	u, ok := d.list().units[[3]string{kind, namespace, name}]
	return u, ok
}

// Taking lists the units whose objects a service account writes, or wrote.
func (d *declared) Taking(account string) []policies.Unit { return d.list().takes[account] }

// Opaque lists what is declared and cannot be rendered here.
func (d *declared) Opaque() []trace.Opaque { return d.list().dark }

// accepted is the newest accepted commit of each source, by the name of the file that has it below the state folder.
func (d *declared) accepted() map[string]string {
	out := map[string]string{}
	for _, s := range d.sources {
		tip, ok := d.Tip(s.name)
		if !ok {
			continue
		}
		out[s.file()] = tip.Hash
		if s.mirror == d.config {
			out[acceptedFile(configSource, s.url, s.branch)] = tip.Hash
		}
	}
	return out
}

// newer says that a commit comes after another one of the source with that file, or is none that is known here. The index remembers neither all
// commits nor those that came by a merge: of these the history says it.
func (d *declared) newer(ctx context.Context, file, commit, than string) bool {
	for _, s := range d.sources {
		if file == s.file() || s.mirror == d.config && file == acceptedFile(configSource, s.url, s.branch) {
			if at, known := d.Order(s.name, commit); known {
				other, _ := d.Order(s.name, than)
				return at > other
			}
			return !follows(ctx, s.mirror, commit, git.Hash(than))
		}
	}
	return true
}

// anchorFile is where the newest accepted commit of a source is kept: signatures are asked of the commits after it.
func anchorFile(state, name, url, branch string) string {
	return filepath.Join(state, "accepted", acceptedFile(name, url, branch))
}

// acceptedFile is the name of that file.
func acceptedFile(name, url, branch string) string {
	sum := sha256.Sum256([]byte(name + "\x00" + url + "\x00" + branch))
	return fmt.Sprintf("%x", sum[:12])
}

func remember(state string, s followed, commit string) error {
	file := anchorFile(state, s.name, s.url, s.branch)
	if err := replaceFile(file, []byte(commit+"\n")); err != nil {
		return fmt.Errorf("accepted commit: %w", err)
	}
	return nil
}

// recalled is what remember kept; "" for nothing.
func recalled(state, name, url, branch string) (git.Hash, error) {
	text, err := os.ReadFile(anchorFile(state, name, url, branch))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("accepted commit: %w", err)
	}
	return git.Hash(strings.TrimSpace(string(text))), nil
}
