package desired

import (
	"context"
	"maps"
	"path"
	"slices"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// places finds where the objects of one unit are written. Each file is read once.
type places struct {
	ctx    context.Context
	in     *reader
	source string // of the unit
	files  map[writtenName]*writtenFile
}

// writtenName is a file of one of the sources that a unit reads.
type writtenName struct{ source, file string }

// writtenFile is a file and the objects in it.
type writtenFile struct {
	place   place
	objects []*policies.Object
}

// find is the place of a rendered object: its document, or the file that it was made from.
func (p *places) find(o rendered) place {
	if o.file == "" {
		return place{document: -1}
	}
	source := p.sourceOf(o)
	f := p.file(source, o.file)
	at := f.place
	if source != p.source {
		at.source = source
	}
	for _, w := range f.objects {
		if w.Kind.Kind == o.written.Kind && w.Name == o.written.Name && (w.Namespace == "" || o.written.Namespace == "" || w.Namespace == o.written.Namespace) {
			at.document, at.line, at.column = w.Origin.Document, w.Origin.Line, w.Origin.Column
			return at
		}
	}
	at.line = o.line
	return at
}

// sourceOf is the source whose file an object comes from: an Application can have several.
func (p *places) sourceOf(o rendered) string {
	if o.commit == "" || p.in.view(p.source).Commit() == o.commit {
		return p.source
	}
	for _, name := range slices.Sorted(maps.Keys(p.in.views)) {
		if p.in.views[name].Commit() == o.commit {
			return name
		}
	}
	return p.source
}

func (p *places) file(source, name string) *writtenFile {
	if f := p.files[writtenName{source, name}]; f != nil {
		return f
	}
	if p.files == nil {
		p.files = map[writtenName]*writtenFile{}
	}
	f := &writtenFile{place: place{file: name, document: -1}}
	p.files[writtenName{source, name}] = f
	v := p.in.view(source)
	e, err := v.Entry(p.ctx, name)
	if err != nil {
		return f
	}
	f.place.file, f.place.blob, f.place.commit = e.Path, e.Hash, v.Commit()
	if text, err := v.ReadFile(p.ctx, name); err == nil {
		f.objects, _ = manifest.Decode(e.Path, text, manifest.DefaultLimits())
	}
	return f
}

// layersOf lists the files that may say something of the objects of a unit: the YAML files that it read.
func layersOf(asked map[string]git.Hash) map[string]git.Hash {
	files := map[string]git.Hash{}
	for name, h := range asked {
		if ext := path.Ext(name); h != "" && (ext == ".yaml" || ext == ".yml") {
			files[name] = h
		}
	}
	return files
}
