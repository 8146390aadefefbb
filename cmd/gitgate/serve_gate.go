package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"
	"time"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/webhook"
)

// gate is a running gitgate serve: the bundle that judges, and what keeps it fresh.
type gate struct {
	*program
	flags   *serveFlags
	log     *slog.Logger
	metrics *gateMetrics
	door    door
	origin  origin

	current atomic.Pointer[webhook.State]
	bundle  atomic.Pointer[loaded]
	version string // of what the last attempt to load read, good or bad
}

// origin is where the configuration lies.
type origin interface {
	// refresh looks for something newer. With an error what is known goes on.
	refresh(ctx context.Context) error
	// open returns the newest version: a name that differs when the content does, the files, and gitgate.yaml among them.
	open(ctx context.Context) (snapshot, error)
	close()
}

// snapshot is one version of the configuration.
type snapshot struct {
	version string // a commit, or a fingerprint of a folder
	commit  string // "" for a folder
	fsys    fs.FS
	file    string
	close   func()
}

// open loads the bundle for the first time. A configuration that is wrong is an error then: there is none of before.
func (g *gate) open(ctx context.Context) error {
	if g.flags.repository != "" {
		o, err := openRepository(ctx, g.flags)
		if err != nil {
			return exitWith(exitUsage, err)
		}
		g.origin = o
	} else {
		file, err := g.findConfig(g.flags.file, nil)
		if err != nil {
			return err
		}
		if file == "" {
			return usage("serve: no %s from here up to the Git root: name one with --config, or a repository with --repository", bundle.FileName)
		}
		g.origin = &folder{file: file}
	}
	if err := g.origin.refresh(ctx); err != nil {
		g.log.Warn("git cannot be asked; what was known before goes on", "error", err.Error())
		g.metrics.fetchFailed()
	} else {
		g.metrics.fetched()
	}
	changed, err := g.load(ctx)
	if err != nil {
		g.origin.close()
		if g.current.Load() == nil && isOutage(err) {
			return exitWith(exitUnjudged, err)
		}
		g.printError(err, "")
		return exitWith(exitUsage, nil)
	}
	if !changed {
		g.origin.close()
		return exitWith(exitUnjudged, errNotLoaded)
	}
	return nil
}

func (g *gate) close() { g.origin.close() }

// outageError is an error of the outside and not of the configuration: it may go away by itself.
type outageError struct{ error }

func (e *outageError) Unwrap() error { return e.error }

func isOutage(err error) bool {
	var outage *outageError
	return errors.As(err, &outage)
}

// load compiles the newest version of the configuration and puts it in force. A version that does not compile is tried once.
func (g *gate) load(ctx context.Context) (changed bool, err error) {
	s, err := g.origin.open(ctx)
	if err != nil {
		return false, err
	}
	defer s.close()
	if s.version == g.version {
		return false, nil
	}
	began := time.Now()
	l := &loaded{}
	options := bundle.Options{FS: s.fsys, File: s.file, Kubernetes: g.flags.kubernetes, Build: buildVersion()}
	options.Kinds = func(c *bundle.Config, host bundle.Host) (_ []bundle.Kind, err error) {
		if l.rules, err = apiserver.New(c.Kubernetes); err != nil {
			return nil, err
		}
		c.Kubernetes = l.rules.Version()
		return kinds(c, host, l.rules, g.door)
	}
	if l.Bundle, err = bundle.Load(ctx, options); err != nil {
		if ctx.Err() == nil {
			g.version = s.version
			g.metrics.reloadFailed()
		}
		return false, err
	}
	g.version = s.version
	for _, w := range l.Warnings {
		g.log.Warn("configuration", "warning", w.String())
	}
	g.bundle.Store(l)
	g.current.Store(&webhook.State{Engine: l.Engine, Digest: l.Digest, Commit: s.commit})
	g.metrics.loaded(l.Digest, s.commit)
	g.log.Info("policies are in force", "digest", l.Digest, "commit", s.commit, "policies", len(l.Engine.Policies()), "took", time.Since(began))
	return true, nil
}

// follow looks for a newer configuration again and again, and at once when asked to.
func (g *gate) follow(ctx context.Context, now <-chan os.Signal) {
	for {
		// Replicas that were started together do not ask Git together.
		wait := g.flags.interval + rand.N(g.flags.interval/5+1)
		select {
		case <-ctx.Done():
			return
		case <-now:
		case <-time.After(wait):
		}
		g.look(ctx)
	}
}

// look is one turn of follow.
func (g *gate) look(ctx context.Context) {
	if err := g.origin.refresh(ctx); err != nil {
		if ctx.Err() == nil {
			g.metrics.fetchFailed()
			g.log.Warn("git cannot be asked; what was known before goes on", "error", err.Error())
		}
	} else {
		g.metrics.fetched()
	}
	if _, err := g.load(ctx); err != nil && ctx.Err() == nil {
		g.log.Error("configuration is wrong; the policies of before stay in force", "error", err.Error())
	}
}

// ready says why requests cannot be judged.
func (g *gate) ready() error {
	if g.current.Load() == nil {
		return errNotLoaded
	}
	return nil
}

// folder is a configuration on the local disk.
type folder struct{ file string }

func (f *folder) refresh(context.Context) error { return nil }
func (f *folder) close()                        {}

func (f *folder) open(context.Context) (snapshot, error) {
	dir := filepath.Dir(f.file)
	version, err := fingerprint(dir)
	if err != nil {
		return snapshot{}, &outageError{err}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return snapshot{}, &outageError{fmt.Errorf("folder of %s: %w", f.file, err)}
	}
	return snapshot{version: version, fsys: root.FS(), file: filepath.Base(f.file), close: func() { root.Close() }}, nil
}

// fingerprint changes when a file of a folder does, as names, sizes and times tell. Folders of Git itself are left out.
func fingerprint(dir string) (string, error) {
	h := newFingerprint()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path.Base(filepath.ToSlash(name)) == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}
