package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/desired/trust"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/report"
)

// verifyOutput is `gitgate verify -o json`.
type verifyOutput struct {
	Source  string         `json:"source"`
	Rules   string         `json:"rules"`             // the commit whose gitgate.yaml and keys were used; "" for the work tree
	Rewrite string         `json:"rewrite,omitempty"` // how the branch was rewritten, when it was
	Trusted bool           `json:"trusted"`           // every commit is, and the branch was not rewritten
	Commits []verifyCommit `json:"commits"`           // newest first
}

type verifyCommit struct {
	Commit    string   `json:"commit"`
	Parents   []string `json:"parents,omitempty"`
	Author    string   `json:"author"`    // a claim of the commit
	Committer string   `json:"committer"` // a claim of the commit
	Date      string   `json:"date"`      // of the committer
	Subject   string   `json:"subject"`
	State     string   `json:"state"` // trusted, refused, unsigned
	Method    string   `json:"method,omitempty"`
	Signer    string   `json:"signer,omitempty"`
	Key       string   `json:"key,omitempty"`
	Reason    string   `json:"reason,omitempty"`
}

type verifyFlags struct {
	config string
	source string
	rules  string
	format string
}

func (p *program) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [REV | BASE..REV]",
		Short: "Say of commits who signed them, and whether that signature counts",
		Long: strings.TrimSpace(`
Judges the signature of a commit (default HEAD), or of every commit of a range, merged ones too, by the rules of the source's
trust in gitgate.yaml: SSH, OpenPGP or X.509 (gitsign), keys of the platform that merges, and who may change which paths.

For a range, gitgate.yaml and its keys are read from BASE, so that what the range itself changes of them does not count for it.
For one commit they are read from the work tree. --rules-from REV reads them from another commit.

Exit codes: 0 every commit is trusted; 1 one is not, or REV does not descend from BASE; 2 flags or configuration; 3 could not tell.`),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("verify: expected one commit or one range BASE..REV, got %d arguments", len(args))
			}
			if f.format != "text" && f.format != "json" {
				return usage("-o %s: expected text or json", f.format)
			}
			return p.verify(cmd.Context(), f, strings.Join(args, ""))
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file (default: gitgate.yaml, from here up to the Git root)")
	cmd.Flags().StringVar(&f.source, "source", "", "name of the source whose rules hold (default: the only one that has any)")
	cmd.Flags().StringVar(&f.rules, "rules-from", "", "commit whose gitgate.yaml and keys are used")
	cmd.Flags().StringVarP(&f.format, "output", "o", "text", "text or json")
	return cmd
}

func (p *program) verify(ctx context.Context, f verifyFlags, revs string) error {
	repo, root, err := git.Open(ctx, p.dir)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	defer repo.Close()
	base, tip, isRange, err := resolveRange(ctx, repo, revs)
	if err != nil {
		return err
	}
	from := git.Hash("")
	switch {
	case f.rules != "":
		if from, err = resolve(ctx, repo, f.rules); err != nil {
			return err
		}
	case isRange:
		from = base
	}
	source, rules, err := p.trustOf(ctx, repo, root, f, from)
	if err != nil {
		return err
	}
	out := verifyOutput{Source: source, Rules: string(from), Trusted: true, Commits: []verifyCommit{}}
	var all []trust.Evidence
	if isRange {
		if all, err = rules.Range(ctx, repo, tip, base); err != nil {
			return exitWith(exitUnjudged, err)
		}
		descends, err := repo.IsAncestor(ctx, base, tip)
		if err != nil {
			return exitWith(exitUnjudged, err)
		}
		if !descends {
			out.Rewrite = fmt.Sprintf("%s does not descend from %s: the branch was rewritten", tip.Short(), base.Short())
			out.Trusted = false
		}
	} else {
		commit, err := repo.Commit(ctx, tip)
		if err != nil {
			return exitWith(exitUnjudged, err)
		}
		e, err := rules.Commit(ctx, repo, commit)
		if err != nil {
			return exitWith(exitUnjudged, err)
		}
		all = []trust.Evidence{e}
	}
	for _, e := range all {
		out.Trusted = out.Trusted && e.State == trust.Trusted
		out.Commits = append(out.Commits, commitOutput(e))
	}
	if f.format == "json" {
		err = writeJSON(p.stdout, out)
	} else {
		err = p.writeVerified(out)
	}
	if err != nil {
		return err
	}
	if !out.Trusted {
		return exitWith(exitDenied, nil)
	}
	return nil
}

// resolveRange reads REV, BASE..REV or BASE...REV (from the merge base), "" being HEAD.
func resolveRange(ctx context.Context, repo *git.Repo, revs string) (base, tip git.Hash, isRange bool, err error) {
	from, to, isRange := strings.Cut(revs, "..")
	if !isRange {
		if revs == "" {
			revs = "HEAD"
		}
		tip, err = resolve(ctx, repo, revs)
		return "", tip, false, err
	}
	to, fork := strings.CutPrefix(to, ".")
	if from == "" {
		return "", "", false, usage("verify %s: names no base, expected BASE..REV", revs)
	}
	if to == "" {
		to = "HEAD"
	}
	if base, err = resolve(ctx, repo, from); err != nil {
		return "", "", false, err
	}
	if tip, err = resolve(ctx, repo, to); err != nil {
		return "", "", false, err
	}
	if fork {
		if base, err = repo.MergeBase(ctx, base, tip); err != nil {
			return "", "", false, exitWith(exitUnjudged, fmt.Errorf("merge base of %s and %s: %w", from, to, err))
		}
	}
	return base, tip, true, nil
}

