package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gitgate.dev/gitgate/document"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/report"
)

// checkFlags are the flags of gitgate check.
type checkFlags struct {
	configFlags
	baseFlags
	filenames     []string
	stdinFilename string
	outputs       []string
	failFast      bool
	failOn        string
	color         string
	by            string
	allowEmpty    bool
	parser        string
}

func (p *program) checkCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [PATH ... | -]",
		Short: "Judge Kubernetes manifests: files, folders, stdin",
		Long: `Judge Kubernetes manifests as the API server would, and by the policies of gitgate.yaml. No cluster and no network is needed.

A PATH is a file, a folder that is read with its subfolders (.yaml, .yml, .json), or - for stdin. Without one, the paths of the
sources in gitgate.yaml are judged, which is looked for from the current folder up to the root of the Git repository.

With --parser NAME the files are documents of any sort, such as a Terraform plan or a Compose file. They have no schema, and are judged by packages
of Rego and by Kyverno's policies in evaluation.mode JSON alone. auto goes by the files' names.

With --base REV, exactly the changes are judged that merging --head (default HEAD) into REV would make the reconcilers send to the cluster: what the
sources declare is rendered at both commits, and policies about updates and deletions are asked too. gitgate.yaml and the policies are those of --head; where the change alters them, those
before it judge it too, so that a change cannot let itself pass (--policies).

Exit codes, the same for each output format: 0 nothing is denied; 1 something is denied or is no manifest; 2 flags or configuration
are wrong, or there is nothing to check; 3 something could not be judged.`,
		Example: `  gitgate check                           # what gitgate.yaml names
  gitgate check clusters/prod app.yaml
  helm template web charts/web | gitgate check - --stdin-filename charts/web
  gitgate check -o text -o sarif=gitgate.sarif
  gitgate check --parser json plan.json   # a Terraform plan, by Rego
  gitgate check --base origin/main        # what merging this branch would change`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.check(cmd.Context(), f, append(slices.Clone(f.filenames), args...))
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.filenames, "filename", "f", nil, "the same as a PATH")
	flags.StringVar(&f.base, "base", "", "judge the changes since this commit, as their reconcilers would send them")
	flags.StringVar(&f.head, "head", "", "with --base: the commit that is to be merged (default HEAD)")
	flags.BoolVar(&f.offline, "offline", false, "with --base: fetch no source that lies in another repository, and read what an earlier run fetched")
	flags.BoolVar(&f.onlyNew, "only-new", false, "with --base: tell and count only what the change makes wrong, not what was wrong before")
	flags.StringVar(&f.policies, "policies", policiesBoth, "with --base: whose gitgate.yaml and policies judge: head, base, or both where they differ")
	flags.StringVar(&f.stdinFilename, "stdin-filename", "", "what stdin is called in messages (default \"-\")")
	flags.StringArrayVarP(&f.outputs, "output", "o", nil, "FORMAT or FORMAT=FILE, repeatable: "+strings.Join(report.Formats(), ", ")+" (default text)")
	flags.BoolVar(&f.missing.ignore, "ignore-missing-schemas", false, "say nothing of kinds that no schema covers")
	flags.BoolVar(&f.missing.deny, "strict-schemas", false, "deny kinds that no schema covers")
	flags.BoolVar(&f.failFast, "fail-fast", false, "stop at the first object that is denied")
	flags.StringVar(&f.failOn, "fail-on", "deny", "what makes the exit code 1: deny, or warn for warnings too")
	flags.StringVar(&f.color, "color", "auto", "auto (on a terminal, unless NO_COLOR is set), always or never")
	flags.StringVar(&f.parser, "parser", "", "judge documents that are no Kubernetes objects, by Rego and by Kyverno's policies in mode JSON: "+strings.Join(document.Names(), ", "))
	flags.StringVar(&f.by, "by", "", "control: say for each control of the policies how the objects stand to it, for auditors (text and json)")
	flags.BoolVar(&f.allowEmpty, "allow-empty", false, "that there is nothing to check is no error")
	complete := func(values ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return values, cobra.ShellCompDirectiveNoFileComp
		}
	}
	for name, values := range map[string][]string{
		"output": report.Formats(), "fail-on": {"deny", "warn"}, "policies": {policiesBoth, policiesBase, policiesHead}, "color": {"auto", "always", "never"}, "by": {"control"}, "parser": document.Names(), "kubernetes-version": bundle.Versions(),
	} {
		if err := cmd.RegisterFlagCompletionFunc(name, complete(values...)); err != nil {
			panic(err)
		}
	}
	return cmd
}

func (f *checkFlags) validate(paths []string) error {
	switch {
	case f.failOn != "deny" && f.failOn != "warn":
		return usage("--fail-on %s: expected deny or warn", f.failOn)
	case f.color != "auto" && f.color != "always" && f.color != "never":
		return usage("--color %s: expected auto, always or never", f.color)
	case f.by != "" && f.by != "control":
		return usage("--by %s: expected control", f.by)
	case f.parser != "" && f.base != "":
		return usage("--parser and --base exclude each other: what reconcilers send are Kubernetes objects")
	case f.parser != "" && len(paths) == 0:
		return usage("--parser %s: nothing to check, name files, folders or -", f.parser)
	case f.missing.ignore && f.missing.deny:
		return usage("--ignore-missing-schemas and --strict-schemas exclude each other: choose one")
	case f.stdinFilename != "" && !slices.Contains(paths, "-"):
		return usage("--stdin-filename %s: stdin is not checked; add the path -", f.stdinFilename)
	}
	dashes := 0
	for _, name := range paths {
		switch name {
		case "":
			return usage("a path is empty: expected a file, a folder or -")
		case "-":
			dashes++
		}
	}
	if dashes > 1 {
		return usage("- is named %d times: stdin can be read once", dashes)
	}
	return nil
}

