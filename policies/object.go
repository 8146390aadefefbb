package policies

import (
	"encoding/json"
	"fmt"
	"strings"
)

// GroupKind names a kind of object in every version of its API group. In a Match or a Policy's Refers "*" stands for all.
type GroupKind struct{ Group, Kind string }

func (gk GroupKind) String() string {
	if gk.Group == "" {
		return gk.Kind
	}
	return gk.Kind + "." + gk.Group
}

// GroupVersionKind names a kind of object in one version.
type GroupVersionKind struct{ Group, Version, Kind string }

// GroupKind drops the version.
func (gvk GroupVersionKind) GroupKind() GroupKind { return GroupKind{gvk.Group, gvk.Kind} }

// APIVersion is the text of the field apiVersion: "v1", "apps/v1".
func (gvk GroupVersionKind) APIVersion() string {
	if gvk.Group == "" {
		return gvk.Version
	}
	return gvk.Group + "/" + gvk.Version
}

// ParseAPIVersion splits the text of apiVersion into group and version.
func ParseAPIVersion(s string) (group, version string) {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return "", s
}

// Origin says where an object was read.
type Origin struct {
	File     string // slash-separated, as it is shown to the user; "" for an object of the cluster
	Document int    // index of the object in the file, from 0; items of a List are counted on
	Line     int    // 1-based line of the object's first byte; 0 when unknown
	Column   int    // 1-based, in bytes
	Commit   string // full hash of the commit that declares it; "" when none is known
}

// Position is a place in a text.
type Position struct {
	File       string // slash-separated
	Line       int    // 1-based; 0 when only the file is known
	Column     int    // 1-based, in bytes
	EndColumn  int    // 1-based, exclusive, on the same line; 0 when unknown
	Text       string // the source line without its end, for the caret; may be cut and may be empty
	TextColumn int    // the column of Text's first byte, when a long line is cut before it; 0 or 1 when it is not
}

// InText returns the columns as offsets in Text, which may lie outside of it; -1 for one that is not known.
func (p Position) InText() (from, to int) {
	offset := func(column int) int {
		if column == 0 {
			return -1
		}
		return max(column-max(p.TextColumn, 1), -1)
	}
	return offset(p.Column), offset(p.EndColumn)
}

// Aspect says which part of a field a violation is about.
type Aspect int

const (
	AtValue Aspect = iota // the field's value
	AtKey                 // the field's name, as for an unknown field
)

// Source finds fields in the text that an object was read from.
type Source interface {
	// Locate returns the place of the field at p, or of its deepest ancestor that is written, and how many steps of p that one
	// has. A field whose value is a map or a list is shown at its key.
	Locate(p Path, at Aspect) (pos Position, steps int)
}

// TextSource is a Source that can show its text, so that a place inside a long value (an expression in a block scalar) can be
// named.
type TextSource interface {
	Source
	// Line returns line n, from 1, without its end; ok is false outside the text.
	Line(n int) (text string, ok bool)
}

// Object is one manifest with its origin. It is immutable: nobody may change what its methods return. Each representation is
// made at most once and shared.
type Object struct {
	Kind      GroupVersionKind
	Namespace string // as written; "" when not written
	Name      string // metadata.name; "" for an object that has only generateName
	Origin    Origin

	content map[string]any
	root    any // of a document; nil for an object
	plain   bool
	source  Source
	stored  func(*Object) (map[string]any, error)
	memo    memo
}

// NewObject makes an object of content: the manifest decoded as encoding/json would, but with int64 for whole numbers that fit.
// source may be nil (an object of the cluster). stored gives the object as the API server would store it, and nil means that
// content is that already. The identity fields that are no strings read as "": what is wrong with them is for schema to say.
func NewObject(content map[string]any, origin Origin, source Source, stored func(*Object) (map[string]any, error)) *Object {
	o := &Object{Origin: origin, content: content, source: source, stored: stored}
	apiVersion, _ := content["apiVersion"].(string)
	o.Kind.Group, o.Kind.Version = ParseAPIVersion(apiVersion)
	o.Kind.Kind, _ = content["kind"].(string)
	if meta, ok := content["metadata"].(map[string]any); ok {
		o.Name, _ = meta["name"].(string)
		o.Namespace, _ = meta["namespace"].(string)
	}
	return o
}

