package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/report"
)

// revisions is this repository, and what the sources of gitgate.yaml that lie in it declare at its commits.
type revisions struct {
	repo     *git.Repo
	root     string // of the work tree, without links; "" for a bare repository
	config   *bundle.Config
	rules    *apiserver.Rules
	renderer *desired.Renderer
	sources  []string // those that lie in this repository
	repos    map[string]*git.Repo
	cache    string // folder for what is kept between runs; "" for none
	elsewhere
}

func (r *revisions) close() {
	r.repo.Close()
	r.elsewhere.close()
}

// openRevisions opens the repository of the current folder for the sources of a configuration. rules are those of the
// configuration's version of Kubernetes. others says which of the sources in other repositories are read.
func (p *program) openRevisions(ctx context.Context, c *bundle.Config, rules *apiserver.Rules, others otherSources) (*revisions, error) {
	repo, root, err := git.Open(ctx, p.dir)
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	r := &revisions{repo: repo, root: root, config: c, rules: rules, cache: p.cacheFolder(), repos: map[string]*git.Repo{}}
	if err := r.open(ctx, others); err != nil {
		r.close()
		return nil, err
	}
	for _, why := range r.left {
		fmt.Fprintf(p.stderr, "gitgate: %s\n", report.Line(why))
	}
	return r, nil
}

// cacheFolder is what is kept between runs: below the user's cache folder, "" when there is none. It is safe to delete.
func (p *program) cacheFolder() string {
	base := p.env("XDG_CACHE_HOME")
	if base == "" && p.env("HOME") != "" {
		base = filepath.Join(p.env("HOME"), ".cache")
	}
	if !filepath.IsAbs(base) {
		return ""
	}
	return filepath.Join(base, "gitgate")
}

func (r *revisions) open(ctx context.Context, others otherSources) error {
	if len(r.config.Sources) == 0 {
		return usage("%s names no sources: it cannot be told what is declared", bundle.FileName)
	}
	here, err := r.here(ctx)
	if err != nil {
		return exitWith(exitUnjudged, err)
	}
	o := desired.Options{Rules: r.rules, Version: programIdentity()}
	if r.cache != "" {
		// A cache that cannot be opened makes the run slow, and no less right.
		if cache, err := desired.OpenCache(filepath.Join(r.cache, "rendered"), 0); err == nil {
			o.Cache = cache
		}
	}
	for _, c := range r.config.Reconcilers {
		if c.Flux != nil && o.FluxNamespace == "" {
			o.FluxNamespace, o.FluxAccount = c.Flux.Namespace, c.Flux.DefaultServiceAccount
		}
		if c.ArgoCD != nil && o.ArgoCDNamespace == "" {
			o.ArgoCDNamespace = c.ArgoCD.Namespace
		}
	}
	for _, s := range r.config.Sources {
		if !here(s) {
			repo, err := r.fetch(ctx, s, others, r.cache)
			if err != nil {
				return exitWith(exitUnjudged, err)
			}
			if repo != nil {
				r.repos[s.Name] = repo
				o.Sources = append(o.Sources, desired.Source{Name: s.Name, URL: s.URL, Branch: s.Branch, Path: s.Path, Referenced: s.Referenced, Repo: repo, Label: s.Name + "//"})
			}
			continue
		}
		r.sources = append(r.sources, s.Name)
		r.repos[s.Name] = r.repo
		o.Sources = append(o.Sources, desired.Source{Name: s.Name, URL: s.URL, Branch: s.Branch, Path: s.Path, Referenced: s.Referenced, Repo: r.repo})
	}
	if r.renderer, err = desired.New(o); err != nil {
		return exitWith(exitUsage, err)
	}
	return nil
}

// here says which sources lie in this repository: those without an address, and those with the address of one of its remotes.
// When no remote is named by any, as in a fork, the sources that share the first one's address are this repository's: the
// configuration lies in it.
func (r *revisions) here(ctx context.Context) (func(bundle.Source) bool, error) {
	remotes, err := r.repo.Remotes(ctx)
	if err != nil {
		return nil, err
	}
	matches := func(s bundle.Source) bool {
		return s.URL == "" || slices.ContainsFunc(remotes, func(u string) bool { return desired.SameRepository(u, s.URL) })
	}
	if slices.ContainsFunc(r.config.Sources, matches) {
		return matches, nil
	}
	first := r.config.Sources[0].URL
	return func(s bundle.Source) bool { return desired.SameRepository(first, s.URL) }, nil
}

