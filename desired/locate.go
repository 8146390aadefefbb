package desired

import (
	"context"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/kustomize/api/konfig"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// locator finds the fields of a rendered object in the files that they come from: the manifest itself, a patch, what a
// kustomization says of images, replicas, labels, the template of a chart or the values that it was given, or the object that
// declares the unit. It reads when it is asked.
type locator struct {
	renderer *Renderer
	source   string // whose files place and files are
	place    place
	kind     policies.GroupVersionKind
	name     string // as rendered
	content  map[string]any
	files    map[string]git.Hash // see result.layers
	owner    *owner              // nil for an object of a root, or when it is no more known

	// templates finds the fields of an object that a template made; nil when there is none.
	templates func(context.Context) policies.Source

	once    sync.Once
	base    *policies.Object // nil when the document is not known
	prefix  policies.Path    // where in base the object begins: the template of an ApplicationSet
	layers  []layer
	layered sync.Once
	owned   sync.Once
	by      *policies.Object // of owner; nil when it cannot be read
}

// spot is where a field is written.
type spot struct {
	policies.Position
	steps  int    // of the path that the place has
	source string // "" when only commit is known
	commit git.Hash
}

// layer is a document that may change objects: a patch, a kustomization, or the object that declares the unit.
type layer struct {
	object *policies.Object
	says   policies.Path // where in object what a kustomization says begins; nil for a patch
	lines  int           // lines that were put before the text
	owner  bool          // object is the one that declares the unit
}

const (
	maxLayers     = 200              // files that are looked at for one object
	locateTimeout = 20 * time.Second // of reading one object's files
)

// locator is what finds the fields of an entry, nil when it is not known where it is written.
func (r *Renderer) locator(source string, e *entry, content map[string]any, files map[string]git.Hash, by *owner, templates func(context.Context) policies.Source) policies.Source {
	if e.place.file == "" {
		return nil
	}
	return &locator{
		renderer: r, source: orElse(e.place.source, source), place: e.place, kind: e.kind, name: e.key.Name, content: content, files: files, owner: by, templates: templates,
	}
}

// Locate implements policies.Source.
func (l *locator) Locate(p policies.Path, at policies.Aspect) (policies.Position, int) {
	ctx, cancel := context.WithTimeout(context.Background(), locateTimeout)
	defer cancel()
	s := l.find(ctx, p, at)
	source := s.source
	if source == "" && l.owner != nil && s.commit == l.owner.place.commit {
		source = l.owner.source
	}
	s.File = l.renderer.labelled(source, s.File)
	return s.Position, s.steps
}

func (l *locator) repo() *git.Repo { return l.renderer.sources[l.source].Repo }

// here is a spot in the files of the unit.
func (l *locator) here(pos policies.Position, steps int) spot {
	return spot{pos, steps, l.source, l.place.commit}
}

func (l *locator) find(ctx context.Context, p policies.Path, at policies.Aspect) spot {
	l.once.Do(func() {
		l.base = documentAt(ctx, l.repo(), l.place)
		if l.base != nil && l.base.Kind.GroupKind() == kindApplicationSet && l.kind.GroupKind() == kindApplication {
			l.prefix = policies.Path{"spec", "template"}
		}
	})
	want, has := policies.Lookup(l.content, p)
	var template policies.Source
	if l.base == nil && l.templates != nil {
		template = l.templates(ctx)
	}
	if s, ok := l.written(template, p, at, want, has); ok {
		return s
	}
	if has && len(p) > 0 {
		l.layered.Do(func() { l.layers = l.read(ctx) })
		for i := len(l.layers) - 1; i >= 0; i-- {
			if pos, ok := l.layers[i].find(l, p, want); ok {
				if l.layers[i].owner {
					return l.declaring(pos, len(p))
				}
				return l.here(pos, len(p))
			}
		}
		if s, ok := l.added(ctx, p); ok {
			return s
		}
	}
	switch {
	case template != nil:
		pos, steps := template.Locate(p, at)
		return l.here(pos, steps)
	case l.base == nil:
		return l.here(policies.Position{File: l.place.file, Line: l.place.line, Column: l.place.column}, 0)
	}
	for n := len(p); n > 0; n-- {
		if q, ok := l.inBase(p[:n]); ok {
			return l.here(l.base.Locate(q, at), n)
		}
	}
	return l.here(l.base.Locate(nil, at), 0)
}

// written is where the manifest or template of the object itself says a field, or the value that the template writes there.
func (l *locator) written(template policies.Source, p policies.Path, at policies.Aspect, want any, has bool) (spot, bool) {
	switch {
	case template != nil:
		values, ok := template.(helm.Source)
		if !ok {
			pos, steps := template.Locate(p, at)
			return l.here(pos, steps), true
		}
		if got, ok := values.Written(p); len(p) > 0 && has && (!ok || !comparable(got, want)) {
			return spot{}, false
		}
		if at == policies.AtValue && len(p) > 0 {
			if place, ok := values.Value(p); ok {
				s := spot{place.Position, len(p), "", git.Hash(place.Commit)}
				if s.commit == l.place.commit {
					s.source = l.source
				}
				return s, true
			}
		}
		pos, steps := template.Locate(p, at)
		return l.here(pos, steps), true
	case l.base == nil || len(p) == 0:
		return spot{}, false
	}
	q, ok := l.inBase(p)
	if !ok {
		return spot{}, false
	}
	// A template of an ApplicationSet says the field in another form.
	if got, _ := policies.Lookup(l.base.Map(), q); has && l.prefix == nil && !comparable(got, want) {
		return spot{}, false
	}
	return l.here(l.base.Locate(q, at), len(p)), true
}

// inBase is the path in the manifest of a field of the object.
func (l *locator) inBase(p policies.Path) (policies.Path, bool) {
	to, _ := policies.Lookup(l.base.Map(), l.prefix)
	q, ok := translate(l.content, to, p)
	return l.prefix.Append(q...), ok
}

// added is where the object that declares the unit makes its reconciler put a field on every object.
func (l *locator) added(ctx context.Context, p policies.Path) (spot, bool) {
	if l.owner == nil {
		return spot{}, false
	}
	said, ok := l.owner.added(p)
	if !ok {
		return spot{}, false
	}
	if by := l.declarer(ctx); by != nil {
		for _, field := range said {
			if _, ok := policies.Lookup(by.Map(), field); ok {
				return l.declaring(by.Locate(field, policies.AtValue), len(p)), true
			}
		}
	}
	at := l.owner.place
	return l.declaring(policies.Position{File: at.file, Line: at.line, Column: at.column}, len(p)), true
}

// declaring is a spot in the file of the object that declares the unit.
func (l *locator) declaring(pos policies.Position, steps int) spot {
	return spot{pos, steps, l.owner.source, l.owner.place.commit}
}

// declarer is the object that declares the unit; nil when it cannot be read.
func (l *locator) declarer(ctx context.Context) *policies.Object {
	l.owned.Do(func() {
		if l.owner != nil {
			l.by = l.owner.object(ctx, l.renderer.sources[l.owner.source].Repo)
		}
	})
	return l.by
}

// comparable says whether a written value is the rendered one. What is inside maps and lists is looked at field by field.
func comparable(got, want any) bool {
	switch want.(type) {
	case map[string]any:
		_, ok := got.(map[string]any)
		return ok
	case []any:
		_, ok := got.([]any)
		return ok
	}
	return reflect.DeepEqual(got, want)
}

const kustomizationHeader = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"

// read reads the patches and kustomizations among the files of the unit, bases before what builds on them.
func (l *locator) read(ctx context.Context) []layer {
	var names []string
	for name := range l.files {
		if name != l.place.file {
			names = append(names, name)
		}
	}
	if len(names) > maxLayers {
		// Patches lie beside kustomizations: the files of other folders are most likely resources.
		folders := map[string]bool{}
		for _, name := range names {
			folders[path.Dir(name)] = folders[path.Dir(name)] || slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name))
		}
		names = slices.DeleteFunc(names, func(name string) bool { return !folders[path.Dir(name)] })
	}
	slices.Sort(names)
	var out []layer
	for _, name := range names[:min(len(names), maxLayers)] {
		text, err := l.repo().Blob(ctx, l.files[name], tree.MaxFile)
		if err != nil {
			continue
		}
		if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) {
			lines := 0
			objects, _ := manifest.Decode(name, text, manifest.DefaultLimits())
			if len(objects) == 0 {
				lines = strings.Count(kustomizationHeader, "\n")
				objects, _ = manifest.Decode(name, append([]byte(kustomizationHeader), text...), manifest.DefaultLimits())
			}
			for _, o := range objects {
				out = append(out, layer{object: o, says: policies.Path{}, lines: lines})
			}
			continue
		}
		objects, _ := manifest.Decode(name, text, manifest.DefaultLimits())
		for _, o := range objects {
			if l.same(o) {
				out = append(out, layer{object: o})
			}
		}
	}
	if by := l.declarer(ctx); by != nil {
		for _, says := range statements(by) {
			out = append(out, layer{object: by, says: says, owner: true})
		}
	}
	return out
}

