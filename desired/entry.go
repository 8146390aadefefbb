package desired

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"weak"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/packed"
	"gitgate.dev/gitgate/policies"
)

// entry is one object that a unit declares, kept small. It is immutable but for what is made of it when it is asked for.
type entry struct {
	key     policies.Key
	kind    policies.GroupVersionKind
	words   *packed.Words
	content []byte // packed: as it is rendered
	hook    bool
	keeps   string // why its reconciler does not delete it, beside what it says itself
	loose   bool   // whether the kind is namespaced only a CustomResourceDefinition could say: key.Namespace is right if it is
	opaque  []policies.Path
	place   place

	stored atomic.Pointer[storedForm]
	made   atomic.Pointer[madeObject]
	body   atomic.Pointer[[]byte]
}

// essence is the packed content without its metadata: what units that look an object up depend on. Who else labels it is not.
func (e *entry) essence() []byte {
	if b := e.body.Load(); b != nil {
		return *b
	}
	content, err := e.words.Unpack(e.content)
	data := e.content
	if err == nil {
		delete(content, "metadata")
		if packed, err := e.words.Pack(content); err == nil {
			data = packed
		}
	}
	e.body.Store(&data)
	return data
}

// madeObject is the object of an entry for as long as somebody holds it.
type madeObject struct {
	definition *entry
	object     weak.Pointer[policies.Object]
}

// storedForm is an entry as the API server stores it.
type storedForm struct {
	definition *entry // the CustomResourceDefinition that it was made with; nil for a built-in or unknown kind
	content    []byte // packed over the entry's content
	err        error  // why it cannot be known
}

// place is where an object is written.
type place struct {
	file     string
	blob     git.Hash
	document int // -1 when it is not known which document of the file it is
	line     int
	column   int
	commit   git.Hash
	source   string // whose file it is; "" for the one of the unit
}

// newEntry packs a rendered object.
func newEntry(words *packed.Words, content map[string]any, key policies.Key, kind policies.GroupVersionKind) (*entry, error) {
	data, err := words.Pack(content)
	if err != nil {
		return nil, err
	}
	return &entry{key: key, kind: kind, words: words, content: data}, nil
}

// normal turns what YAML and JSON readers of other packages give into what policies.NewObject wants: int64 for whole numbers.
func normal(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, int64:
		return v, nil
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
		return float64(v), nil
	case float64:
		if whole := int64(v); float64(whole) == v && math.Abs(v) < 1<<53 {
			return whole, nil
		}
		return v, nil
	case map[string]any:
		for key, item := range v {
			n, err := normal(item)
			if err != nil {
				return nil, err
			}
			v[key] = n
		}
		return v, nil
	case []any:
		for i, item := range v {
			n, err := normal(item)
			if err != nil {
				return nil, err
			}
			v[i] = n
		}
		return v, nil
	default:
		return nil, fmt.Errorf("a value of type %T is no part of a manifest", v)
	}
}

// object makes the object of an entry, or finds the one that somebody still holds. source is the one whose file it is written in,
// files what its unit read, by what declares it; stored gives its stored form, made with the given definition. templates finds its fields when it
// comes from a template; nil when that cannot be told any more.
func (r *Renderer) object(e *entry, source string, files map[string]git.Hash, by *owner, definition *entry, templates func(context.Context) policies.Source, stored func(*policies.Object) *storedForm) *policies.Object {
	if m := e.made.Load(); m != nil && m.definition == definition {
		if o := m.object.Value(); o != nil {
			return o
		}
	}
	content, err := e.words.Unpack(e.content)
	if err != nil {
		// The bytes were packed here, or their checksum was right. What cannot be read declares nothing that anything would equal.
		content = map[string]any{"apiVersion": e.kind.APIVersion(), "kind": e.kind.Kind}
	}
	o := policies.NewObject(content, r.origin(source, e.place), r.locator(source, e, content, files, by, templates), func(o *policies.Object) (map[string]any, error) {
		form := stored(o)
		if form.err != nil {
			return nil, form.err
		}
		return e.words.UnpackOver(form.content, o.Map())
	})
	e.made.Store(&madeObject{definition: definition, object: weak.Make(o)})
	return o
}

// origin is where an object of a unit of a source is written, as messages name it.
func (r *Renderer) origin(source string, p place) policies.Origin {
	return policies.Origin{
		File: r.labelled(orElse(p.source, source), p.file), Document: max(p.document, 0), Line: p.line, Column: p.column, Commit: string(p.commit),
	}
}

// labelled is the name of a file of a source in messages.
func (r *Renderer) labelled(source, file string) string {
	s := r.sources[source]
	if s == nil || file == "" || strings.HasPrefix(file, s.Label) {
		return file
	}
	return s.Label + file
}

// label puts the labels of their sources on the places of a unit's problems: they are in the files that it renders, or in the one
// of the object that declares it.
func (r *Renderer) label(m *made) {
	at := func(pos *policies.Position) {
		if m.owner == nil || pos.File != r.labelled(m.owner.source, m.owner.place.file) {
			pos.File = r.labelled(m.unit.Source, pos.File)
		}
	}
	for i := range m.problems {
		at(&m.problems[i].Pos)
	}
	for i := range m.opaque {
		at(&m.opaque[i].Pos)
	}
}

// locator is what finds the fields of an entry of u, nil when it is not known where it is written. content is its object's.
func (s *State) locator(u *Unit, e *entry, content map[string]any) policies.Source {
	return s.renderer.locator(u.Source, e, content, u.result.files(u.Source), u.result.owner, s.template(u, e))
}

// object is the object of an entry of u.
func (s *State) object(u *Unit, e *entry) *policies.Object {
	return s.renderer.object(e, u.Source, u.result.files(u.Source), u.result.owner, s.definitions[e.key.GroupKind], s.template(u, e), func(o *policies.Object) *storedForm { return s.settle(u, e, o) })
}

// settle finds out how the API server stores an entry. o is its object, nil when there is none at hand.
func (s *State) settle(u *Unit, e *entry, o *policies.Object) *storedForm {
	definition := s.definitions[e.key.GroupKind]
	if f := e.stored.Load(); f != nil && f.definition == definition {
		return f
	}
	form := &storedForm{definition: definition}
	if o == nil {
		o = s.object(u, e)
	}
	stored, err := s.renderer.o.Rules.Stored(s.set, o)
	if err == nil {
		form.content, err = e.words.PackOver(stored, o.Map())
	}
	form.err = err
	e.stored.Store(form)
	return form
}
