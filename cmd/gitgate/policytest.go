package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/policies/library"
	"gitgate.dev/gitgate/policytest"
	"gitgate.dev/gitgate/report"
	"gitgate.dev/gitgate/validate"
)

func (p *program) policyTestCommand() *cobra.Command {
	var config configFlags
	var format, run string
	cmd := &cobra.Command{
		Use:   "test DIR ...",
		Short: "Run the tests of policies: fixtures and test rules of Rego",
		Long: strings.TrimSpace(`
test finds and runs the tests of policies in folders: manifests whose lines say what is wanted of them (# want "regexp"),
folders ok and bad, test rules of Rego (_test.rego), tests of the Kyverno CLI, and Gatekeeper suites. Fixtures are judged by the nearest folder
at or above them that has a gitgate.yaml or policies.

Exit codes: 0 every test passed; 1 a test failed; 2 usage, or no test found; 3 a test could not run.`),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := policytest.Options{Dirs: args}
			switch {
			case len(args) == 0:
				return usage("policy test: expected folders with tests")
			case format != "table" && format != "junit":
				return usage("-o %s: expected table or junit", format)
			}
			if run != "" {
				var err error
				if o.Run, err = policytest.ParseFilter(run); err != nil {
					return usage("--run %s: %w", run, err)
				}
			}
			return p.testPolicies(cmd.Context(), config, o, format)
		},
	}
	config.add(cmd)
	cmd.Flags().Lookup("config").Usage = "configuration by whose policies all fixtures are judged (default: the nearest at or above them)"
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or junit")
	cmd.Flags().StringVar(&run, "run", "", "run only the tests whose name matches this regular expression; TEST//CASE chooses in Gatekeeper suites")
	return cmd
}

func (p *program) testPolicies(ctx context.Context, flags configFlags, o policytest.Options, format string) error {
	t := &policyTests{p: p, flags: flags, suites: map[string]*suite{}}
	if flags.file != "" {
		if _, err := p.findConfig(flags.file, nil); err != nil {
			return err
		}
	}
	if v := flags.kubernetes; v != "" && !slices.Contains(bundle.Versions(), v) {
		return usage("--kubernetes-version %s: expected one of %s", v, strings.Join(bundle.Versions(), ", "))
	}
	for _, dir := range o.Dirs {
		if _, err := os.Stat(p.abs(dir)); err != nil {
			return usage("%s: %w", dir, cause(err))
		}
	}
	o.Judge, o.IsPolicy, o.Rego, o.Home, o.Kyverno, o.KyvernoTest, o.Gatekeeper = t.judge, t.isPolicy, t.rego, t.home, t.kyverno, t.kyvernoTest, gatekeeperTrial
	var count policytest.Count
	var all []policytest.Result
	idle := true // nothing but tests of what is no validation
	err := policytest.Run(ctx, o, func(r policytest.Result) error {
		count.Add(r)
		idle = idle && r.Sort == "kyverno" && r.Outcome == policytest.Skipped
		if format == "junit" {
			all = append(all, r)
			return nil
		}
		return policytest.WriteRow(p.stdout, r)
	})
	switch {
	case errors.Is(err, policytest.ErrNothing):
		return exitWith(exitUsage, fmt.Errorf("%w in %s", err, strings.Join(o.Dirs, ", ")))
	case ctx.Err() != nil:
		return exitWith(exitUnjudged, errors.New("interrupted before all tests were run"))
	case err != nil:
		return exitWith(exitUnjudged, err)
	}
	if format == "junit" {
		if err := policytest.WriteJUnit(p.stdout, all); err != nil {
			return exitWith(exitUnjudged, fmt.Errorf("stdout: report cannot be written: %w", err))
		}
	}
	fmt.Fprintln(p.stderr, count)
	switch {
	case count.Failed > 0:
		return exitWith(exitDenied, nil)
	case count.Errored > 0:
		return exitWith(exitUnjudged, nil)
	case idle:
		return exitWith(exitUsage, fmt.Errorf("no test was run in %s: all were skipped", strings.Join(o.Dirs, ", ")))
	}
	return nil
}

// policyTests hands to package policytest what it may not know.
type policyTests struct {
	p      *program
	flags  configFlags
	suites map[string]*suite
	claims []bundle.Kind
}

