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
	"slices"
	"sync/atomic"
	"time"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/policies/library"
	"gitgate.dev/gitgate/policies/opa"
	"gitgate.dev/gitgate/webhook"
)

// gate is a running gitgate serve: the bundle that judges, and what keeps it fresh.
type gate struct {
	*program
	flags    *serveFlags
	log      *slog.Logger
	metrics  *gateMetrics
	requests *webhook.Metrics
	door     door
	origin   origin

	self       string           // user name of the gate in the cluster, when it keeps anything there
	cluster    *cluster.Cluster // nil without one; so are those below
	namespaces *cluster.Watch
	crds       *crdWatch
	revisions  *cluster.Revisions
	grants     *grantWatch
	headway    *headway
	floors     map[string]string // commits that others accepted before this process began, by the names of their files: see shared

	current  atomic.Pointer[webhook.State]
	declared atomic.Pointer[declared] // nil when the configuration asks for no trace
	tracing  context.CancelFunc       // ends what keeps declared fresh
	mirrors  map[[2]string]*git.Mirror
	version  string // of what the last attempt to load read, good or bad
}

func newGate(p *program, f *serveFlags, log *slog.Logger) *gate {
	return &gate{program: p, flags: f, log: log, door: door{answered: true}, mirrors: map[[2]string]*git.Mirror{}, tracing: func() {}}
}

// origin is where the configuration lies.
type origin interface {
	// refresh looks for something newer. With an error what is known goes on.
	refresh(ctx context.Context) error
	// open returns the newest version: a name that differs when the content does, the files, and gitgate.yaml among them.
	open(ctx context.Context) (snapshot, error)
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
		o, err := g.openRepository(ctx)
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
		g.origin = &folder{gate: g, file: file}
	}
	if err := g.origin.refresh(ctx); err != nil {
		g.log.Warn("git cannot be asked; what was known before goes on", "error", err.Error())
	}
	// An outage may go away by itself: until then the gate answers that it is not ready, and refuses.
	err := g.loadAll(ctx)
	switch {
	case err == nil:
	case isOutage(err):
		g.log.Error("policies cannot be loaded; it is tried again", "error", err.Error())
	case !g.loadEarlier(ctx):
		g.printError(err, "")
		return exitWith(exitUsage, nil)
	default:
		g.log.Error("the newest configuration is wrong; an earlier one is in force", "error", err.Error())
		g.metrics.reloadFailed()
	}
	return nil
}

// loadEarlier puts the newest configuration in force that compiles: what replicas that ran before the newest one came still have.
func (g *gate) loadEarlier(ctx context.Context) bool {
	r, ok := g.origin.(*repository)
	if !ok {
		return false
	}
	commits, err := r.earlier(ctx)
	if err != nil {
		g.log.Error("earlier configurations cannot be read", "error", err.Error())
		return false
	}
	newest := g.version
	for _, c := range commits {
		if s, err := r.at(ctx, c); err == nil && g.use(ctx, s, newest) == nil {
			return true
		}
	}
	return false
}

// close ends what keeps the gate fresh. Nobody may load any more.
func (g *gate) close() {
	g.tracing()
	if d := g.declared.Load(); d != nil {
		<-d.done
	}
	for _, m := range g.mirrors {
		_ = m.Close()
	}
}

// mirror opens the copy of a branch, or returns the one that is open.
func (g *gate) mirror(ctx context.Context, url, branch string) (*git.Mirror, error) {
	key := [2]string{url, branch}
	if m := g.mirrors[key]; m != nil {
		return m, nil
	}
	m, err := git.OpenMirror(ctx, mirrorFolder(g.flags.state, url, branch), url, branch)
	if err != nil {
		return nil, err
	}
	g.mirrors[key] = m
	return m, nil
}

// locate fills in the repository of a source that names none: the one that holds gitgate.yaml.
func (g *gate) locate(f *followed) error {
	if f.branch == "" {
		f.branch = g.flags.branch
	}
	switch folder, local := g.origin.(*folder); {
	case f.url != "":
	case !local:
		f.url = g.flags.repository
	default:
		if f.url = gitRoot(filepath.Dir(folder.file)); f.url == "" {
			return fmt.Errorf("source %s: names no url, and %s is in no Git repository", f.name, g.shown(folder.file))
		}
	}
	return nil
}

// outageError is an error of the outside and not of the configuration: it may go away by itself.
type outageError struct{ error }

func (e *outageError) Unwrap() error { return e.error }

func isOutage(err error) bool {
	var outage *outageError
	return errors.As(err, &outage)
}

