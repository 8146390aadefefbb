package desired

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"gitgate.dev/gitgate/desired/flux"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

// unitID names a unit across revisions.
type unitID struct {
	source          string // of the root of a source; "" otherwise
	kind            string
	namespace, name string
}

func (u *Unit) id() unitID { return idOf(u.Unit, u.Source) }

func idOf(u policies.Unit, source string) unitID {
	if u.Kind == "" {
		return unitID{source: source, name: u.Name}
	}
	return unitID{kind: u.Kind, namespace: u.Namespace, name: u.Name}
}

// declaration is an object that makes a reconciler apply something, or the root of a source.
type declaration struct {
	id     unitID
	object []byte // packed content, for the comparison of inputs; nil for a root
	source string // of the object; for a root the source itself
	from   *policies.Object
	place  place
}

// rendered is one object of a unit before it is packed.
type rendered struct {
	content map[string]any
	file    string
	written kustomize.ID
	opaque  []policies.Path
	hook    bool
	read    *policies.Object // the document that it is, when nothing changed it; nil otherwise
}

// outcome is what rendering a declaration gave: the unit as its object says it, and its objects.
type outcome struct {
	unit      Unit
	namespace string // of namespaced objects that name none; "" when nothing says
	objects   []rendered
	needs     []need
}

// need is a unit that another one waits for.
type need struct {
	id  unitID
	pos policies.Position
}

// The kinds of objects that declare units.
var (
	kindKustomization  = policies.GroupKind{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"}
	kindHelmRelease    = policies.GroupKind{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"}
	kindGitRepository  = policies.GroupKind{Group: "source.toolkit.fluxcd.io", Kind: "GitRepository"}
	kindApplication    = policies.GroupKind{Group: "argoproj.io", Kind: "Application"}
	kindApplicationSet = policies.GroupKind{Group: "argoproj.io", Kind: "ApplicationSet"}
	kindDefinition     = policies.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
)

func declaresUnit(gk policies.GroupKind) bool {
	switch gk {
	case kindKustomization, kindHelmRelease, kindApplication, kindApplicationSet:
		return true
	}
	return false
}

// renderDeclaration renders one unit. Its error is why it cannot be rendered; the outcome says what is known all the same.
func (r *Renderer) renderDeclaration(ctx context.Context, d *declaration, in *reader) (*outcome, error) {
	switch d.id.kind {
	case "":
		return r.renderRoot(ctx, d, in)
	case kindKustomization.Kind:
		return r.renderKustomization(ctx, d, in)
	default:
		return &outcome{unit: Unit{Unit: policies.Unit{Kind: d.id.kind, Namespace: d.id.namespace, Name: d.id.name}, Source: d.source}},
			&kustomize.OpaqueError{What: d.from.String(), Reason: "objects of this kind are not rendered"}
	}
}

func (r *Renderer) renderRoot(ctx context.Context, d *declaration, in *reader) (*outcome, error) {
	s := r.sources[d.source]
	out := &outcome{
		unit:      Unit{Unit: policies.Unit{Name: s.Path}, Source: s.Name, Path: s.Path},
		namespace: "default",
	}
	built, err := kustomize.Build(ctx, in.view(s.Name), s.Path, true, nil)
	if err != nil {
		return out, err
	}
	for _, b := range built {
		out.objects = append(out.objects, rendered{content: b.Content, file: b.File, written: b.Written})
	}
	return out, nil
}

func (r *Renderer) renderKustomization(ctx context.Context, d *declaration, in *reader) (*outcome, error) {
	out := &outcome{unit: Unit{
		Unit: policies.Unit{Kind: d.id.kind, Namespace: d.id.namespace, Name: d.id.name}, Source: d.source,
		Actor: serviceAccount(r.o.FluxNamespace, "kustomize-controller"),
	}}
	u := &out.unit
	k, err := flux.Parse(d.from)
	if err != nil {
		return out, err
	}
	u.Cascades = k.Spec.Prune && (k.Spec.DeletionPolicy == "" || k.Spec.DeletionPolicy == "MirrorPrune" || k.Spec.DeletionPolicy == "Delete")
	u.Path, u.Prune, u.Suspended = path.Clean(strings.TrimLeft(k.Spec.Path, "/")), k.Spec.Prune, k.Spec.Suspend
	if u.Path == "." {
		u.Path = ""
	}
	if account := k.Spec.ServiceAccount; account != "" {
		u.ServiceAccount, u.Actor = k.Metadata.Namespace+":"+account, serviceAccount(k.Metadata.Namespace, account)
	}
	for i, ref := range k.Spec.DependsOn {
		id := unitID{kind: kindKustomization.Kind, namespace: orElse(ref.Namespace, k.Metadata.Namespace), name: ref.Name}
		out.needs = append(out.needs, need{id: id, pos: d.from.Locate(policies.Path{"spec", "dependsOn", i}, policies.AtValue)})
	}
	if k.Spec.KubeConfig != nil {
		u.Elsewhere = "kubeConfig of " + d.from.String()
		return out, nil
	}
	s, err := r.fluxSource(d, in, k.Spec.SourceRef, policies.Path{"spec", "sourceRef"})
	if err != nil {
		return out, err
	}
	u.Source = s.Name
	objects, err := k.Render(ctx, in.view(s.Name), func(kind, namespace, name string) *policies.Object {
		return in.object(policies.Key{GroupKind: policies.GroupKind{Kind: kind}, Namespace: namespace, Name: name})
	})
	if err != nil {
		return out, err
	}
	for _, o := range objects {
		out.objects = append(out.objects, rendered{content: o.Content, file: o.File, written: o.Written, opaque: o.Opaque})
	}
	return out, nil
}

// fluxSource is the source that a Flux object refers to: the GitRepository has to be declared by Git too, or nobody could say
// what it is.
func (r *Renderer) fluxSource(d *declaration, in *reader, ref flux.Reference, field policies.Path) (*Source, error) {
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
	return r.sourceOf(d.source, address, revision, at)
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

// object is the declared object of a key as the renderers read it, nil when Git declares none.
func (r *reader) object(key policies.Key) *policies.Object {
	e := r.lookup(key)
	if e == nil {
		return nil
	}
	content, err := e.words.Unpack(e.content)
	if err != nil {
		return nil
	}
	return policies.NewObject(content, policies.Origin{File: e.place.file, Line: e.place.line, Column: e.place.column}, nil, nil)
}

func serviceAccount(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

// groupsOf are the groups of a service account, as the API server adds them.
func groupsOf(user string) []string {
	rest, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return []string{"system:authenticated"}
	}
	namespace, _, _ := strings.Cut(rest, ":")
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
}

func splitOptions(s string) []string {
	options := strings.Split(s, ",")
	for i := range options {
		options[i] = strings.TrimSpace(options[i])
	}
	return options
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func textAt(o *policies.Object, steps ...any) (string, bool) {
	v, _ := policies.Lookup(o.Map(), steps)
	s, ok := v.(string)
	return s, ok
}

func withoutUser(address string) string {
	before, after, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	if i := strings.LastIndexByte(after, '@'); i >= 0 && !strings.Contains(after[:i], "/") {
		after = after[i+1:]
	}
	return before + "://" + after
}

var errNamespace = errors.New("object has no namespace, and nothing says which: its reconciler refuses it")