// suite is the policies that judge the fixtures of a folder.
type suite struct {
	*loaded
	err error
}

// documents reads the documents of a file as a bundle does; what is wrong with them is told when they are compiled.
func (t *policyTests) documents(file string) []policies.Document {
	text, err := os.ReadFile(t.p.abs(file))
	if err != nil {
		return nil
	}
	if path.Ext(file) == ".rego" {
		return []policies.Document{{File: file, Text: text}}
	}
	objects, _ := manifest.Decode(file, text, manifest.DefaultLimits())
	var docs []policies.Document
	for _, o := range objects {
		docs = append(docs, policies.Document{File: file, Object: o})
	}
	return docs
}

// isPolicy says whether a kind of policy claims a document of file.
func (t *policyTests) isPolicy(file string) bool {
	if t.claims == nil {
		rules, err := apiserver.New(t.flags.kubernetes)
		if err != nil {
			return false
		}
		if t.claims, err = kinds(&bundle.Config{}, bundle.Host{}, rules, door{}); err != nil {
			return false
		}
	}
	for _, d := range t.documents(file) {
		for _, k := range t.claims {
			if k.Claims != nil && k.Claims(d) {
				return true
			}
		}
	}
	return false
}

// home is the folder nearest to file, inside dir, that has a gitgate.yaml; dir without one.
func (t *policyTests) home(dir, file string) string {
	for at := path.Dir(file); ; at = path.Dir(at) {
		if info, err := os.Stat(t.p.abs(filepath.Join(at, bundle.FileName))); err == nil && info.Mode().IsRegular() {
			return at
		}
		if at == path.Clean(filepath.ToSlash(dir)) || at == path.Dir(at) {
			return dir
		}
	}
}

// policiesOf returns the files of the folder itself that are policies, without tests.
func (t *policyTests) policiesOf(folder string) (files []string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name := filepath.Join(folder, e.Name())
		ext := filepath.Ext(name)
		if !e.Type().IsRegular() || !slices.Contains([]string{".rego", ".yaml", ".yml", ".json"}, ext) || e.Name() == bundle.FileName {
			continue
		}
		text, err := os.ReadFile(name)
		if err == nil && !bytes.Contains(text, []byte("# want ")) && t.isPolicy(name) {
			files = append(files, e.Name())
		}
	}
	if !slices.ContainsFunc(files, func(f string) bool { return !strings.HasSuffix(f, "_test.rego") }) {
		return nil
	}
	return files
}

// suite finds and compiles the policies for the fixtures of folder, once.
func (t *policyTests) suite(ctx context.Context, folder string) *suite {
	if t.flags.file != "" {
		return t.load(ctx, t.p.abs(t.flags.file), nil)
	}
	limit := gitRoot(t.p.abs(folder))
	for dir := t.p.abs(folder); ; dir = filepath.Dir(dir) {
		file := filepath.Join(dir, bundle.FileName)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return t.load(ctx, file, nil)
		}
		if files := t.policiesOf(dir); len(files) > 0 {
			return t.load(ctx, file, files)
		}
		if dir == limit || limit == "" || dir == filepath.Dir(dir) {
			return &suite{err: fmt.Errorf("no policies: expected a %s or policies in %s or above", bundle.FileName, folder)}
		}
	}
}

// load compiles the policies of a configuration, or of files beside where it would be.
func (t *policyTests) load(ctx context.Context, file string, files []string) *suite {
	if s := t.suites[file]; s != nil {
		return s
	}
	s := &suite{loaded: &loaded{dir: filepath.Dir(file), prefix: t.p.shown(filepath.Dir(file))}}
	t.suites[file] = s
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		s.err = err
		return s
	}
	defer root.Close()
	options := bundle.Options{FS: root.FS(), File: filepath.Base(file), Kubernetes: t.flags.kubernetes, Build: buildVersion(), Library: library.Library{}}
	if files != nil {
		options.FS = beside{root.FS(), files}
	}
	options.Kinds = func(c *bundle.Config, host bundle.Host) (_ []bundle.Kind, err error) {
		if s.rules, err = apiserver.New(c.Kubernetes); err != nil {
			return nil, err
		}
		c.Kubernetes = s.rules.Version()
		return kinds(c, host, s.rules, door{missing: missing{ignore: files != nil}})
	}
	if s.Bundle, err = bundle.Load(ctx, options); err != nil {
		var errs []error
		for _, e := range flattened(err) {
			errs = append(errs, t.p.at(s.loaded, e))
		}
		s.err = errors.Join(errs...)
	}
	return s
}

