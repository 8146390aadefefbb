package desired

import (
	"context"
	"fmt"

	"gitgate.dev/gitgate/desired/flux"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

func (r *Renderer) renderKustomization(ctx context.Context, d *declaration, in *reader) (*outcome, error) {
	out := newOutcome(d, serviceAccount(r.o.FluxNamespace, "kustomize-controller"))
	u := &out.unit
	k, err := flux.Parse(d.from)
	if err != nil {
		return out, err
	}
	u.Cascades = k.Spec.Prune && (k.Spec.DeletionPolicy == "" || k.Spec.DeletionPolicy == "MirrorPrune" || k.Spec.DeletionPolicy == "Delete")
	u.Path, u.Prune, u.Suspended = cleanPath(k.Spec.Path), k.Spec.Prune, k.Spec.Suspend
	r.impersonate(u, d.from, k.Spec.ServiceAccount)
	for i, ref := range k.Spec.DependsOn {
		id := unitID{kind: kindKustomization.Kind, namespace: orElse(ref.Namespace, k.Metadata.Namespace), name: ref.Name}
		out.needs = append(out.needs, need{id: id, pos: d.from.Locate(policies.Path{"spec", "dependsOn", i}, policies.AtValue)})
	}
	if k.Spec.KubeConfig != nil {
		u.Elsewhere = "kubeConfig of " + d.from.String()
		return out, nil
	}
	s, err := r.fluxSource(ctx, d, in, k.Spec.SourceRef, policies.Path{"spec", "sourceRef"})
	if err != nil {
		return out, err
	}
	u.Source = s.Name
	if _, err := in.view(s.Name).Real(ctx, k.Spec.Path); err != nil {
		return out, policies.ErrorAt(d.from.Locate(policies.Path{"spec", "path"}, policies.AtValue), err)
	}
	objects, err := k.Render(ctx, in.view(s.Name), in.fluxObject)
	out.flux(objects)
	return out, err
}

// impersonate notes whom the controller writes a unit's objects as: the account that the object by names, or the one that the
// controllers take where none is named (--default-service-account). Both are in the namespace of the object.
func (r *Renderer) impersonate(u *Unit, by *policies.Object, account string) {
	if account = orElse(account, r.o.FluxAccount); account != "" {
		u.ServiceAccount, u.Actor = by.Namespace+":"+account, serviceAccount(by.Namespace, account)
	}
}

func (o *outcome) flux(objects []flux.Object) {
	for _, b := range objects {
		o.objects = append(o.objects, rendered{content: b.Content, file: b.File, line: b.Line, written: b.Written, opaque: b.Opaque, hook: b.Hook, keeps: b.Keeps, source: b.Source})
	}
}

// fluxObject finds an object as Flux's objects refer to others: by kind, without its group.
func (r *reader) fluxObject(kind, namespace, name string) *policies.Object {
	gk := policies.GroupKind{Kind: kind}
	if kind == kindHelmChart.Kind || kind == kindGitRepository.Kind {
		gk.Group = kindGitRepository.Group
	}
	return r.object(policies.Key{GroupKind: gk, Namespace: namespace, Name: name})
}

func (r *Renderer) renderHelmRelease(ctx context.Context, d *declaration, in *reader) (*outcome, error) {
	out := newOutcome(d, serviceAccount(r.o.FluxNamespace, "helm-controller"))
	u := &out.unit
	u.Prune, u.Cascades = true, true
	h, err := flux.ParseHelmRelease(d.from)
	if err != nil {
		return out, err
	}
	u.Suspended = h.Spec.Suspend
	account, _ := textAt(d.from, "spec", "serviceAccountName")
	r.impersonate(u, d.from, account)
	for i, ref := range h.Spec.DependsOn {
		id := unitID{kind: kindHelmRelease.Kind, namespace: orElse(ref.Namespace, d.from.Namespace), name: ref.Name}
		out.needs = append(out.needs, need{id: id, pos: d.from.Locate(policies.Path{"spec", "dependsOn", i}, policies.AtValue)})
	}
	if h.Spec.KubeConfig != nil {
		u.Elsewhere = "kubeConfig of " + d.from.String()
		return out, nil
	}
	chart, err := h.Chart(in.fluxObject)
	if err != nil {
		return out, err
	}
	s, err := r.fluxSource(ctx, d, in, chart.SourceRef, policies.Path{"spec", "chart", "spec", "sourceRef"})
	if err != nil {
		return out, err
	}
	u.Source, u.Path = s.Name, cleanPath(chart.Chart)
	out.namespace = orElse(h.Spec.TargetNamespace, d.from.Namespace)
	objects, notes, err := h.Render(ctx, in.view(s.Name), in.fluxObject, r.o.Cluster)
	out.flux(objects)
	out.notes = notes
	return out, err
}

// fluxSource is the source that a Flux object refers to: the GitRepository has to be declared by Git too, or nobody could say
// what it is. Files that its artifact leaves out are hidden.
func (r *Renderer) fluxSource(ctx context.Context, d *declaration, in *reader, ref flux.Reference, field policies.Path) (*Source, error) {
	at := func(err error) error { return policies.ErrorAt(d.from.Locate(field, policies.AtValue), err) }
	if ref.Kind != kindGitRepository.Kind {
		return nil, at(&kustomize.OpaqueError{What: fmt.Sprintf("files of %s %s", ref.Kind, ref.Name), Reason: "they are in no Git repository that is listed under sources"})
	}
	namespace := orElse(ref.Namespace, d.from.Namespace)
	repository := in.object(policies.Key{GroupKind: kindGitRepository, Namespace: namespace, Name: ref.Name})
	if repository == nil {
		return nil, at(&kustomize.OpaqueError{What: fmt.Sprintf("files of GitRepository %s/%s", namespace, ref.Name), Reason: "Git does not declare it"})
	}
	address, _ := textAt(repository, "spec", "url")
	revision, err := fluxRevision(repository)
	if err != nil {
		return nil, at(err)
	}
	s, err := r.sourceOf(d.source, address, revision, at)
	if err == nil {
		flux.Ignore(ctx, in.view(s.Name), repository)
	}
	return s, err
}

// fluxRevision is the branch that a GitRepository follows (source.toolkit.fluxcd.io/v1: commit before name, semver, tag, branch).
func fluxRevision(o *policies.Object) (string, error) {
	for _, field := range []string{"commit", "name", "semver", "tag"} {
		if v, ok := textAt(o, "spec", "ref", field); ok && v != "" {
			return "", &kustomize.OpaqueError{What: fmt.Sprintf("%s at %s %s", o, field, v), Reason: "the sources follow branches"}
		}
	}
	branch, _ := textAt(o, "spec", "ref", "branch")
	return orElse(branch, "master"), nil
}

// sourceOf is the listed source of an address and branch. Of several, the one that named it itself is preferred.
func (r *Renderer) sourceOf(from, address, branch string, at func(error) error) (*Source, error) {
	var other *Source
	for i := range r.o.Sources {
		s := r.sources[r.o.Sources[i].Name]
		if !SameRepository(s.URL, address) {
			continue
		}
		if s.Branch != "" && branch != "" && branch != "HEAD" && s.Branch != branch {
			continue
		}
		if s.Name == from {
			return s, nil
		}
		if other == nil {
			other = s
		}
	}
	if other == nil {
		return nil, at(&kustomize.OpaqueError{What: fmt.Sprintf("branch %s of %s", orElse(branch, "HEAD"), withoutUser(address)), Reason: "it is not listed under sources"})
	}
	return other, nil
}
