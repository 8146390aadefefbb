package desired

import (
	"context"
	"slices"
	"strings"

	"gitgate.dev/gitgate/desired/argocd"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

func (r *Renderer) renderApplication(ctx context.Context, d *declaration, in *reader) (*outcome, error) {
	out := newOutcome(d, serviceAccount(r.o.ArgoCDNamespace, "argocd-application-controller"))
	u := &out.unit
	a, err := argocd.Parse(d.from)
	if err != nil {
		return out, err
	}
	u.Prune = a.Prunes()
	u.Cascades = cascades(d.from)
	if where := a.Spec.Destination; !r.here(where.Server, where.Name) {
		u.Elsewhere = orElse(where.Server, where.Name)
		return out, nil
	}
	settings := r.argoCDSettings(in)
	if settings.impersonates {
		account, err := r.impersonated(a, in)
		if err != nil {
			return out, err
		}
		if namespace, name, ok := strings.Cut(account, ":"); ok {
			u.ServiceAccount, u.Actor = account, serviceAccount(namespace, name)
		}
	}
	out.namespace = a.Spec.Destination.Namespace
	first := true
	objects, notes, err := a.Render(ctx, func(_ context.Context, address, revision string) (*tree.View, error) {
		s, err := r.sourceOf(d.source, address, revision, func(err error) error { return err })
		if err != nil {
			return nil, err
		}
		if first {
			first, u.Source = false, s.Name
		}
		return in.view(s.Name), nil
	}, settings.Config)
	if a.Spec.Source != nil {
		u.Path = cleanPath(a.Spec.Source.Path)
	}
	out.argocd(objects)
	out.notes = notes
	return out, err
}

// argoCDSettings is what of Argo CD's settings says what is applied, and by whom.
type argoCDSettings struct {
	argocd.Config
	impersonates bool // the service accounts that projects name apply their Applications
}

// argoCDSettings are those of the options, else those of ConfigMap argocd-cm where Git declares it, else Argo CD's defaults. Whether
// it impersonates only that ConfigMap says: without it, a project that names service accounts is taken at its word.
func (r *Renderer) argoCDSettings(in *reader) argoCDSettings {
	s := argoCDSettings{impersonates: true, Config: argocd.Config{
		Namespace: r.o.ArgoCDNamespace, Tracking: r.o.Tracking, InstanceLabel: r.o.InstanceLabel, InstallationID: r.o.InstallationID, Servers: r.o.Clusters, Cluster: r.o.Cluster,
	}}
	declared := in.object(policies.Key{GroupKind: policies.GroupKind{Kind: "ConfigMap"}, Namespace: r.o.ArgoCDNamespace, Name: "argocd-cm"})
	if declared == nil {
		return s
	}
	setting := func(name string) string {
		v, _ := textAt(declared, "data", name)
		return v
	}
	s.impersonates = setting("application.sync.impersonation.enabled") == "true"
	s.Tracking = argocd.Tracking(orElse(string(s.Tracking), setting("application.resourceTrackingMethod")))
	s.InstanceLabel = orElse(s.InstanceLabel, setting("application.instanceLabelKey"))
	s.InstallationID = orElse(s.InstallationID, setting("installationID"))
	return s
}

// impersonated is the service account that applies a, "namespace:name"; "" for Argo CD's own. Only a project that Git declares can
// name one.
func (r *Renderer) impersonated(a *argocd.Application, in *reader) (string, error) {
	o := in.object(policies.Key{GroupKind: kindAppProject, Namespace: r.o.ArgoCDNamespace, Name: orElse(a.Spec.Project, "default")})
	if o == nil {
		return "", nil
	}
	project, err := argocd.ParseProject(o)
	if err != nil {
		return "", err
	}
	return project.ServiceAccount(a)
}

func (o *outcome) argocd(objects []argocd.Object) {
	for _, b := range objects {
		kind, _ := b.Content["kind"].(string)
		written := kustomize.ID{Kind: kind}
		if meta, ok := b.Content["metadata"].(map[string]any); ok {
			written.Name, _ = meta["name"].(string)
		}
		o.objects = append(o.objects, rendered{
			content: b.Content, file: b.Origin.File, commit: git.Hash(b.Origin.Commit), line: b.Origin.Line, written: written, opaque: b.Opaque, hook: len(b.Hooks) > 0, keeps: b.Keeps, source: b.Source,
		})
	}
}

// inCluster is how Argo CD names the cluster that it runs in.
const inCluster = "https://kubernetes.default.svc"

// here says whether an Application is applied to the cluster of the sources.
func (r *Renderer) here(server, name string) bool {
	switch {
	case server != "":
		return server == inCluster || slices.Contains(r.o.Clusters, server)
	case name != "":
		return name == "in-cluster" || slices.Contains(r.o.Clusters, name)
	}
	return true
}

// cascades says whether deleting an Application deletes what it applied.
func cascades(o *policies.Object) bool {
	finalizers, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "finalizers"})
	list, _ := finalizers.([]any)
	return slices.ContainsFunc(list, func(f any) bool {
		s, _ := f.(string)
		return s == "resources-finalizer.argocd.argoproj.io" || s == "resources-finalizer.argocd.argoproj.io/background" || s == "resources-finalizer.argocd.argoproj.io/foreground"
	})
}

// renderApplicationSet gives the Applications that a set makes: they are objects that its controller writes.
func (r *Renderer) renderApplicationSet(ctx context.Context, d *declaration, in *reader) (*outcome, error) {
	out := newOutcome(d, serviceAccount(r.o.ArgoCDNamespace, "argocd-applicationset-controller"))
	out.namespace = d.from.Namespace
	u := &out.unit
	set, err := argocd.ParseSet(d.from)
	if err != nil {
		return out, err
	}
	u.Prune = set.Spec.SyncPolicy.ApplicationsSync == "" || set.Spec.SyncPolicy.ApplicationsSync == "sync" || set.Spec.SyncPolicy.ApplicationsSync == "create-delete"
	u.Cascades = u.Prune && !set.Spec.SyncPolicy.PreserveResourcesOnDeletion
	applications, notes, err := set.Generate(ctx, func(_ context.Context, address, revision string) (*tree.View, error) {
		s, err := r.sourceOf(d.source, address, revision, func(err error) error { return err })
		if err != nil {
			return nil, err
		}
		return in.view(s.Name), nil
	})
	out.notes = notes
	for _, a := range applications {
		out.objects = append(out.objects, rendered{
			content: a.Map(), file: d.place.file, line: d.place.line, written: kustomize.ID{Kind: kindApplicationSet.Kind, Namespace: d.from.Namespace, Name: d.from.Name},
		})
	}
	return out, err
}
