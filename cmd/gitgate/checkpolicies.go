package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
)

// The values of --policies: whose gitgate.yaml and policies judge a change.
const (
	policiesBoth = "both"
	policiesBase = "base"
	policiesHead = "head"
)

// judges are the bundles that judge a change: the one whose verdict is told as it is, and the one of before, when it judges too.
type judges struct {
	first  *loaded
	before *loaded // nil when first is that one, or says the same
	reuse  bool    // both have the same gitgate.yaml: what is declared is rendered once
}

// judgesOf loads the policies that judge what merging head into base, the tip of the branch, brings. A change cannot loosen what judges it: where its policies are
// others than before, those before judge it too.
func (p *program) judgesOf(ctx context.Context, f checkFlags, base, head git.Hash) (judges, error) {
	if f.policies != policiesHead {
		if err := p.sameConfig(ctx, f.configFlags, base); err != nil {
			return judges{}, err
		}
	}
	before, known, err := p.configBefore(ctx, f.configFlags, base)
	if err != nil {
		return judges{}, err
	}
	switch {
	case f.policies == policiesBase && !known:
		return judges{}, usage("--policies base: %s is not in commit %s, or not valid there", bundle.FileName, base.Short())
	case f.policies == policiesBase:
		l, err := p.loadAt(ctx, f.configFlags, base)
		return judges{first: l}, err
	case f.policies == policiesHead || !known:
		if !known && f.policies == policiesBoth {
			fmt.Fprintf(p.stderr, "gitgate: commit %s has no %s that is valid: the change is judged by its own alone\n", base.Short(), bundle.FileName)
		}
		l, err := p.loadAt(ctx, f.configFlags, head)
		return judges{first: l}, err
	}
	flags := f.configFlags
	flags.guard = func(c *bundle.Config) error { return noNewBuiltins(before, c) }
	l, err := p.loadAt(ctx, flags, head)
	if err != nil {
		return judges{}, err
	}
	same, sameFile, err := p.samePolicies(ctx, f.configFlags, l, before, base, head)
	if err != nil || same {
		return judges{first: l}, err
	}
	old := f.configFlags
	old.quiet = true
	was, err := p.loadAt(ctx, old, base)
	var exit *exitError
	if errors.As(err, &exit) && exit.code == exitUsage {
		if err := p.readableAt(ctx, f.configFlags, before, base); err != nil {
			return judges{}, err
		}
		fmt.Fprintf(p.stderr, "gitgate: the policies before the change do not compile, and judge nothing: those of the change judge alone\n")
		return judges{first: l}, nil
	}
	if err != nil {
		return judges{}, err
	}
	fmt.Fprintf(p.stderr, "gitgate: the change has other policies than --base: those of --base judge it too\n")
	return judges{first: l, before: was, reuse: sameFile}, nil
}

