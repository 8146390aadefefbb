package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/policies"
)

// applied is what is known of how far reconcilers have come: by what they wrote, and by the status of their objects. The status is a hint:
// it can say that more was applied, never that less was.
type applied struct {
	index     *declared
	revisions *cluster.Revisions // nil without a cluster
	headway   *headway

	mu      sync.Mutex
	unknown map[policies.Unit]unknownCommits
}

// unknownCommits are those that a unit names and no source has, and when they were first seen.
type unknownCommits struct {
	commits string
	since   time.Time
}

// Last returns the newest commit of a source that is known to have been applied to a unit.
func (a *applied) Last(source string, unit policies.Unit) (string, bool) {
	var said []string
	if a.revisions != nil {
		said = a.revisions.Of(unit.Kind, unit.Namespace, unit.Name)
	}
	return a.headway.seen(appliedTo{source, unit.Kind, unit.Namespace, unit.Name}, said, func(commit string) (int, bool) { return a.index.Order(source, commit) })
}

// Wrote notes that the reconciler of a unit has come as far as a commit.
func (a *applied) Wrote(source string, unit policies.Unit, commit string) {
	a.headway.seen(appliedTo{source, unit.Kind, unit.Namespace, unit.Name}, []string{commit}, func(commit string) (int, bool) { return a.index.Order(source, commit) })
}

// Ahead says that the reconciler of a unit names commits that no source has, and that Git was not asked since it does. Whoever may write
// the status of its object can have Git asked, once for each word.
func (a *applied) Ahead(unit policies.Unit) bool {
	if a.revisions == nil {
		return false
	}
	var unknown []string
	for _, commit := range a.revisions.Of(unit.Kind, unit.Namespace, unit.Name) {
		if !a.index.knows(commit) {
			unknown = append(unknown, commit)
		}
	}
	commits, key := strings.Join(unknown, " "), policies.Unit{Kind: unit.Kind, Namespace: unit.Namespace, Name: unit.Name}
	a.mu.Lock()
	defer a.mu.Unlock()
	if commits == "" {
		delete(a.unknown, key)
		return false
	}
	seen := a.unknown[key]
	if seen.commits != commits {
		seen = unknownCommits{commits, time.Now()}
		a.unknown[key] = seen
	}
	return !a.index.askedSince(seen.since)
}

// headway remembers the newest commits that were seen applied. It outlives configurations, and, by a file below the state folder, the
// process: an older state that somebody wants back must not have to wait for a restart.
type headway struct {
	file    string
	log     *slog.Logger
	changed chan struct{} // something is to be written
	told    func()        // that something has changed, for who shares it; nil for nobody

	mu    sync.Mutex
	units map[appliedTo][]string // the newest commit, then those of which nobody knew yet where they stand
}

type appliedTo struct{ Source, Kind, Namespace, Name string }

// The bounds of what is remembered of one unit, and of the file.
const (
	maxStray       = 4
	maxHeadwayFile = 64 << 20
)

// headwayRetry is how long after a failure the file is written again.
const headwayRetry = 10 * time.Second

// headwayLine is a unit in the file.
type headwayLine struct {
	appliedTo
	Commits []string
}

// openHeadway reads what an earlier process has seen. A file that cannot be read is an error: without it an older state would be let in.
func openHeadway(state string, log *slog.Logger) (*headway, error) {
	p := &headway{file: filepath.Join(state, "applied.json"), log: log, changed: make(chan struct{}, 1), units: map[appliedTo][]string{}}
	f, err := os.Open(p.file)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("applied commits: %w", err)
	}
	defer f.Close()
	lines, err := readHeadway(io.LimitReader(f, maxHeadwayFile))
	if err != nil {
		return nil, fmt.Errorf("applied commits: %s cannot be read; without the file the gate begins anew, and knows no state that is too old: %w", p.file, err)
	}
	p.add(lines, func(string, string) (int, bool) { return 0, false })
	return p, nil
}

// readHeadway reads what headway.lines are as JSON, and nothing else.
func readHeadway(r io.Reader) ([]headwayLine, error) {
	var lines []headwayLine
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	err := d.Decode(&lines)
	if _, next := d.Token(); err == nil && (lines == nil || next != io.EOF) {
		err = errors.New("expected one list and nothing after it")
	}
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if len(l.Commits) > maxStray+1 || slices.ContainsFunc(l.Commits, func(c string) bool { return !isCommit(c) }) {
			return nil, fmt.Errorf("it has what is no commit for %s %s/%s", l.Kind, l.Namespace, l.Name)
		}
	}
	return lines, nil
}

// add puts what another has seen to what was seen here. order is that of seen, of each source.
func (p *headway) add(lines []headwayLine, order func(source, commit string) (int, bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range lines {
		here := p.units[l.appliedTo]
		// The newest of each come first, so that neither is lost among those that nobody knows.
		all := slices.Concat(here[:min(1, len(here))], l.Commits[:min(1, len(l.Commits))], here, l.Commits)
		p.settle(l.appliedTo, all, func(commit string) (int, bool) { return order(l.Source, commit) })
	}
}

// seen returns the newest of the commits that were seen for a unit, before and now. order says where a commit stands; ok is false for one
// that is not accepted, or not yet, or no more remembered.
func (p *headway) seen(to appliedTo, said []string, order func(string) (int, bool)) (newest string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What is remembered goes before what is said: whoever may write the status of a unit could push it out otherwise.
	return p.settle(to, slices.Concat(p.units[to], said), order)
}

// settle remembers of the commits of a unit the newest, and those of which nobody knows where they stand, the first before the last.
func (p *headway) settle(to appliedTo, all []string, order func(string) (int, bool)) (newest string, ok bool) {
	at, before := 0, p.units[to]
	var stray []string
	for _, c := range all {
		n, known := order(c)
		switch {
		case known && (!ok || n > at):
			newest, at, ok = c, n, true
		case !known && len(stray) <= maxStray && !slices.Contains(stray, c):
			stray = append(stray, c)
		}
	}
	after := stray
	if ok {
		after = append([]string{newest}, stray[:min(len(stray), maxStray)]...)
	}
	if !slices.Equal(before, after) {
		p.units[to] = after
		select {
		case p.changed <- struct{}{}:
		default:
		}
		if p.told != nil {
			p.told()
		}
	}
	return newest, ok
}

// keep writes the file whenever something has changed, until ctx ends.
func (p *headway) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-p.changed:
				if err := p.write(); err != nil {
					p.log.Error("what was applied could not be kept", "error", err.Error())
				}
			default:
			}
			return
		case <-p.changed:
		}
		if err := p.write(); err != nil {
			p.log.Error("what was applied could not be kept; it is tried again", "error", err.Error())
			select {
			case <-ctx.Done():
			case <-time.After(headwayRetry):
			}
			select {
			case p.changed <- struct{}{}:
			default:
			}
		}
	}
}

// write replaces the file.
func (p *headway) write() error {
	text, err := json.Marshal(p.lines())
	if err != nil {
		return fmt.Errorf("applied commits: %w", err)
	}
	return replaceFile(p.file, text)
}

// lines is all that was seen, in one order.
func (p *headway) lines() []headwayLine {
	p.mu.Lock()
	lines := make([]headwayLine, 0, len(p.units))
	for to, commits := range maps.All(p.units) {
		lines = append(lines, headwayLine{to, commits})
	}
	p.mu.Unlock()
	slices.SortFunc(lines, func(a, b headwayLine) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return lines
}

// replaceFile puts content in the place of a file of the state folder, or leaves the file as it was.
func replaceFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
