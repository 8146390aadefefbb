package desired

import (
	"encoding/binary"
	"encoding/json"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
)

// encoder writes what a decoder reads: numbers, texts with their lengths, and contents by where they lie.
type encoder struct {
	data    []byte
	late    []byte // what is read when it is asked for
	content [][]byte
	at      int // bytes of content so far
}

func (e *encoder) count(n int) { e.data = binary.AppendUvarint(e.data, uint64(n)) }

func (e *encoder) text(s string) {
	e.count(len(s))
	e.data = append(e.data, s...)
}

func (e *encoder) flags(flags ...bool) {
	n := 0
	for i, f := range flags {
		if f {
			n |= 1 << i
		}
	}
	e.count(n)
}

func (e *encoder) position(p policies.Position) {
	e.text(p.File)
	e.count(p.Line)
	e.count(p.Column)
	e.count(p.EndColumn)
	e.count(p.TextColumn)
	e.text(p.Text)
}

func (e *encoder) key(k policies.Key) {
	e.text(k.Group)
	e.text(k.Kind)
	e.text(k.Namespace)
	e.text(k.Name)
}

func (e *encoder) violations(all []policies.Violation) {
	e.count(len(all))
	for _, v := range all {
		e.text(v.Rule)
		e.text(v.Message)
		e.text(v.Fix)
		e.position(v.Pos)
	}
}

func (e *encoder) place(p place) {
	e.text(p.file)
	e.text(string(p.blob))
	e.text(string(p.commit))
	e.text(p.source)
	e.count(p.document + 1)
	e.count(p.line)
	e.count(p.column)
}

func (e *encoder) owner(o *owner) {
	e.flags(o != nil)
	if o == nil {
		return
	}
	for _, s := range []string{o.unit.Kind, o.unit.Namespace, o.unit.Name, o.source} {
		e.text(s)
	}
	e.place(o.place)
}

func (e *encoder) entry(o *entry) {
	e.key(o.key)
	e.text(o.kind.Version)
	e.flags(o.hook, o.loose)
	e.text(o.keeps)
	e.place(o.place)
	e.count(len(o.opaque))
	for _, p := range o.opaque {
		text, _ := json.Marshal(p) // of strings and ints
		e.text(string(text))
	}
	e.count(e.at)
	e.count(len(o.content))
	e.content = append(e.content, o.content)
	e.at += len(o.content)
}

// decoder reads what an encoder wrote. bad says that it was something else; what is read then means nothing.
type decoder struct {
	data    string
	late    []byte
	content []byte
	bad     bool
}

func (d *decoder) number() int {
	// As binary.Uvarint, for a string.
	var n uint64
	for shift := 0; shift < 63; shift += 7 {
		if d.data == "" {
			break
		}
		c := d.data[0]
		d.data = d.data[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int(n)
		}
	}
	d.bad, d.data = true, ""
	return 0
}

// count is the number of things that follow, of which each has at least one byte.
func (d *decoder) count() int {
	n := d.number()
	if n < 0 || n > len(d.data) {
		d.bad, d.data = true, ""
		return 0
	}
	return n
}

func (d *decoder) text() string {
	n := d.count()
	s := d.data[:n]
	d.data = d.data[n:]
	return s
}

func (d *decoder) flags(flags ...*bool) {
	n := d.number()
	for i, f := range flags {
		*f = n&(1<<i) != 0
	}
}

func (d *decoder) position() policies.Position {
	return policies.Position{File: d.text(), Line: d.number(), Column: d.number(), EndColumn: d.number(), TextColumn: d.number(), Text: d.text()}
}

func (d *decoder) key() policies.Key {
	return policies.Key{GroupKind: policies.GroupKind{Group: d.text(), Kind: d.text()}, Namespace: d.text(), Name: d.text()}
}

func (d *decoder) violations() []policies.Violation {
	var out []policies.Violation
	for range d.count() {
		out = append(out, policies.Violation{Rule: d.text(), Message: d.text(), Fix: d.text(), Pos: d.position()})
	}
	return out
}

func (d *decoder) place() place {
	return place{
		file: d.text(), blob: git.Hash(d.text()), commit: git.Hash(d.text()), source: d.text(),
		document: d.number() - 1, line: d.number(), column: d.number(),
	}
}

func (d *decoder) owner() *owner {
	var has bool
	if d.flags(&has); !has {
		return nil
	}
	o := &owner{}
	for _, s := range []*string{&o.unit.Kind, &o.unit.Namespace, &o.unit.Name, &o.source} {
		*s = d.text()
	}
	o.place = d.place()
	return o
}

func (d *decoder) entry(r *Renderer) *entry {
	o := &entry{key: d.key(), words: r.words}
	o.kind = policies.GroupVersionKind{Group: o.key.Group, Version: d.text(), Kind: o.key.Kind}
	d.flags(&o.hook, &o.loose)
	o.keeps = d.text()
	o.place = d.place()
	for range d.count() {
		o.opaque = append(o.opaque, d.path())
	}
	at, n := d.number(), d.number()
	if at < 0 || n < 0 || at > len(d.content) || n > len(d.content)-at {
		d.bad = true
		return o
	}
	o.content = d.content[at : at+n : at+n]
	return o
}

func (d *decoder) path() policies.Path {
	var steps []any
	if err := json.Unmarshal([]byte(d.text()), &steps); err != nil {
		d.bad = true
		return nil
	}
	for i, s := range steps {
		if n, ok := s.(float64); ok {
			steps[i] = int(n)
		}
	}
	return steps
}
