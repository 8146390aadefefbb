package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/cluster"
)

// shared is what replicas, and those that come after them, know of each other: a Secret with the newest accepted commit of each source and
// the newest that was seen applied to each unit. It only ever refuses more: no commit is trusted because the Secret names it. Who empties it
// makes no replica forget that runs, and one that runs fills it again.
type shared struct {
	cluster         *cluster.Cluster
	namespace, name string
	headway         *headway
	floors          map[string]string        // the accepted commits that it had
	accepted        func() map[string]string // by the names of their files in the state folder; nil for a gate that follows nothing yet
	order           func(source, commit string) (int, bool)
	newer           func(ctx context.Context, file, commit, than string) bool // that a commit comes after another one, or is not known here
	log             *slog.Logger
	dirty           chan struct{}
}

// The keys of the Secret.
const (
	keyAccepted = "accepted"   // JSON: file in the folder of accepted commits to commit
	keyApplied  = "applied.gz" // what the file of applied commits has, compressed
)

// The times of sharing: after a change, without one, and what one turn may take.
const (
	shareSoon    = 10 * time.Second
	shareAlways  = time.Minute
	shareTimeout = 10 * time.Second
)

// The bounds of what is shared: a Secret takes 1 MiB.
const (
	maxShared         = 1000 << 10
	maxSharedAccepted = 2000
)

// acceptedName is the name of a file in the folder of accepted commits.
var acceptedName = regexp.MustCompile(`^[0-9a-f]{24}$`)

// shares makes the gate share what it knows, and learn what others knew: before it judges anything.
func (g *gate) shares(ctx context.Context) (*shared, error) {
	if g.flags.stateSecret == "" {
		return nil, nil
	}
	if g.cluster == nil {
		return nil, usage("--state-secret: needs a cluster: run in one, or give --kubeconfig")
	}
	s := &shared{cluster: g.cluster, headway: g.headway, log: g.log, dirty: make(chan struct{}, 1)}
	s.namespace, s.name, _ = strings.Cut(g.flags.stateSecret, "/")
	s.accepted = func() map[string]string {
		if d := g.declared.Load(); d != nil {
			return d.accepted()
		}
		return nil
	}
	s.order = func(source, commit string) (int, bool) {
		if d := g.declared.Load(); d != nil {
			return d.Order(source, commit)
		}
		return 0, false
	}
	s.newer = func(ctx context.Context, file, commit, than string) bool {
		d := g.declared.Load()
		return d == nil || d.newer(ctx, file, commit, than)
	}
	g.headway.mu.Lock()
	g.headway.told = s.change
	g.headway.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	if err := s.learn(ctx); err != nil {
		return nil, exitWith(exitUnjudged, fmt.Errorf("--state-secret: %w", err))
	}
	g.floors = s.floors
	return s, nil
}

func (s *shared) change() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// learn takes what the Secret has. One that cannot be read is an error: without it an older state would be let in.
func (s *shared) learn(ctx context.Context) error {
	secret, err := s.cluster.ReadSecret(ctx, s.namespace, s.name)
	if err != nil {
		return err
	}
	accepted, applied, err := decodeShared(secret.Data)
	if err != nil {
		return fmt.Errorf("secret %s/%s: %w; who deletes its data lets the gate begin anew, and no state is too old then", s.namespace, s.name, err)
	}
	s.headway.add(applied, s.order)
	s.floors = accepted
	return nil
}

// keep shares what changes until ctx ends.
func (s *shared) keep(ctx context.Context) {
	always := time.NewTicker(shareAlways)
	defer always.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-always.C:
		case <-s.dirty:
			select {
			case <-ctx.Done():
				done = true
			case <-time.After(shareSoon):
			}
		}
		turn, cancel := context.WithTimeout(context.WithoutCancel(ctx), shareTimeout)
		if err := s.turn(turn); err != nil {
			s.log.Error("what is accepted and applied could not be shared; it is tried again", "error", err.Error())
		}
		cancel()
	}
}

// turn takes what the Secret has, and adds to it what it lacks.
func (s *shared) turn(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		secret, err := s.cluster.ReadSecret(ctx, s.namespace, s.name)
		if err != nil {
			return err
		}
		accepted, applied, err := decodeShared(secret.Data)
		if err != nil {
			// Who runs knows more than what is damaged.
			s.log.Error("what others accepted and applied cannot be read; it is replaced", "error", err.Error())
			accepted, applied = nil, nil
		}
		s.headway.add(applied, s.order)
		next, lacks := maps.Clone(accepted), false
		if next == nil {
			next = map[string]string{}
		}
		for file, commit := range s.accepted() {
			if had := next[file]; had == "" && len(next) < maxSharedAccepted || had != "" && had != commit && !s.newer(ctx, file, had, commit) {
				next[file], lacks = commit, true
			}
		}
		lines := s.headway.lines()
		if !lacks && !beyond(lines, applied) {
			return nil
		}
		data, err := encodeShared(next, lines)
		if err != nil {
			return err
		}
		err = s.cluster.WriteSecret(ctx, s.namespace, s.name, secret, data)
		if err == nil || attempt == secretAttempts || !errors.Is(err, cluster.ErrConflict) {
			return err
		}
	}
}

// beyond says whether lines have a commit that others lack.
func beyond(lines, others []headwayLine) bool {
	known := make(map[appliedTo][]string, len(others))
	for _, l := range others {
		known[l.appliedTo] = l.Commits
	}
	return slices.ContainsFunc(lines, func(l headwayLine) bool {
		return slices.ContainsFunc(l.Commits, func(c string) bool { return !slices.Contains(known[l.appliedTo], c) })
	})
}

func decodeShared(data map[string][]byte) (accepted map[string]string, applied []headwayLine, err error) {
	if text := data[keyAccepted]; len(text) > 0 {
		if err := json.Unmarshal(text, &accepted); err != nil {
			return nil, nil, fmt.Errorf("key %s: %w", keyAccepted, err)
		}
		for file, commit := range accepted {
			if !acceptedName.MatchString(file) || !isCommit(commit) {
				return nil, nil, fmt.Errorf("key %s: has what is no commit", keyAccepted)
			}
		}
	}
	if text := data[keyApplied]; len(text) > 0 {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return nil, nil, fmt.Errorf("key %s: %w", keyApplied, err)
		}
		if applied, err = readHeadway(io.LimitReader(z, maxHeadwayFile)); err != nil {
			return nil, nil, fmt.Errorf("key %s: %w", keyApplied, err)
		}
	}
	return accepted, applied, nil
}

func encodeShared(accepted map[string]string, lines []headwayLine) (map[string][]byte, error) {
	text, err := json.Marshal(accepted)
	if err != nil {
		return nil, fmt.Errorf("accepted commits: %w", err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(z).Encode(lines), z.Close()); err != nil {
		return nil, fmt.Errorf("applied commits: %w", err)
	}
	if n := len(text) + packed.Len(); n > maxShared {
		return nil, fmt.Errorf("accepted and applied commits take %d bytes, and a Secret takes %d: give each replica a volume for --state", n, maxShared)
	}
	return map[string][]byte{keyAccepted: text, keyApplied: packed.Bytes()}, nil
}
