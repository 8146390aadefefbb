package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/policies/library"
)

// configFlags are the flags of every subcommand that reads gitgate.yaml.
type configFlags struct {
	file       string
	kubernetes string
	missing    missing
	plain      bool                       // documents that are no Kubernetes objects are to be judged
	quiet      bool                       // nothing is said of what is loaded
	guard      func(*bundle.Config) error // refuses a configuration before its policies are compiled; nil for none
}

// loaded is a bundle and where it came from.
type loaded struct {
	*bundle.Bundle
	rules  *apiserver.Rules
	dir    string // absolute path of the folder of gitgate.yaml; "" when there is none
	prefix string // the same, slash-separated, as seen from the current folder
}

// load finds, reads and compiles gitgate.yaml and its policies. near are paths that the user named, for where to look.
func (p *program) load(ctx context.Context, flags configFlags, near []string) (*loaded, error) {
	file, err := p.findConfig(flags.file, near)
	if err != nil {
		return nil, err
	}
	if file == "" {
		return p.compile(ctx, flags, nil, "", "")
	}
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, exitWith(exitUsage, fmt.Errorf("folder of %s: %w", file, err))
	}
	defer root.Close()
	return p.compile(ctx, flags, root.FS(), filepath.Base(file), filepath.Dir(file))
}

// loadAt reads and compiles gitgate.yaml and its policies as a commit has them.
func (p *program) loadAt(ctx context.Context, flags configFlags, h git.Hash) (*loaded, error) {
	files, name, err := p.configOf(ctx, flags, h)
	if err != nil {
		return nil, err
	}
	file, err := p.findConfig(flags.file, nil)
	if err != nil {
		return nil, err
	}
	return p.compile(ctx, flags, files, name, filepath.Dir(file))
}

// compile reads the bundle whose configuration is name in files, the folder dir; "" when there is none.
func (p *program) compile(ctx context.Context, flags configFlags, files fs.FS, name, dir string) (*loaded, error) {
	if v := flags.kubernetes; v != "" && !slices.Contains(bundle.Versions(), v) {
		return nil, usage("--kubernetes-version %s: expected one of %s", v, strings.Join(bundle.Versions(), ", "))
	}
	l := &loaded{}
	options := bundle.Options{Kubernetes: flags.kubernetes, Build: buildVersion(), Library: library.Library{}}
	options.Kinds = func(c *bundle.Config, host bundle.Host) (_ []bundle.Kind, err error) {
		if flags.guard != nil {
			if err := flags.guard(c); err != nil {
				return nil, err
			}
		}
		if l.rules, err = apiserver.New(c.Kubernetes); err != nil {
			return nil, err
		}
		c.Kubernetes = l.rules.Version() // the digest is then that of a file which says so
		return kinds(c, host, l.rules, door{missing: flags.missing, plain: flags.plain})
	}
	if name != "" {
		l.dir, l.prefix = dir, p.shown(dir)
		options.FS, options.File = files, name
	}
	b, err := bundle.Load(ctx, options)
	if err != nil {
		if ctx.Err() != nil {
			return nil, exitWith(exitUnjudged, errInterrupted)
		}
		if !flags.quiet {
			p.printError(err, l.prefix)
		}
		return nil, exitWith(exitUsage, nil)
	}
	l.Bundle = b
	if flags.quiet {
		return l, nil
	}
	if p.verbose {
		if name == "" {
			fmt.Fprintf(p.stderr, "gitgate: no %s up to the Git root: schemas of the built-in kinds alone\n", bundle.FileName)
		} else {
			fmt.Fprintf(p.stderr, "gitgate: configuration %s\n", p.shown(filepath.Join(dir, name)))
		}
	}
	for _, w := range b.Warnings {
		fmt.Fprintln(p.stderr, p.at(l, policies.ErrorAt(w.Pos, errors.New("warning: "+w.Message))))
	}
	return l, nil
}

// findConfig returns the absolute path of gitgate.yaml, or "" when there is none: the one named, else the nearest from the
// current folder up to the root of its Git repository, else the nearest from the paths' common folder up. The current folder
// comes first, so that a file put beside a manifest cannot take the place of the repository's own.
func (p *program) findConfig(named string, near []string) (string, error) {
	if named != "" {
		file := p.abs(named)
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", usage("--config %s: no such file", named)
		case err != nil:
			return "", exitWith(exitUsage, fmt.Errorf("--config: %w", err))
		case info.IsDir():
			return "", usage("--config %s: is a folder, expected a file such as %s", named, filepath.Join(named, bundle.FileName))
		}
		return file, nil
	}
	if file := configAbove(p.dir); file != "" || len(near) == 0 {
		return file, nil
	}
	return configAbove(p.commonFolder(near)), nil
}

// configAbove looks for gitgate.yaml in dir and, inside a Git repository, in the folders above it up to the repository's root.
func configAbove(dir string) string {
	limit := gitRoot(dir)
	for {
		file := filepath.Join(dir, bundle.FileName)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file
		}
		if limit == "" || dir == limit {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// gitRoot returns the nearest folder from dir upwards that has .git (a folder, or the file of a worktree), or "".
func gitRoot(dir string) string {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// commonFolder returns the deepest folder that holds all paths.
func (p *program) commonFolder(paths []string) string {
	common := ""
	for i, name := range paths {
		dir := p.abs(name)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			dir = filepath.Dir(dir)
		}
		if i == 0 {
			common = dir
		}
		for !inside(common, dir) {
			common = filepath.Dir(common)
		}
	}
	return common
}

// inside says whether the absolute path name is dir or under it.
func inside(dir, name string) bool {
	rel, err := filepath.Rel(dir, name)
	return err == nil && filepath.IsLocal(rel)
}

func (p *program) abs(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(p.dir, name)
}

// shown is an absolute path as the user sees it: relative to the current folder when it is under it or near, with slashes.
func (p *program) shown(name string) string {
	rel, err := filepath.Rel(p.dir, name)
	if err != nil || strings.HasPrefix(rel, filepath.Join("..", "..", "..")) {
		return filepath.ToSlash(name)
	}
	return filepath.ToSlash(rel)
}

// place is a position for people: file:line.
func (l *loaded) place(pos policies.Position) string {
	switch {
	case pos.File == "":
		return ""
	case strings.HasPrefix(pos.File, library.Prefix):
		return fmt.Sprintf("%s:%d", pos.File, pos.Line)
	case pos.Line == 0:
		return filepath.ToSlash(filepath.Join(l.prefix, pos.File))
	default:
		return fmt.Sprintf("%s:%d", filepath.ToSlash(filepath.Join(l.prefix, pos.File)), pos.Line)
	}
}

// at shows the place of err, which is relative to the folder of gitgate.yaml, as seen from the current folder.
func (p *program) at(l *loaded, err error) error {
	var e *policies.PositionError
	if !errors.As(err, &e) || e.Pos.File == "" {
		return err
	}
	pos := e.Pos
	pos.File = filepath.ToSlash(filepath.Join(l.prefix, pos.File))
	return policies.ErrorAt(pos, e.Err)
}
