package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/trust"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
	"gitgate.dev/gitgate/report"
)

// traceOutput is `gitgate trace -o json`.
type traceOutput struct {
	Revision    string            `json:"revision"`
	APIVersion  string            `json:"apiVersion"`
	Kind        string            `json:"kind"`
	Namespace   string            `json:"namespace,omitempty"`
	Name        string            `json:"name"`
	Source      string            `json:"source"`
	Unit        string            `json:"unit"`
	By          string            `json:"by,omitempty"` // user name of the reconciler that writes it
	File        string            `json:"file"`
	Line        int               `json:"line"`
	Commit      *traceCommit      `json:"commit,omitempty"` // the newest of its fields' commits
	Fields      []traceField      `json:"fields"`
	Differences []traceDifference `json:"differences,omitempty"` // with --live
}

type traceCommit struct {
	Hash    string `json:"hash"`
	Author  string `json:"author"` // a claim of the commit
	Date    string `json:"date"`
	Subject string `json:"subject"`
	State   string `json:"state,omitempty"` // of its signature, when the source asks for one: trusted, refused, unsigned
	Signer  string `json:"signer,omitempty"`
}

type traceField struct {
	Path    string       `json:"path"`
	Value   any          `json:"value"`
	Default bool         `json:"default,omitempty"` // no file says it: the API server fills it in, or the reconciler does
	Source  string       `json:"source,omitempty"`  // that file lies in, where it is another one than the object's
	File    string       `json:"file,omitempty"`
	Line    int          `json:"line,omitempty"`
	Commit  *traceCommit `json:"commit,omitempty"`
}

type traceDifference struct {
	Path     string `json:"path"`
	Cause    string `json:"cause"`
	Live     any    `json:"live,omitempty"`
	Declared any    `json:"declared,omitempty"`
}

type traceFlags struct {
	config    configFlags
	namespace string
	field     string
	rev       string
	live      string
	offline   bool
	format    string
}

func (p *program) traceCommand() *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use:   "trace KIND/NAME [-n NAMESPACE]",
		Short: "Say which commit declares an object and each of its fields",
		Long: strings.TrimSpace(`
Renders what the sources of gitgate.yaml declare at a revision (default HEAD), as their reconcilers would, and says of the object and each of its
fields where it is written, and which commit last changed that line: a blame of the rendered object. A field that no file says is a
default of the API server, or what the reconciler adds.

--live compares a live object (kubectl get -o yaml) with it and says which fields do not trace.

Exit codes: 0 it is declared, and a live object traces; 1 it is not declared, or a field does not trace; 2 flags or configuration; 3 could not tell.`),
		Example: "  gitgate trace Deployment/web -n shop\n  gitgate trace Deployment/web -n shop --field spec.replicas\n  kubectl get deployment web -n shop -o yaml | gitgate trace Deployment/web -n shop --live -",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("trace: expected one object KIND/NAME, got %d arguments", len(args))
			}
			kind, name, ok := strings.Cut(args[0], "/")
			if !ok || kind == "" || name == "" {
				return usage("trace %s: expected KIND/NAME, such as Deployment/web", args[0])
			}
			if f.format != "text" && f.format != "json" {
				return usage("-o %s: expected text or json", f.format)
			}
			return p.trace(cmd.Context(), f, kind, name)
		},
	}
	f.config.add(cmd)
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", "namespace of the object (default: the only one that has such an object)")
	cmd.Flags().StringVar(&f.field, "field", "", "only this field, with what is below it: spec.replicas")
	cmd.Flags().StringVar(&f.rev, "rev", "", "commit that is asked (default HEAD)")
	cmd.Flags().StringVar(&f.live, "live", "", "file with the live object, or - for stdin")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "fetch no source that lies in another repository: read what an earlier run fetched")
	cmd.Flags().StringVarP(&f.format, "output", "o", "text", "text or json")
	return cmd
}

