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
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// locator finds the fields of a rendered object in the files that they come from: the manifest itself, a patch, or what a
// kustomization says of images, replicas, labels. It reads when it is asked.
type locator struct {
	repo    *git.Repo
	place   place
	kind    string
	name    string // as rendered
	content map[string]any
	files   map[string]git.Hash // see result.layers

	// templates finds the fields of an object that a template made; nil when there is none.
	templates func(context.Context) policies.Source

	once    sync.Once
	base    *policies.Object // nil when the document is not known
	layers  []layer
	layered sync.Once
}

// layer is a document that may change objects: a patch, a kustomization, or the object that declares the unit.
type layer struct {
	object *policies.Object
	says   policies.Path // where in object what a kustomization says begins; nil for a patch
	lines  int           // lines that were put before the text
}

const (
	maxLayers     = 200              // files that are looked at for one object
	locateTimeout = 20 * time.Second // of reading one object's files
)

// locator is what finds the fields of an entry, nil when it is not known where it is written.
func (r *Renderer) locator(source string, e *entry, content map[string]any, files map[string]git.Hash, templates func(context.Context) policies.Source) policies.Source {
	if e.place.file == "" {
		return nil
	}
	return &locator{repo: r.sources[source].Repo, place: e.place, kind: e.kind.Kind, name: e.key.Name, content: content, files: files, templates: templates}
}

// Locate implements policies.Source.
func (l *locator) Locate(p policies.Path, at policies.Aspect) (policies.Position, int) {
	ctx, cancel := context.WithTimeout(context.Background(), locateTimeout)
	defer cancel()
	l.once.Do(func() { l.base = l.document(ctx) })
	if l.base == nil && l.templates != nil {
		if t := l.templates(ctx); t != nil {
			return t.Locate(p, at)
		}
	}
	whole := policies.Position{File: l.place.file, Line: l.place.line, Column: l.place.column}
	if len(p) == 0 {
		if l.base == nil {
			return whole, 0
		}
		return l.base.Locate(nil, at), 0
	}
	want, has := policies.Lookup(l.content, p)
	if l.base != nil {
		if q, ok := translate(l.content, l.base.Map(), p); ok {
			if got, _ := policies.Lookup(l.base.Map(), q); !has || comparable(got, want) {
				return l.base.Locate(q, at), len(p)
			}
		}
	}
	if has {
		l.layered.Do(func() { l.layers = l.read(ctx) })
		for i := len(l.layers) - 1; i >= 0; i-- {
			if pos, ok := l.layers[i].find(l, p, want); ok {
				return pos, len(p)
			}
		}
	}
	if l.base == nil {
		return whole, 0
	}
	for n := len(p); n > 0; n-- {
		if q, ok := translate(l.content, l.base.Map(), p[:n]); ok {
			return l.base.Locate(q, at), n
		}
	}
	return l.base.Locate(nil, at), 0
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

// document is the manifest that the object was read from.
func (l *locator) document(ctx context.Context) *policies.Object {
	if l.place.document < 0 || l.place.blob == "" {
		return nil
	}
	text, err := l.repo.Blob(ctx, l.place.blob, tree.MaxFile)
	if err != nil {
		return nil
	}
	objects, _ := manifest.Decode(l.place.file, text, manifest.DefaultLimits())
	i := slices.IndexFunc(objects, func(o *policies.Object) bool { return o.Origin.Document == l.place.document })
	if i < 0 {
		return nil
	}
	return objects[i]
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
		text, err := l.repo.Blob(ctx, l.files[name], tree.MaxFile)
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
			switch {
			case o.Kind.GroupKind() == kindKustomization:
				out = append(out, layer{object: o, says: policies.Path{"spec"}})
			case l.same(o):
				out = append(out, layer{object: o})
			}
		}
	}
	return out
}

// same says whether a patch is one of the object.
func (l *locator) same(o *policies.Object) bool {
	return o.Kind.Kind == l.kind && (o.Name == l.name || strings.Contains(l.name, o.Name))
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
