package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/breakglass"
	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/policies/trace"
)

// traced is the policy that asks which commit declared a change, the one that judges break-glass grants, and what they look at.
type traced struct {
	policies []*policies.Policy
	declared *declared
	grants   *breakglass.Set // nil without a cluster
}

// trace makes the policies as the configuration wants them; none when it asks for no trace.
func (g *gate) trace(ctx context.Context, c *bundle.Config, files fs.FS, rules *apiserver.Rules) (t traced, err error) {
	if c.Trace == nil {
		return traced{}, nil
	}
	d, err := g.follows(ctx, c, files, rules)
	if err != nil {
		return traced{}, err
	}
	t.declared = d
	known := &definitions{declared: d, cluster: g.crds}
	o := traceOptions(c)
	o.Writers = append(o.Writers, g.ownWriter()...)
	o.Index = d
	o.Owners = owners{g.cluster}
	o.Lists = func(kind policies.GroupVersionKind) func(policies.Path) trace.List {
		set := known.set()
		return func(p policies.Path) trace.List {
			switch values, keys := rules.List(set, kind, p); {
			case values:
				return trace.List{Type: trace.ListSet}
			case len(keys) > 0:
				return trace.List{Type: trace.ListMap, Keys: keys}
			}
			return trace.List{}
		}
	}
	o.Convert = func(o *policies.Object, to policies.GroupVersionKind) (map[string]any, error) {
		return rules.Convert(known.set(), o, to)
	}
	o.Applied = &applied{index: d, revisions: g.revisions, headway: g.headway, unknown: map[policies.Unit]unknownCommits{}}
	if g.grants != nil {
		rules := breakGlassRules(c)
		t.grants = g.grants.under(rules)
		o.Grants = grants{t.grants}
		t.policies = append(t.policies, breakglass.Policy(rules, g.grants.find))
	}
	p, err := trace.New(o)
	if err != nil {
		return traced{}, policies.ErrorAt(c.Position("trace"), err)
	}
	t.policies = append(t.policies, p)
	return t, nil
}

// traceOptions is what the configuration says of the trace.
func traceOptions(c *bundle.Config) trace.Options {
	o := trace.Options{Origin: c.Position("trace")}
	if c.Trace.Action != nil {
		o.Action = *c.Trace.Action
	}
	for _, r := range c.Reconcilers {
		if r.Flux != nil {
			o.Reconcilers = append(o.Reconcilers, trace.Reconciler{Sort: trace.Flux, Namespace: r.Flux.Namespace})
		}
		if r.ArgoCD != nil {
			o.Reconcilers = append(o.Reconcilers, trace.Reconciler{Sort: trace.ArgoCD, Namespace: r.ArgoCD.Namespace})
		}
	}
	for _, w := range c.Writers {
		writer := trace.Writer{Name: w.Name, Users: w.Users, Groups: w.Groups}
		for _, write := range w.Writes {
			writer.Writes = append(writer.Writes, trace.Write{
				Kinds: write.Kinds, Namespaces: write.Namespaces, Names: write.Names, Fields: write.Fields, Subresources: write.Subresources,
			})
		}
		o.Writers = append(o.Writers, writer)
	}
	for _, x := range c.Exempt {
		// What is exempt as a whole is exempt with what controllers make of it.
		if slices.Contains(x.Policies, trace.Name) && (x.Until.IsZero() || time.Now().Before(x.Until.AddDate(0, 0, 1))) {
			o.Exempt = append(o.Exempt, trace.Exempt{Namespaces: x.Namespaces, Kinds: x.Kinds, Names: x.Names, Reason: x.Reason})
		}
	}
	return o
}

