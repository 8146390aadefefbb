package desired

import (
	"context"
	"slices"

	"gitgate.dev/gitgate/desired/argocd"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// owner is the object that declares a unit, as far as it is known where it is written: what its reconciler adds to every object is
// said there.
type owner struct {
	unit   policies.Unit
	source string // whose file it is written in
	place  place
}

// owner is who declares what d says; nil for the root of a source.
func (d *declaration) owner() *owner {
	if d.id.kind == "" || d.place.file == "" {
		return nil
	}
	return &owner{unit: policies.Unit{Kind: d.id.kind, Namespace: d.id.namespace, Name: d.id.name}, source: orElse(d.place.source, d.source), place: d.place}
}

// added is the field of a unit's own object that says what its reconciler puts at p of every object: its marks, and the namespace
// of objects that name none. ok is false for a field that it does not add.
func (o *owner) added(p policies.Path) (said []policies.Path, ok bool) {
	if len(p) < 2 || p[0] != "metadata" {
		return nil, false
	}
	key, _ := p[len(p)-1].(string)
	name, namespace := policies.Path{"metadata", "name"}, policies.Path{"metadata", "namespace"}
	switch {
	case len(p) == 2 && p[1] == "namespace":
		switch o.unit.Kind {
		case kindApplication.Kind:
			return []policies.Path{{"spec", "destination", "namespace"}}, true
		case kindHelmRelease.Kind:
			return []policies.Path{{"spec", "targetNamespace"}, namespace}, true
		}
		return []policies.Path{{"spec", "targetNamespace"}}, true
	case len(p) == 3 && p[1] == "finalizers":
		return []policies.Path{name}, o.unit.Kind == kindApplication.Kind
	case len(p) != 3 || p[1] != "labels" && p[1] != "annotations":
		return nil, false
	}
	switch key {
	case "kustomize.toolkit.fluxcd.io/name":
		return []policies.Path{name}, o.unit.Kind == kindKustomization.Kind
	case "kustomize.toolkit.fluxcd.io/namespace":
		return []policies.Path{namespace, name}, o.unit.Kind == kindKustomization.Kind
	case "helm.toolkit.fluxcd.io/name", "app.kubernetes.io/managed-by":
		return []policies.Path{name}, o.unit.Kind == kindHelmRelease.Kind
	case "helm.toolkit.fluxcd.io/namespace":
		return []policies.Path{namespace, name}, o.unit.Kind == kindHelmRelease.Kind
	case "meta.helm.sh/release-name":
		return []policies.Path{{"spec", "releaseName"}, name}, o.unit.Kind == kindHelmRelease.Kind
	case "meta.helm.sh/release-namespace":
		return []policies.Path{{"spec", "targetNamespace"}, namespace, name}, o.unit.Kind == kindHelmRelease.Kind
	case argocd.TrackingAnnotation, "argocd.argoproj.io/installation-id", "app.kubernetes.io/instance":
		return []policies.Path{name}, o.unit.Kind == kindApplication.Kind
	}
	return nil, false
}

// object reads the object; nil when it is not known where in its file it stands, or made by a template.
func (o *owner) object(ctx context.Context, repo *git.Repo) *policies.Object {
	return documentAt(ctx, repo, o.place)
}

// documentAt reads the manifest at a place; nil when it is not known which one that is.
func documentAt(ctx context.Context, repo *git.Repo, at place) *policies.Object {
	if at.document < 0 || at.blob == "" {
		return nil
	}
	text, err := repo.Blob(ctx, at.blob, tree.MaxFile)
	if err != nil {
		return nil
	}
	objects, _ := manifest.Decode(at.file, text, manifest.DefaultLimits())
	i := slices.IndexFunc(objects, func(o *policies.Object) bool { return o.Origin.Document == at.document })
	if i < 0 {
		return nil
	}
	return objects[i]
}