func (p *program) trace(ctx context.Context, f traceFlags, kind, name string) error {
	repo, _, err := git.Open(ctx, p.dir)
	if err != nil {
		return exitWith(exitUsage, err)
	}
	head, err := resolve(ctx, repo, orHEAD(f.rev))
	repo.Close()
	if err != nil {
		return err
	}
	l, err := p.loadAt(ctx, f.config, head)
	if err != nil {
		return err
	}
	r, err := p.openRevisions(ctx, l.Config, l.rules, otherSources{offline: f.offline})
	if err != nil {
		return err
	}
	defer r.close()
	state, err := r.at(ctx, head, nil)
	if err != nil {
		return err
	}
	d, err := p.findDeclared(state, kind, f.namespace, name)
	if err != nil {
		return err
	}
	t := &tracer{r: r, blamer: r.renderer.Blamer(), signed: map[string]*traceCommit{}, rules: map[string]*trust.Rules{}}
	t.rulesOf = func(source string) (*trust.Rules, error) { return p.trustFor(ctx, l, f.config, source, head) }
	out, err := t.describe(ctx, d, head, f.field)
	if err != nil {
		return err
	}
	traces := true
	if f.live != "" {
		if out.Differences, err = p.compareLive(ctx, f.live, l, state, d); err != nil {
			return err
		}
		traces = len(out.Differences) == 0
	}
	if f.format == "json" {
		err = writeJSON(p.stdout, out)
	} else {
		err = p.writeTrace(out, f)
	}
	if err == nil && !traces {
		return exitWith(exitDenied, nil)
	}
	return err
}

// findDeclared finds the one object of that kind (Deployment, deployment, deployments, Deployment.apps) and name.
func (p *program) findDeclared(s *desired.State, kind, namespace, name string) (*desired.Declared, error) {
	var found []policies.Key
	for key := range s.Keys() {
		if key.Name == name && (namespace == "" || key.Namespace == namespace) && sameKind(kind, key.GroupKind) {
			found = append(found, key)
		}
	}
	slices.SortFunc(found, func(a, b policies.Key) int {
		return strings.Compare(a.Namespace+"/"+a.GroupKind.String(), b.Namespace+"/"+b.GroupKind.String())
	})
	switch len(found) {
	case 1:
		return s.Find(found[0])[0], nil
	case 0:
		for _, text := range opaque(s) {
			fmt.Fprintf(p.stderr, "gitgate: %s\n", report.Line(text))
		}
		for _, v := range s.Problems() {
			fmt.Fprintf(p.stderr, "gitgate: %s\n", report.Line(policies.ErrorAt(v.Pos, errors.New(v.Message)).Error()))
		}
		where := ""
		if namespace != "" {
			where = " in namespace " + namespace
		}
		return nil, exitWith(exitDenied, fmt.Errorf("%s %s%s: no source declares it at this revision (%s)", kind, name, where, s.Summary()))
	}
	var names []string
	for _, key := range found {
		names = append(names, key.GroupKind.String()+" in "+orDash(key.Namespace))
	}
	return nil, usage("%s %s: is declared %d times, say which with -n or KIND.GROUP: %s", kind, name, len(found), strings.Join(names, ", "))
}

func sameKind(asked string, gk policies.GroupKind) bool {
	kind, group, named := strings.Cut(asked, ".")
	if named && group != gk.Group {
		return false
	}
	lower := strings.ToLower(gk.Kind)
	asked = strings.ToLower(kind)
	return asked == lower || asked == lower+"s" || asked == lower+"es" || asked == strings.TrimSuffix(lower, "y")+"ies"
}

// trustFor are the rules of a source by which its commits' signatures are shown; nil when it asks for none.
func (p *program) trustFor(ctx context.Context, l *loaded, flags configFlags, source string, h git.Hash) (*trust.Rules, error) {
	for i, s := range l.Config.Sources {
		if s.Name != source || s.Trust == nil {
			continue
		}
		files, _, err := p.configOf(ctx, flags, h)
		if err != nil {
			return nil, err
		}
		rules, err := trustRules(l.Config, i, files)
		if err != nil {
			p.printError(err, l.prefix)
			return nil, exitWith(exitUsage, nil)
		}
		return rules, nil
	}
	return nil, nil
}

