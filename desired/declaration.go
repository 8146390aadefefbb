package desired

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
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
	place  place

	read func() *policies.Object // nil for a root
	from *policies.Object        // what read gave; nil for a root, and before it is opened
}

// open reads the object: most units are known, and need it not.
func (d *declaration) open() {
	if d.from == nil && d.read != nil {
		d.from = d.read()
	}
}

// rendered is one object of a unit before it is packed.
type rendered struct {
	content map[string]any
	file    string
	written kustomize.ID
	opaque  []policies.Path
	hook    bool
	keeps   string          // why it is not deleted when it is no longer declared, beside what it says itself; "" for nothing
	commit  git.Hash        // of file's repository; "" for the one of the unit's source
	line    int             // of file, where it begins; 0 when that is not known
	source  policies.Source // finds fields in a template; nil when file is a manifest
}

// outcome is what rendering a declaration gave: the unit as its object says it, and its objects.
type outcome struct {
	unit      Unit
	namespace string // of namespaced objects that name none; "" when nothing says
	objects   []rendered
	problems  []policies.Violation     // of single files
	notes     []*kustomize.OpaqueError // what cannot be told besides the objects
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
	kindHelmChart      = policies.GroupKind{Group: "source.toolkit.fluxcd.io", Kind: "HelmChart"}
	kindGitRepository  = policies.GroupKind{Group: "source.toolkit.fluxcd.io", Kind: "GitRepository"}
	kindApplication    = policies.GroupKind{Group: "argoproj.io", Kind: "Application"}
	kindApplicationSet = policies.GroupKind{Group: "argoproj.io", Kind: "ApplicationSet"}
	kindAppProject     = policies.GroupKind{Group: "argoproj.io", Kind: "AppProject"}
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
	case kindHelmRelease.Kind:
		return r.renderHelmRelease(ctx, d, in)
	case kindApplication.Kind:
		return r.renderApplication(ctx, d, in)
	default:
		return r.renderApplicationSet(ctx, d, in)
	}
}

// newOutcome is the outcome of a declaration of which nothing is known yet but who writes what it declares.
func newOutcome(d *declaration, actor string) *outcome {
	return &outcome{unit: Unit{Unit: policies.Unit{Kind: d.id.kind, Namespace: d.id.namespace, Name: d.id.name}, Source: d.source, Actor: actor}}
}

func (r *Renderer) renderRoot(ctx context.Context, d *declaration, in *reader) (*outcome, error) {
	s := r.sources[d.source]
	out := &outcome{
		unit:      Unit{Unit: policies.Unit{Name: s.Path}, Source: s.Name, Path: s.Path},
		namespace: "default",
	}
	files, err := in.view(s.Name).Files(ctx, s.Path)
	if err != nil {
		return out, policies.ErrorAt(policies.Position{File: s.Path}, err)
	}
	if !slices.ContainsFunc(files, isKustomization) {
		return out, out.plain(ctx, in.view(s.Name), files)
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

func isKustomization(file string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(file))
}

// plain reads manifests as they are. A file with a problem gives none, and does not keep others from theirs.
func (o *outcome) plain(ctx context.Context, v *tree.View, files []string) error {
	for _, file := range files {
		if ext := path.Ext(file); ext != ".yaml" && ext != ".yml" && ext != ".json" {
			continue
		}
		text, err := v.ReadFile(ctx, file)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			o.problems = append(o.problems, policies.Violation{Rule: RuleNotRendered, Message: err.Error(), Pos: policies.Position{File: file}})
			continue
		}
		objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
		o.problems = append(o.problems, problems...)
		if len(problems) > 0 {
			continue
		}
		for _, object := range objects {
			if object.Kind.Group == configurationGroup {
				continue // gitgate.yaml itself, which nobody applies
			}
			o.objects = append(o.objects, rendered{
				content: object.Map(), file: file, written: kustomize.ID{Kind: object.Kind.Kind, Namespace: object.Namespace, Name: object.Name},
			})
		}
	}
	return nil
}

// configurationGroup is the group of gitgate.yaml.
const configurationGroup = "gitgate.dev"

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
	return policies.NewObject(content, policies.Origin{File: e.place.file, Line: e.place.line, Column: e.place.column, Commit: string(e.place.commit)}, &lookedUp{trees: r.trees, place: e.place, content: content}, nil)
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

// cleanPath is a path in a repository without what does not matter.
func cleanPath(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

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