// judge is `gitgate check` of files: the findings of its JSON report.
func (t *policyTests) judge(ctx context.Context, folder string, files []string) ([]policytest.Found, error) {
	s := t.suite(ctx, folder)
	if s.err != nil {
		return nil, s.err
	}
	var out bytes.Buffer
	sink, err := report.New("json", &out, report.Options{Version: buildVersion()})
	if err != nil {
		return nil, err
	}
	sum := report.Summary{Digest: s.Digest, Policies: s.policies()}
	_, err = validate.Run(ctx, validate.Options{
		Paths: files, Exclude: excluded(s.loaded), Engine: s.Engine, Rules: s.rules, Known: s.Schemas,
		Limits: manifest.Limits{Document: s.Config.Limits.DocumentSize, Depth: s.Config.Limits.Depth},
	}, func(d policies.Decision) error {
		sum.Count(&d)
		return sink.Decision(d)
	})
	if err != nil {
		return nil, err
	}
	if err := sink.Close(sum); err != nil {
		return nil, err
	}
	var told struct {
		Decisions []struct {
			Results []struct {
				Outcome  string
				Findings []struct {
					File, Level, Message, ID string
					Line                     int
					Exempted                 *struct{}
				}
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &told); err != nil {
		return nil, err
	}
	var found []policytest.Found
	for _, d := range told.Decisions {
		for _, r := range d.Results {
			for _, f := range r.Findings {
				text := fmt.Sprintf("%s [%s]", f.Message, f.ID)
				if f.Level != "deny" {
					text = f.Level + ": " + text
				}
				if f.Exempted == nil {
					found = append(found, policytest.Found{File: f.File, Line: f.Line, Text: text, Error: r.Outcome == "failed"})
				}
			}
		}
	}
	return found, nil
}

// rego runs test rules with the sources of folder and the data beside them, as `opa test` would.
func (t *policyTests) rego(ctx context.Context, folder string, files []string) ([]policytest.Result, error) {
	config := &bundle.Config{}
	if file := filepath.Join(t.p.abs(folder), bundle.FileName); t.flags.file != "" || isFile(file) {
		text, err := os.ReadFile(cmp.Or(t.flags.file, file))
		if err != nil {
			return nil, fmt.Errorf("%s cannot be read: %w", t.p.shown(file), cause(err))
		}
		if config, err = bundle.Decode(t.p.shown(file), text); err != nil {
			return nil, err
		}
	}
	var docs []policies.Document
	folders := map[string]bool{}
	for _, f := range files {
		docs = append(docs, t.documents(f)...)
		folders[path.Dir(f)] = true
	}
	for dir := range folders {
		for _, name := range []string{"data.json", "data.yaml", "data.yml"} {
			file := path.Join(dir, name)
			if text, err := os.ReadFile(file); err == nil {
				docs = append(docs, policies.Document{File: file, Text: text})
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%s cannot be read: %w", file, cause(err))
			}
		}
	}
	results, err := regoTests(ctx, config, docs)
	if err != nil {
		return nil, err
	}
	var out []policytest.Result
	for _, r := range results {
		one := policytest.Result{Sort: "rego", Name: r.Package + "." + r.Name, Pos: r.Pos, Outcome: policytest.Failed}
		problem := func(message string) {
			if text := strings.TrimSpace(r.Output); text != "" {
				message += "; it printed: " + text
			}
			one.Problems = append(one.Problems, policytest.Problem{Pos: r.Pos, Message: message})
		}
		switch {
		case r.Skipped:
			one.Outcome = policytest.Skipped
		case r.Err != nil:
			one.Outcome = policytest.Errored
			problem(fmt.Sprintf("%s could not be run: %v", one.Name, r.Err))
		case r.Passed:
			one.Outcome = policytest.Passed
		case len(r.Failed) > 0:
			problem(fmt.Sprintf("expected %s to be true, it is not in the cases %s", one.Name, strings.Join(r.Failed, ", ")))
		default:
			problem(fmt.Sprintf("expected %s to be true, it is false or undefined", one.Name))
		}
		out = append(out, one)
	}
	return out, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
