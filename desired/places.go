package desired

import (
	"context"
	"path"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// places finds where the objects of one unit are written. Each file is read once.
type places struct {
	ctx    context.Context
	in     *reader
	source string
	files  map[string]*writtenFile
}

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
	f := p.file(o.file)
	at := f.place
	for _, w := range f.objects {
		if w.Kind.Kind == o.written.Kind && w.Name == o.written.Name && (w.Namespace == "" || o.written.Namespace == "" || w.Namespace == o.written.Namespace) {
			at.document, at.line, at.column = w.Origin.Document, w.Origin.Line, w.Origin.Column
			return at
		}
	}
	at.line = o.line
	return at
}

func (p *places) file(name string) *writtenFile {
	if f := p.files[name]; f != nil {
		return f
	}
	if p.files == nil {
		p.files = map[string]*writtenFile{}
	}
	f := &writtenFile{place: place{file: name, document: -1}}
	p.files[name] = f
	v := p.in.view(p.source)
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

// layersOf lists the files that may say something of the objects of a unit: the YAML files that it read, and the one with the
// object that declares it.
func layersOf(asked map[string]git.Hash, declared place) map[string]git.Hash {
	files := map[string]git.Hash{}
	for name, h := range asked {
		if ext := path.Ext(name); h != "" && (ext == ".yaml" || ext == ".yml") {
			files[name] = h
		}
	}
	if declared.file != "" && declared.blob != "" {
		files[declared.file] = declared.blob
	}
	return files
}