// loadAll loads until what is loaded is what its own rules accept: the configuration says whose signatures count, and with that which
// commit is to be read.
func (g *gate) loadAll(ctx context.Context) error {
	for range 3 {
		if changed, err := g.load(ctx); err != nil || !changed {
			return err
		}
	}
	return nil
}

// load compiles the newest version of the configuration and puts it in force. A version that does not compile is tried once.
func (g *gate) load(ctx context.Context) (changed bool, err error) {
	s, err := g.origin.open(ctx)
	if err != nil {
		return false, err
	}
	defer s.close()
	version := s.version + time.Now().UTC().Format(" 2006-01-02") // exemptions end with a day
	if version == g.version {
		return false, nil
	}
	return true, g.use(ctx, s, version)
}

// use compiles a configuration and puts it in force. version is what it is known by, so that it is not tried again.
func (g *gate) use(ctx context.Context, s snapshot, version string) (err error) {
	began := time.Now()
	l := &loaded{}
	var t traced
	with := g.door
	with.trace = func(ctx context.Context, c *bundle.Config, rules *apiserver.Rules) (_ []*policies.Policy, err error) {
		t, err = g.trace(ctx, c, s.fsys, rules)
		return t.policies, err
	}
	options := bundle.Options{FS: s.fsys, File: s.file, Kubernetes: g.flags.kubernetes, Build: buildVersion(), Library: library.Library{}}
	options.Kinds = func(c *bundle.Config, host bundle.Host) (_ []bundle.Kind, err error) {
		if l.rules, err = apiserver.New(c.Kubernetes); err != nil {
			return nil, err
		}
		c.Kubernetes = l.rules.Version()
		for i := range c.Modes {
			c.Modes[i].Action = max(c.Modes[i].Action, g.most())
		}
		return kinds(c, host, l.rules, with)
	}
	if l.Bundle, err = bundle.Load(ctx, options); err != nil {
		if ctx.Err() == nil && !isOutage(err) {
			g.version = version
			g.metrics.reloadFailed()
		}
		return err
	}
	g.version = version
	for _, p := range l.Engine.Policies() {
		p.Action = max(p.Action, g.most())
	}
	for _, w := range l.Warnings {
		g.log.Warn("configuration", "warning", w.String())
	}
	if g.grants != nil {
		g.grants.use(t.grants)
	}
	g.keep(ctx, t.declared)
	online := slices.ContainsFunc(l.Config.Rego.AllowBuiltins, opa.Online)
	g.current.Store(&webhook.State{Engine: l.Engine, Digest: l.Digest, Commit: s.commit, Online: online})
	g.metrics.loaded(l.Digest, s.commit)
	g.log.Info("policies are in force", "digest", l.Digest, "commit", s.commit, "policies", len(l.Engine.Policies()), "took", took(began))
	g.compareVersions(ctx, l.rules.Version())
	release()
	return nil
}

// most is the most that may come of a policy.
func (g *gate) most() policies.Action {
	most, err := policies.ParseAction(g.flags.mode)
	if err != nil {
		return policies.Deny // validate has refused other words
	}
	return most
}

// keep keeps an index fresh from now on, in place of the one of before.
func (g *gate) keep(ctx context.Context, d *declared) {
	if g.declared.Swap(d) == d {
		return
	}
	g.tracing()
	g.tracing = func() {}
	if d != nil {
		// Not the context of the load: it goes on while requests are drained.
		running, stop := context.WithCancel(context.WithoutCancel(ctx))
		g.tracing = stop
		go d.run(running)
	}
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
	if err := g.origin.refresh(ctx); err != nil && ctx.Err() == nil {
		g.log.Warn("git cannot be asked; what was known before goes on", "error", err.Error())
	}
	switch err := g.loadAll(ctx); {
	case err == nil || ctx.Err() != nil:
	case isOutage(err):
		g.log.Error("policies cannot be loaded; it is tried again", "error", err.Error())
	default:
		g.log.Error("configuration is wrong; the policies of before stay in force", "error", err.Error())
	}
}

// ready says why requests cannot be judged.
func (g *gate) ready() error {
	if g.current.Load() == nil {
		return errNotLoaded
	}
	if g.namespaces != nil && !g.namespaces.Ready() || g.crds != nil && !g.crds.Ready() || g.revisions != nil && !g.revisions.Ready() || g.grants != nil && !g.grants.ready() {
		return errors.New("the cluster's objects are not read yet")
	}
	return nil
}

// folder is a configuration on the local disk.
type folder struct {
	gate *gate
	file string
}

func (f *folder) refresh(ctx context.Context) error {
	if d := f.gate.declared.Load(); d != nil {
		return d.refresh(ctx)
	}
	return nil
}

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