// NewDocument makes an object of what is no Kubernetes object: a document of any sort, whose root may be a map, a list or a scalar. What it
// calls its apiVersion, kind and metadata is read as NewObject reads it, because policies that are written for kinds ask for them.
func NewDocument(root any, origin Origin, source Source) *Object {
	content, _ := root.(map[string]any)
	o := NewObject(content, origin, source, nil)
	o.root, o.plain = root, true
	return o
}

// Value is what policies see of o: Settled, or the root of a document.
func (o *Object) Value() any {
	if o.plain {
		return o.root
	}
	return o.Settled()
}

// WithStored returns an object that shares o's content and source and is stored as the given function says. o keeps its own.
func (o *Object) WithStored(stored func(*Object) (map[string]any, error)) *Object {
	return &Object{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Origin: o.Origin, content: o.content, source: o.source, stored: stored}
}

// Map is the object as it was written.
func (o *Object) Map() map[string]any { return o.content }

type storedKey struct{}

// Stored is the object as the API server would store it: defaults filled in. The error says why that cannot be known, for
// example because the object breaks its schema.
func (o *Object) Stored() (map[string]any, error) {
	if o.stored == nil {
		return o.content, nil
	}
	v, err := o.memo.derive(storedKey{}, func() (any, error) { return o.stored(o) })
	if err != nil {
		return nil, err
	}
	m, _ := v.(map[string]any)
	return m, nil
}

// Settled is Stored, or Map for an object whose stored form cannot be known: what a policy judges, so that a manifest with a
// schema error is still told everything else that is wrong with it.
func (o *Object) Settled() map[string]any {
	if m, err := o.Stored(); err == nil && m != nil {
		return m
	}
	return o.content
}

type jsonKey struct{}

// JSON is Settled as JSON.
func (o *Object) JSON() ([]byte, error) {
	v, err := o.memo.derive(jsonKey{}, func() (any, error) { return json.Marshal(o.Settled()) })
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o, err)
	}
	return v.([]byte), nil
}

// Derive returns what build makes of o under key, made at most once for the life of o: a Rego value, a CEL value. The key is
// of a type that only its package has.
func (o *Object) Derive(key any, build func() (any, error)) (any, error) {
	return o.memo.derive(key, build)
}

// Locate returns where the field at p, or the deepest written ancestor of it, stands. A field that is only in the stored form
// (a default) is shown at the deepest ancestor that the file has.
func (o *Object) Locate(p Path, at Aspect) Position {
	if o.source == nil {
		return Position{File: o.Origin.File, Line: o.Origin.Line, Column: o.Origin.Column}
	}
	pos, steps := o.source.Locate(p, at)
	if steps == 0 && len(p) > 0 && p[0] != "kind" {
		// Nothing of the path is written: the line with the kind names the object better than its first byte.
		pos, _ = o.source.Locate(Path{"kind"}, AtValue)
	}
	return pos
}

// Line returns line n, from 1, of the text that o was read from; ok is false outside it and for an object without a text.
func (o *Object) Line(n int) (text string, ok bool) {
	if s, is := o.source.(TextSource); is {
		return s.Line(n)
	}
	return "", false
}

// String is the object's name in messages: Deployment shop/web, Namespace shop.
func (o *Object) String() string {
	if o.plain {
		return "document " + o.Origin.File
	}
	name := o.Name
	if name == "" {
		name = "(unnamed)"
		if g, ok := Lookup(o.content, Path{"metadata", "generateName"}); ok {
			if s, ok := g.(string); ok && s != "" {
				name = s + "*"
			}
		}
	}
	kind := o.Kind.Kind
	if kind == "" {
		kind = "object"
	}
	if o.Namespace != "" {
		return kind + " " + o.Namespace + "/" + name
	}
	return kind + " " + name
}