// follows is the index of the sources of c: the present one when nothing that it was made of has changed.
func (g *gate) follows(ctx context.Context, c *bundle.Config, files fs.FS, rules *apiserver.Rules) (*declared, error) {
	identity := &strings.Builder{}
	o := desired.Options{Rules: rules}
	fmt.Fprintln(identity, rules.Version())
	for _, r := range c.Reconcilers {
		if r.Flux != nil && o.FluxNamespace == "" {
			o.FluxNamespace, o.FluxAccount = r.Flux.Namespace, r.Flux.DefaultServiceAccount
		}
		if r.ArgoCD != nil && o.ArgoCDNamespace == "" {
			o.ArgoCDNamespace = r.ArgoCD.Namespace
		}
	}
	fmt.Fprintln(identity, o.FluxNamespace, o.FluxAccount, o.ArgoCDNamespace)
	if len(c.Sources) == 0 {
		return nil, policies.ErrorAt(c.Position("trace"), errors.New("trace: needs sources: what Git declares is read from them"))
	}
	var sources []followed
	var errs []error
	for i, s := range c.Sources {
		rules, err := trustRules(c, i, files)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f := followed{name: s.Name, url: s.URL, branch: s.Branch}
		if err := g.locate(&f); err != nil {
			errs = append(errs, policies.ErrorAt(c.Position("sources", i), err))
			continue
		}
		fmt.Fprintf(identity, "%q %q %q %q %t\n", f.name, f.url, f.branch, s.Path, s.Referenced)
		if rules != nil {
			fmt.Fprintf(identity, "trust %s\n", trustIdentity(c, i, files))
		}
		sources = append(sources, f)
		o.Sources = append(o.Sources, desired.Source{Name: s.Name, URL: f.url, Branch: f.branch, Path: s.Path, Referenced: s.Referenced, Trust: rules})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	before := g.declared.Load()
	if before != nil && before.identity == identity.String() {
		return before, nil
	}
	for i := range sources {
		f := &sources[i]
		var err error
		if f.mirror, err = g.mirror(ctx, f.url, f.branch); err != nil {
			return nil, &outageError{fmt.Errorf("source %s: %w", f.name, err)}
		}
		o.Sources[i].Repo = f.mirror.Repo
		if o.Sources[i].Anchor, err = g.anchor(f); err != nil {
			return nil, &outageError{fmt.Errorf("source %s: %w", f.name, err)}
		}
	}
	index, err := desired.NewIndex(o)
	if err != nil {
		return nil, err
	}
	d := &declared{
		Index: index, identity: identity.String(), sources: sources, state: g.flags.state, log: g.log, metrics: g.metrics, stage: g.requests.Stage,
		floors: maps.Clone(g.floors), wake: make(chan struct{}, 1), done: make(chan struct{}), held: map[string]string{},
	}
	if r, ok := g.origin.(*repository); ok {
		d.config = r.mirror
	}
	if err := d.follow(ctx); err != nil {
		if !index.Ready() {
			return nil, &outageError{err}
		}
		g.log.Warn("git cannot be asked; what was known before goes on", "error", err.Error())
	}
	if !index.Ready() {
		return nil, &outageError{fmt.Errorf("no commit of every source is accepted: %v", d.Held())}
	}
	return d, nil
}

// anchor is the commit of a source that is accepted without being asked for a signature: the newest that was accepted here before,
// or what --anchor names.
func (g *gate) anchor(f *followed) (git.Hash, error) {
	if h, err := recalled(g.flags.state, f.name, f.url, f.branch); h != "" || err != nil {
		return h, err
	}
	for _, a := range g.flags.anchors {
		if name, commit, ok := strings.Cut(a, "="); ok && name == f.name {
			return git.Hash(commit), nil
		}
	}
	return "", nil
}

// trustIdentity is the content of the trust of source i, and of the files that it names.
func trustIdentity(c *bundle.Config, i int, files fs.FS) string {
	h := newFingerprint()
	t := c.Sources[i].Trust
	// As JSON, which follows pointers: an address would make every load another one.
	if err := json.NewEncoder(h).Encode(t); err != nil {
		return err.Error() // a struct of texts cannot fail
	}
	names := []string{}
	if t.SSH != nil {
		names = append(names, t.SSH.AllowedSigners, t.SSH.Revoked)
	}
	if t.OpenPGP != nil {
		names = append(names, t.OpenPGP.Keys...)
	}
	if t.X509 != nil {
		names = append(names, t.X509.Roots)
	}
	for _, name := range names {
		if name != "" {
			text, _ := readTrustFile(files, name) // trustRules has told of errors
			fmt.Fprintf(h, "%q %x\n", name, text)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// owners looks up live objects for the trace.
type owners struct{ cluster *cluster.Cluster }

var errNoCluster = errors.New("no cluster is connected (--kubeconfig)")

func (o owners) Get(ctx context.Context, ref trace.Ref) (*policies.Object, error) {
	if o.cluster == nil {
		return nil, errNoCluster
	}
	return o.cluster.Get(ctx, ref.Kind, ref.Namespace, ref.Name, ref.Fresh)
}

func (o owners) List(ctx context.Context, kind policies.GroupVersionKind) ([]*policies.Object, error) {
	if o.cluster == nil {
		return nil, errNoCluster
	}
	return o.cluster.List(ctx, kind)
}

// definitions are the CustomResourceDefinitions by which objects are compared: those that Git declares, and beside them those that the
// cluster has.
type definitions struct {
	declared *declared
	cluster  *crdWatch // nil without a cluster

	mu    sync.Mutex
	state *desired.State
	seen  uint64
	made  *policies.Set
}

var definitionKind = policies.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}

func (d *definitions) set() *policies.Set {
	state := d.declared.State()
	var seen uint64
	if d.cluster != nil {
		seen = d.cluster.changes.Load()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made != nil && d.state == state && d.seen == seen {
		return d.made
	}
	// Of several with one name the first counts: what Git declares, what the cluster has, and what only a tenant's unit declares.
	var all, tenants []*policies.Object
	if state != nil {
		all, tenants = state.Definitions()
	}
	if d.cluster != nil {
		all = append(all, d.cluster.List()...)
	}
	names := map[string]bool{}
	all = slices.DeleteFunc(append(all, tenants...), func(o *policies.Object) bool {
		known := names[o.Name]
		names[o.Name] = true
		return known
	})
	d.state, d.seen, d.made = state, seen, policies.NewSet(all...)
	return d.made
}