// configBefore is gitgate.yaml at a commit; known is false when the change brings or mends it.
func (p *program) configBefore(ctx context.Context, flags configFlags, h git.Hash) (c *bundle.Config, known bool, err error) {
	files, name, err := p.configOf(ctx, flags, h)
	var exit *exitError
	if errors.As(err, &exit) && exit.code == exitUsage {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if _, err := fs.ReadFile(files, name); err != nil {
		return nil, false, unreadable(name, h, err)
	}
	if c, err = configAt(ctx, files, name); err != nil {
		return nil, false, ctx.Err()
	}
	return c, true, nil
}

// unreadable is the error of a file that judges and that nobody could read, of a partial clone without its remote for example: that is not
// to have none.
func unreadable(name string, h git.Hash, err error) error {
	return exitWith(exitUnjudged, fmt.Errorf("%s of commit %s judges the change and cannot be read; --policies head does without it: %w", name, h.Short(), err))
}

// readableAt returns an error when a file that a configuration at a commit reads policies or schemas from is there and cannot be read.
func (p *program) readableAt(ctx context.Context, flags configFlags, c *bundle.Config, h git.Hash) error {
	files, _, err := p.configOf(ctx, flags, h)
	if err != nil {
		return err
	}
	for _, folder := range foldersOf(c) {
		err := fs.WalkDir(files, folder, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = fs.ReadFile(files, name)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
				return unreadable(name, h, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// foldersOf are the folders and files from which a configuration reads policies and schemas.
func foldersOf(c *bundle.Config) []string {
	var folders []string
	for _, source := range c.Policies {
		folders = append(folders, strings.TrimSuffix(source.Path, "/"))
	}
	for _, schema := range c.Schemas {
		folders = append(folders, strings.TrimSuffix(schema.Path, "/"))
	}
	return slices.DeleteFunc(folders, func(folder string) bool { return folder == "" })
}

// sameConfig refuses a change that has another gitgate.yaml judge than the one that is the nearest to the current folder at the commit before it:
// by one that it puts nearer, or by taking the nearest away.
func (p *program) sameConfig(ctx context.Context, flags configFlags, h git.Hash) error {
	file, err := p.findConfig(flags.file, nil)
	if err != nil || file == "" || flags.file != "" {
		return err
	}
	repo, root, err := git.Open(ctx, p.dir)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	defer repo.Close()
	now, inside := pathIn(root, file)
	nearest, ok := pathIn(root, filepath.Join(p.dir, bundle.FileName))
	if !inside || !ok {
		return nil
	}
	commit, err := tree.Load(ctx, repo, h)
	if err != nil {
		return exitWith(exitUnjudged, err)
	}
	files := commit.View().FS(ctx, "")
	for dir := path.Dir(nearest); ; dir = path.Dir(dir) {
		name := path.Join(dir, bundle.FileName)
		switch there := exists(files, name); {
		case there && name == now, !there && dir == ".":
			return nil
		case there:
			return usage("%s judged before the change, and %s would after it: name the one that counts with --config, or check by --policies head", name, now)
		}
	}
}

func exists(files fs.FS, name string) bool {
	_, err := fs.Stat(files, name)
	return err == nil
}

// noNewBuiltins refuses policies that a change lets reach outside: they would be run before anybody has agreed to it, with what the machine
// that checks it has in its environment.
func noNewBuiltins(before, c *bundle.Config) error {
	for i, name := range c.Rego.AllowBuiltins {
		if !slices.Contains(before.Rego.AllowBuiltins, name) {
			return policies.ErrorAt(c.Position("rego", "allowBuiltins", i), fmt.Errorf("rego.allowBuiltins[%d]: the change lets policies use %s, which they may not before it: they are not run. Let who trusts the change look at it and check it with --policies head, or judge it by --policies base", i, name))
		}
	}
	return nil
}

// samePolicies says whether two commits have the same gitgate.yaml, and the same files where that reads policies and schemas from.
func (p *program) samePolicies(ctx context.Context, flags configFlags, l *loaded, before *bundle.Config, base, head git.Hash) (same, sameFile bool, err error) {
	was, name, err := p.configOf(ctx, flags, base)
	if err != nil {
		return false, false, err
	}
	now, _, err := p.configOf(ctx, flags, head)
	if err != nil {
		return false, false, err
	}
	equal := func(name string) bool {
		a, errA := fs.ReadFile(was, name)
		b, errB := fs.ReadFile(now, name)
		return errA == nil && errB == nil && bytes.Equal(a, b)
	}
	if !equal(name) {
		return false, false, nil
	}
	for _, file := range l.Files {
		if !equal(file) {
			return false, true, nil
		}
	}
	// What the change takes away is among the files of before alone.
	for _, folder := range foldersOf(before) {
		err := fs.WalkDir(was, folder, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !d.IsDir() && !equal(name) {
				return errDiffers
			}
			return nil
		})
		if err != nil {
			return false, true, ctx.Err() // what cannot be compared is taken for different
		}
	}
	return true, true, nil
}

var errDiffers = errors.New("a file differs")

// byThoseBefore judges a change by the policies before it, and adds to decisions what these find beside it.
func (p *program) byThoseBefore(ctx context.Context, f checkFlags, l *loaded, base, head git.Hash, decisions []policies.Decision, reuse *rendered, listed []bundle.Source) ([]policies.Decision, error) {
	if reuse == nil {
		r, err := p.openRevisions(ctx, l.Config, l.rules, otherSources{offline: f.offline, listed: listed})
		if err != nil {
			return nil, err
		}
		defer r.close()
		reuse = &rendered{}
		if reuse.before, reuse.after, reuse.changes, err = r.changes(ctx, base, head); err != nil {
			return nil, err
		}
	}
	judged, err := p.judgeChanges(ctx, l, reuse.before, reuse.after, reuse.changes, f.onlyNew)
	if err != nil {
		return nil, err
	}
	known := standing(decisions)
	type subject struct{ text, operation string }
	at := map[subject]int{}
	for i, d := range decisions {
		at[subject{d.Subject.Text, string(d.Operation)}] = i
	}
	for _, d := range judged {
		results := besides(&d, known)
		i, both := at[subject{d.Subject.Text, string(d.Operation)}]
		switch {
		case !both: // the change takes it out of what the sources declare
			d.Results = results
			decisions = append(decisions, d)
		case len(results) > 0:
			decisions[i].Results = append(slices.Clip(decisions[i].Results), results...)
		}
	}
	return decisions, nil
}

// standing are the violations of decisions that no exemption covers, with what follows of each.
func standing(decisions []policies.Decision) map[sameViolation]policies.Action {
	all := map[sameViolation]policies.Action{}
	for i := range decisions {
		d := &decisions[i]
		for j := range d.Results {
			r := &d.Results[j]
			for k, v := range r.Finding.Violations {
				key := fingerprintOf(d, r, &v)
				if action, had := all[key]; r.Standing(k) && (!had || r.ActionOf(k) < action) {
					all[key] = r.ActionOf(k)
				}
			}
		}
	}
	return all
}

// besides are the results of a decision that find something which stands, without what is known and follows no less from it.
func besides(d *policies.Decision, known map[sameViolation]policies.Action) []policies.Result {
	var out []policies.Result
	for _, r := range d.Results {
		switch r.Outcome {
		case policies.Failed:
			r.Err = fmt.Errorf("by the policies before the change: %w", r.Err)
			out = append(out, r)
		case policies.Violated:
			var kept []policies.Violation
			for i, v := range r.Finding.Violations {
				if action, had := known[fingerprintOf(d, &r, &v)]; !r.Standing(i) || had && action <= r.ActionOf(i) {
					continue
				}
				v.Message += " (by the policies before the change)"
				kept = append(kept, v)
			}
			if len(kept) > 0 {
				r.Finding.Violations, r.Exempted = kept, nil
				out = append(out, r)
			}
		}
	}
	return out
}

// policiesOf are the policies that judged, of which reports tell: of two with one name the first.
func (j judges) policiesOf() []*policies.Policy {
	out := j.first.policies()
	if j.before == nil {
		return out
	}
	for _, q := range j.before.policies() {
		if !slices.ContainsFunc(out, func(p *policies.Policy) bool { return p.Name == q.Name }) {
			out = append(out, q)
		}
	}
	return out
}