// at renders what the sources declare at a commit.
func (r *revisions) at(ctx context.Context, h git.Hash, from *desired.State) (*desired.State, error) {
	commits := map[string]git.Hash{}
	for _, s := range r.sources {
		commits[s] = h
	}
	maps.Copy(commits, r.tips)
	state, err := r.renderer.At(ctx, commits, from)
	if err != nil {
		return nil, exitWith(exitUnjudged, err)
	}
	return state, nil
}

// configOf is gitgate.yaml as a commit has it: the folder of the file in the commit, and its name there.
func (p *program) configOf(ctx context.Context, flags configFlags, h git.Hash) (files fs.FS, name string, err error) {
	file, err := p.findConfig(flags.file, nil)
	if err != nil {
		return nil, "", err
	}
	if file == "" {
		return nil, "", usage("no %s up to the Git root: its sources say what is declared", bundle.FileName)
	}
	repo, root, err := git.Open(ctx, p.dir)
	if err != nil {
		return nil, "", exitWith(exitUsage, err)
	}
	rel, inside := pathIn(root, file)
	if !inside || h == "" {
		repo.Close()
		folder, err := os.OpenRoot(filepath.Dir(file))
		if err != nil {
			return nil, "", exitWith(exitUsage, err)
		}
		return folder.FS(), filepath.Base(file), nil
	}
	commit, err := tree.Load(ctx, repo, h)
	if err != nil {
		repo.Close()
		return nil, "", exitWith(exitUnjudged, err)
	}
	dir, name := path.Split(rel)
	files = commit.View().FS(ctx, strings.TrimSuffix(dir, "/"))
	if _, err := fs.Stat(files, name); errors.Is(err, fs.ErrNotExist) {
		return nil, "", usage("%s is not in commit %s", rel, h.Short())
	}
	return files, name, nil
}

// pathIn is the path of a file below the root of a repository, with slashes and as it is called: what it leads to, each commit says, for a change may
// put a link in the place of what judged before it. ok is false for a file that is elsewhere.
func pathIn(root, file string) (rel string, ok bool) {
	if root == "" {
		return "", false
	}
	dir := filepath.Dir(file)
	if named := gitRoot(dir); named != "" && realPath(named) == realPath(root) {
		rel, err := filepath.Rel(named, file)
		return filepath.ToSlash(rel), err == nil && filepath.IsLocal(rel)
	}
	rel, err := filepath.Rel(realPath(root), filepath.Join(realPath(dir), filepath.Base(file)))
	return filepath.ToSlash(rel), err == nil && filepath.IsLocal(rel)
}

// problemsPolicy is the pseudo policy whose results tell what is wrong with what Git declares, before any policy can be asked.
func problemsPolicy() *policies.Policy {
	return &policies.Policy{
		Name: "declared", Kind: "declared", Severity: policies.High, Rules: desired.RuleIDs(),
		Doc: "What the sources declare can be rendered, as their reconcilers would, and each object is declared once.",
		Judge: func(context.Context, *policies.Change) (policies.Finding, error) {
			return policies.Finding{}, errors.New("is told of revisions, not asked of changes")
		},
	}
}

// problems are what is wrong with a state, as decisions.
func problems(policy *policies.Policy, s *desired.State) []policies.Decision {
	var out []policies.Decision
	for _, v := range s.Problems() {
		out = append(out, policies.Decision{
			Subject:   policies.ObjectRef{Origin: policies.Origin{File: v.Pos.File, Line: v.Pos.Line, Column: v.Pos.Column}},
			Operation: policies.Update,
			Results:   []policies.Result{{Policy: policy, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{v}}}},
		})
	}
	return out
}

// opaque are the units that cannot be rendered offline, each with its reason.
func opaque(s *desired.State) []string {
	var out []string
	for _, u := range s.Units() {
		for _, o := range u.Opaque {
			at := ""
			if o.Pos.File != "" {
				at = fmt.Sprintf("%s:%d: ", o.Pos.File, max(o.Pos.Line, 1))
			}
			out = append(out, fmt.Sprintf("%s%s: %s is opaque: %s", at, u, o.What, o.Reason))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// programIdentity tells builds apart, so that one does not take what another has rendered: the version, and for a build that has
// none the file of the program.
func programIdentity() string {
	v := buildVersion()
	if v != "(devel)" {
		return v
	}
	if exe, err := os.Executable(); err == nil {
		if info, err := os.Stat(exe); err == nil {
			return fmt.Sprintf("%s %d %d", v, info.Size(), info.ModTime().UnixNano())
		}
	}
	return v
}