// compareLive says which fields of a live object do not trace to what is declared.
func (p *program) compareLive(ctx context.Context, file string, l *loaded, s *desired.State, d *desired.Declared) ([]traceDifference, error) {
	if err := ctx.Err(); err != nil {
		return nil, exitWith(exitUnjudged, errInterrupted)
	}
	in := p.stdin
	if file != "-" {
		opened, err := os.Open(p.abs(file))
		if err != nil {
			return nil, usage("--live: %w", err)
		}
		defer opened.Close()
		in = opened
	}
	text, err := readBounded(in, maxTrustFile)
	if err != nil {
		return nil, usage("--live %s: %w", file, err)
	}
	objects, found := manifest.Decode(file, text, manifest.DefaultLimits())
	if len(found) > 0 || len(objects) != 1 {
		return nil, usage("--live %s: expected one object, got %d, with %d problems", file, len(objects), len(found))
	}
	live := objects[0]
	if live.Kind.GroupKind() != d.Key.GroupKind || live.Name != d.Key.Name || live.Namespace != d.Key.Namespace {
		return nil, usage("--live %s: is %s, and %s is asked for", file, live, d.Object)
	}
	declared, err := d.Object.Stored()
	if err != nil {
		return nil, exitWith(exitUnjudged, fmt.Errorf("%s: defaults are not known: %w", d.Object, err))
	}
	if live.Kind != d.Object.Kind {
		if declared, err = l.rules.Convert(s.Set(nil), d.Object, live.Kind); err != nil {
			return nil, exitWith(exitUnjudged, fmt.Errorf("%s as %s: %w", d.Object, live.Kind.APIVersion(), err))
		}
	}
	content := trace.Content{
		Declared: declared, New: live.Map(),
		Lists: func(at policies.Path) trace.List {
			switch values, keys := l.rules.List(s.Set(nil), live.Kind, at); {
			case values:
				return trace.List{Type: trace.ListSet}
			case len(keys) > 0:
				return trace.List{Type: trace.ListMap, Keys: keys}
			}
			return trace.List{}
		},
		Opaque: func(at policies.Path) bool {
			return slices.ContainsFunc(d.Opaque, func(o policies.Path) bool { return slices.Equal(o, at) })
		},
	}
	secret := live.Kind.GroupKind() == policies.GroupKind{Kind: "Secret"}
	out := []traceDifference{}
	for _, x := range trace.Compare(content) {
		t := traceDifference{Path: x.Path.String(), Cause: x.Cause.String(), Live: x.Got, Declared: x.Declared}
		if secret && hidden(x.Path) {
			t.Live, t.Declared = maskedUnlessAbsent(x.Got != nil), maskedUnlessAbsent(x.Declared != nil)
		}
		out = append(out, t)
	}
	return out, nil
}

func (p *program) writeTrace(out *traceOutput, f traceFlags) error {
	name := out.Name
	if out.Namespace != "" {
		name = out.Namespace + "/" + name
	}
	fmt.Fprintf(p.stdout, "%s %s is declared in %s:%d\n", out.Kind, report.Line(name), report.Line(out.File), out.Line)
	fmt.Fprintf(p.stdout, "  by %s of source %s, revision %.10s\n", report.Line(out.Unit), out.Source, out.Revision)
	if c := out.Commit; c != nil {
		fmt.Fprintf(p.stdout, "  last changed by %.10s, %s, %s: %s\n", c.Hash, report.Line(c.Author), c.Date, report.Line(c.Subject))
		if c.State != "" {
			fmt.Fprintf(p.stdout, "  signature %s %s\n", c.State, report.Line(c.Signer))
		}
	}
	fmt.Fprintln(p.stdout)
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	for _, field := range out.Fields {
		fmt.Fprintf(w, "%s\t%s\t%s\n", report.Line(field.Path), shownValue(field.Value), traceOrigin(field))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if f.live == "" {
		return nil
	}
	return p.writeDifferences(p.stdout, out)
}

func traceOrigin(f traceField) string {
	switch {
	case f.Default:
		return "default"
	case f.File == "":
		return "-"
	}
	at := fmt.Sprintf("%s:%d", report.Line(f.File), f.Line)
	if f.Commit == nil {
		return at
	}
	return fmt.Sprintf("%s  %.10s  %s  %s", at, f.Commit.Hash, f.Commit.Date, report.Line(f.Commit.Author))
}

func (p *program) writeDifferences(w io.Writer, out *traceOutput) error {
	if len(out.Differences) == 0 {
		_, err := fmt.Fprintln(w, "\nthe live object traces: every field is declared, or a default")
		return err
	}
	fmt.Fprintln(w, "\nthe live object does not trace:")
	for _, d := range out.Differences {
		if d.Path == "" {
			_, err := fmt.Fprintln(w, "  "+d.Cause)
			return err
		}
		if _, err := fmt.Fprintf(w, "  %s: %s: live %s, declared %s\n", report.Line(d.Path), d.Cause, shownValue(d.Live), shownValue(d.Declared)); err != nil {
			return err
		}
	}
	return nil
}