func resolve(ctx context.Context, repo *git.Repo, rev string) (git.Hash, error) {
	h, err := repo.Resolve(ctx, rev)
	switch {
	case errors.Is(err, git.ErrNotFound):
		return "", usage("revision %s: %w", rev, git.ErrNotFound)
	case err != nil:
		return "", exitWith(exitUnjudged, err)
	default:
		return h, nil
	}
}

// trustOf reads the rules of the source from a commit, or from the work tree when from is "".
func (p *program) trustOf(ctx context.Context, repo *git.Repo, root string, f verifyFlags, from git.Hash) (string, *trust.Rules, error) {
	file, err := p.findConfig(f.config, nil)
	if err != nil {
		return "", nil, err
	}
	if file == "" {
		return "", nil, usage("no %s up to the Git root: verify needs the trust of its sources", bundle.FileName)
	}
	var files fs.FS
	where := ""
	if from == "" {
		folder, err := os.OpenRoot(filepath.Dir(file))
		if err != nil {
			return "", nil, exitWith(exitUsage, err)
		}
		defer folder.Close()
		files = folder.FS()
	} else {
		rel, inside := pathIn(root, file)
		if !inside {
			return "", nil, usage("%s is not in the repository of the commits: its rules cannot be read from one", p.shown(file))
		}
		commit, err := tree.Load(ctx, repo, from)
		if err != nil {
			return "", nil, exitWith(exitUnjudged, err)
		}
		files = commit.View().FS(ctx, path.Dir(rel))
		where = " at " + from.Short()
	}
	c, err := configAt(ctx, files, filepath.Base(file))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, usage("%s%s: no such file: say with --rules-from which commit has the rules", p.shown(file), where)
	}
	if err != nil {
		p.printError(err, p.shown(filepath.Dir(file)))
		return "", nil, exitWith(exitUsage, nil)
	}
	i, err := sourceWithTrust(c, f.source)
	if err != nil {
		return "", nil, err
	}
	rules, err := trustRules(c, i, files)
	if err != nil {
		p.printError(err, p.shown(filepath.Dir(file)))
		return "", nil, exitWith(exitUsage, nil)
	}
	return c.Sources[i].Name, rules, nil
}

func realPath(name string) string {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		return real
	}
	return name
}

// sourceWithTrust finds the source of that name, or the only one that has rules.
func sourceWithTrust(c *bundle.Config, name string) (int, error) {
	found := -1
	var names []string
	for i, s := range c.Sources {
		names = append(names, s.Name)
		switch {
		case name != "" && s.Name == name && s.Trust == nil:
			return 0, usage("source %s has no trust in %s: nobody's signature is asked for", name, c.File)
		case name != "" && s.Name == name:
			return i, nil
		case name == "" && s.Trust != nil && found >= 0:
			return 0, usage("sources %s and %s both have trust: say which one with --source", c.Sources[found].Name, s.Name)
		case name == "" && s.Trust != nil:
			found = i
		}
	}
	switch {
	case name != "":
		return 0, usage("--source %s: no such source; %s has %s", name, c.File, strings.Join(names, ", "))
	case found < 0:
		return 0, usage("no source in %s has trust: nobody's signature is asked for", c.File)
	default:
		return found, nil
	}
}

func commitOutput(e trust.Evidence) verifyCommit {
	c := verifyCommit{
		Commit: string(e.Commit.Hash), Author: e.Commit.Author.String(), Committer: e.Commit.Committer.String(),
		Date: e.Commit.Committer.When.Format(time.RFC3339), Subject: e.Commit.Subject,
		State: e.State.String(), Method: e.Method, Signer: e.Signer, Key: e.Key, Reason: e.Reason,
	}
	for _, h := range e.Commit.Parents {
		c.Parents = append(c.Parents, string(h))
	}
	return c
}

func (p *program) writeVerified(out verifyOutput) error {
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	trusted := 0
	for _, c := range out.Commits {
		who := c.Signer
		if c.State == trust.Trusted.String() {
			trusted++
		} else {
			who = c.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", git.Hash(c.Commit).Short(), c.State, report.Line(who), report.Line(c.Subject))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if out.Rewrite != "" {
		if _, err := fmt.Fprintln(p.stdout, out.Rewrite); err != nil {
			return err
		}
	}
	rules := "the work tree"
	if out.Rules != "" {
		rules = git.Hash(out.Rules).Short()
	}
	noun := "commits"
	if len(out.Commits) == 1 {
		noun = "commit"
	}
	_, err := fmt.Fprintf(p.stderr, "verified %d %s by the rules of source %s in %s: %d trusted, %d not\n", len(out.Commits), noun, out.Source, rules, trusted, len(out.Commits)-trusted)
	return err
}

// readBounded reads all of r, which may have at most limit bytes.
func readBounded(r io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return text, nil
}