func (p *program) check(ctx context.Context, f checkFlags, paths []string) error {
	if err := f.validate(paths); err != nil {
		return err
	}
	if err := f.baseFlags.validate(paths); err != nil {
		return err
	}
	outs, err := p.parseOutputs(f.outputs)
	if err != nil {
		return err
	}
	for _, out := range outs {
		if f.by != "" && !slices.Contains(report.ControlFormats(), out.format) {
			return usage("--by %s: -o %s says nothing by control, expected one of %s", f.by, out.format, strings.Join(report.ControlFormats(), ", "))
		}
	}
	if f.base != "" {
		return p.checkBase(ctx, f, outs)
	}
	var parser *document.Parser
	if f.parser != "" {
		named, err := document.Named(f.parser)
		if err != nil {
			return usage("--%w", err)
		}
		parser, f.plain = &named, true
	}
	files := slices.DeleteFunc(slices.Clone(paths), func(name string) bool { return name == "-" })
	if err := p.exist(files); err != nil {
		return err
	}
	l, err := p.load(ctx, f.configFlags, files)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		if paths, err = p.sourcePaths(l); err != nil {
			return err
		}
	}
	if parser != nil && !slices.ContainsFunc(l.Engine.Policies(), func(q *policies.Policy) bool { return q.Match.Plain != policies.NotPlain }) {
		return usage("--parser %s: no policy judges documents that are no Kubernetes objects, expected one in Rego or of Kyverno in evaluation.mode JSON", f.parser)
	}
	return p.judge(ctx, f, l, outs, paths, parser)
}

// exist says which of the paths are not there, all at once.
func (p *program) exist(paths []string) error {
	var errs []error
	for _, name := range paths {
		if _, err := os.Stat(p.abs(name)); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: no such file or folder", name))
		}
	}
	if len(errs) > 0 {
		return exitWith(exitUsage, errors.Join(errs...))
	}
	return nil
}

// sourcePaths are the folders that gitgate.yaml says are applied, as seen from the current folder.
func (p *program) sourcePaths(l *loaded) ([]string, error) {
	if l.Config.File == "" {
		return nil, usage("nothing to check: name a file, a folder or -, or put a %s with sources at the root of the repository (gitgate init writes one)", bundle.FileName)
	}
	if len(l.Config.Sources) == 0 {
		return nil, exitWith(exitUsage, p.at(l, policies.ErrorAt(policies.Position{File: l.Config.File}, errors.New("names no sources, so there is nothing to check: name a path, or add sources"))))
	}
	var paths []string
	var errs []error
	for i, s := range l.Config.Sources {
		dir := filepath.Join(l.dir, filepath.FromSlash(s.Path))
		switch _, err := os.Stat(dir); {
		case err == nil && !linksOut(l.dir, dir):
			paths = append(paths, p.shown(dir))
			continue
		case err == nil:
			err := policies.ErrorAt(l.Config.Position("sources", i, "path"), fmt.Errorf("sources[%d].path: %s leads out of the folder of %s by a symbolic link", i, s.Path, bundle.FileName))
			errs = append(errs, p.at(l, err))
			continue
		}
		err := policies.ErrorAt(l.Config.Position("sources", i, "path"), fmt.Errorf("sources[%d].path: no such folder %s", i, s.Path))
		errs = append(errs, p.at(l, err))
	}
	if len(errs) > 0 {
		return nil, exitWith(exitUsage, errors.Join(errs...))
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// linksOut says whether name, which is under dir by its words, lies elsewhere: a pull request can bring a symbolic link.
func linksOut(dir, name string) bool {
	from, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return true
	}
	to, err := filepath.EvalSymlinks(name)
	return err != nil || !inside(from, to)
}

// colored says whether w gets colours.
func (p *program) colored(flag string, w io.Writer) bool {
	switch flag {
	case "always":
		return true
	case "never":
		return false
	default:
		return p.env("NO_COLOR") == "" && p.env("TERM") != "dumb" && isTerminal(w)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func widthOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 0
}

// progress says on a terminal how far a run is, after the first second, on one line that it takes away again.
type progress struct {
	w     io.Writer // nil when there is no terminal
	start time.Time
	last  time.Time
	shown bool
}

func (p *program) newProgress() *progress {
	pr := &progress{start: time.Now()}
	if isTerminal(p.stderr) && p.env("TERM") != "dumb" {
		pr.w = p.stderr
	}
	return pr
}

func (pr *progress) files(done, total int) {
	now := time.Now()
	if pr.w == nil || now.Sub(pr.start) < time.Second || now.Sub(pr.last) < 100*time.Millisecond {
		return
	}
	pr.last, pr.shown = now, true
	fmt.Fprintf(pr.w, "\r\x1b[K%d of %d files checked, %s", done, total, now.Sub(pr.start).Round(time.Second))
}

// clear makes room for a line of its own.
func (pr *progress) clear() {
	if pr.shown {
		fmt.Fprint(pr.w, "\r\x1b[K")
		pr.shown = false
	}
}
