package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies/bundle"
)

// otherSources says which of the sources in other repositories a command reads.
type otherSources struct {
	offline bool // none is asked: what an earlier run fetched is read
	// listed are the sources that may be asked for: a change that adds an address makes nobody fetch it before it is merged. nil
	// stands for all.
	listed []bundle.Source
}

// elsewhere is the copies of sources in other repositories.
type elsewhere struct {
	mirrors map[[2]string]*git.Mirror // by address and branch
	tips    map[string]git.Hash       // by source
	left    []string                  // why some of them are not read, or not as they are now
	scratch string                    // folder of the copies when none is kept; "" for none
}

func (e *elsewhere) close() {
	for _, m := range e.mirrors {
		m.Close()
	}
	if e.scratch != "" {
		os.RemoveAll(e.scratch)
	}
}

// fetch brings a source's branch and notes where it stands; nil for a source that is not to be read, of which left says why. The
// error says that it should be read and cannot.
func (e *elsewhere) fetch(ctx context.Context, s bundle.Source, others otherSources, cache string) (*git.Repo, error) {
	if others.listed != nil && !listed(others.listed, s) {
		e.left = append(e.left, fmt.Sprintf("source %s: is new, or has another address than before the change: it is not fetched before that is merged, and what refers to it is opaque", s.Name))
		return nil, nil
	}
	if s.Branch == "" {
		return nil, fmt.Errorf("source %s lies in another repository and names no branch", s.Name)
	}
	if e.mirrors == nil {
		e.mirrors, e.tips = map[[2]string]*git.Mirror{}, map[string]git.Hash{}
	}
	key := [2]string{s.URL, s.Branch}
	m := e.mirrors[key]
	fresh := m == nil
	if fresh {
		var err error
		if m, err = e.mirror(ctx, s, cache); err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
		e.mirrors[key] = m
	}
	if fresh && !others.offline {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		if _, err := m.Fetch(ctx); err != nil {
			return nil, fmt.Errorf("source %s lies in another repository: %w; --offline does without it", s.Name, err)
		}
	}
	// What the reconciler will apply is where the branch stands: whether that is trusted, `gitgate verify` and `serve` say.
	tip, err := m.Newest(ctx)
	switch {
	case errors.Is(err, git.ErrNotFound):
		e.left = append(e.left, fmt.Sprintf("source %s: lies in another repository and was never fetched: what refers to it is opaque", s.Name))
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	e.tips[s.Name] = tip
	return m.Repo, nil
}

func (e *elsewhere) mirror(ctx context.Context, s bundle.Source, cache string) (*git.Mirror, error) {
	if cache == "" {
		if e.scratch == "" {
			var err error
			if e.scratch, err = os.MkdirTemp("", "gitgate-"); err != nil {
				return nil, err
			}
		}
		cache = e.scratch
	}
	return git.OpenMirror(ctx, mirrorFolder(cache, s.URL, s.Branch), s.URL, s.Branch)
}

func listed(all []bundle.Source, s bundle.Source) bool {
	return slices.ContainsFunc(all, func(known bundle.Source) bool { return known.URL == s.URL && known.Branch == s.Branch })
}

// listedAt are the sources of gitgate.yaml at a commit; none when it has no such file.
func (p *program) listedAt(ctx context.Context, flags configFlags, h git.Hash) ([]bundle.Source, error) {
	none := []bundle.Source{}
	files, name, err := p.configOf(ctx, flags, h)
	var exit *exitError
	if errors.As(err, &exit) && exit.code == exitUsage {
		return none, nil // the change brings the file
	}
	if err != nil {
		return nil, err
	}
	c, err := configAt(ctx, files, name)
	if err != nil {
		return none, nil // the change mends the file
	}
	return append(none, c.Sources...), nil
}