// statements are the fields of the object that declares a unit that say of objects what a kustomization does, in the order in
// which they are heeded.
func statements(by *policies.Object) []policies.Path {
	out := []policies.Path{{"spec"}}
	each := func(field policies.Path, rest ...any) {
		list, _ := policies.Lookup(by.Map(), field)
		items, _ := list.([]any)
		for i := range items {
			out = append(out, field.Append(i).Append(rest...))
		}
	}
	switch by.Kind.GroupKind() {
	case kindHelmRelease:
		each(policies.Path{"spec", "postRenderers"}, "kustomize")
	case kindApplication:
		out = []policies.Path{{"spec", "source", "kustomize"}}
		each(policies.Path{"spec", "sources"}, "kustomize")
	}
	return out
}

// same says whether a patch is one of the object.
func (l *locator) same(o *policies.Object) bool {
	return o.Kind.Kind == l.kind.Kind && (o.Name == l.name || strings.Contains(l.name, o.Name))
}

// find is where a layer sets the field at p to want.
func (y *layer) find(l *locator, p policies.Path, want any) (policies.Position, bool) {
	if y.says == nil {
		q, ok := translate(l.content, y.object.Map(), p)
		if !ok {
			return policies.Position{}, false
		}
		got, _ := policies.Lookup(y.object.Map(), q)
		if !comparable(got, want) {
			return policies.Position{}, false
		}
		return y.object.Locate(q, policies.AtValue), true
	}
	field, ok := statement(y.object.Map(), y.says, l, p, want)
	if !ok {
		return policies.Position{}, false
	}
	pos := y.object.Locate(field, policies.AtValue)
	pos.Line = max(1, pos.Line-y.lines)
	return pos, true
}
