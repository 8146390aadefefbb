package manifest

import "strings"

// parser reads JSON, and the part of YAML that manifests are written in, straight into values; strings are parts of the text.
// It is here for speed alone: whatever it is not sure of it leaves to the library (document.library), and a fuzz test holds
// that what it does read has the library's value. It gives up by returning false, without a word: the library has the words.
type parser struct {
	text   string
	limits Limits
	json   bool // text is JSON: its numbers and escapes, no YAML

	i      int // next byte
	line   int // offset of the beginning of the line that i is on
	col    int // column, from 0, of the token at i after next; -1 at the end
	depth  int
	fields int
	dup    bool // some map has a key twice

	rec   bool   // keep spans and doubles
	spans []span // in the order of the text, a field before what is inside it
	twice []double
	last  int // end of the scalar that was read last
}

// span is the place of one value and how many spans are inside it.
type span struct {
	place
	name  string // the field's name; "" for a list item
	inner int    // how many of the following spans are inside this one
}

// double is a key that is written twice: offsets of both.
type double struct {
	name               string
	first, second, end int
}

// maxKey is how long a key may be that is not announced by `?`: 1024 characters in YAML, and no longer for sure in bytes.
const maxKey = 1000

// parsed is what a parser read.
type parsed struct {
	value    any
	problems []Problem
}

// parse reads d without the library, or gives up.
func (d *document) parse(lim Limits) (parsed, bool) {
	if d.odd {
		return parsed{}, false
	}
	p := &parser{text: d.text, limits: lim, json: d.json}
	value, ok := p.document()
	if !ok {
		return parsed{}, false
	}
	out := parsed{value: value}
	if p.dup {
		p = &parser{text: d.text, limits: lim, json: d.json, rec: true}
		if _, ok := p.document(); !ok {
			return parsed{}, false
		}
		for _, t := range p.twice {
			out.problems = d.duplicate(out.problems, t.name, t.first, t.second, t.end)
		}
	}
	return out, true
}

// buildIndex finds the places of all fields: with the parser when it can read the text, else with the library.
func (d *document) buildIndex() index {
	p := &parser{text: d.text, limits: DefaultLimits(), json: d.json, rec: true}
	if _, ok := p.document(); ok && !d.odd && len(p.spans) > 0 {
		return newSpanIndex(p.spans)
	}
	if root, err := d.tree(); err == nil && root != nil {
		return &nodeIndex{doc: d, root: root}
	}
	return nil
}

// document reads the whole text as one value.
func (p *parser) document() (any, bool) {
	if p.json {
		p.blank()
		root, from := p.root(), p.i
		v, ok := p.flow()
		if !ok {
			return nil, false
		}
		p.close(root, v, from)
		p.blank()
		return v, p.i == len(p.text)
	}
	return p.yaml()
}

// enter goes one level down, and says whether limits allow it.
func (p *parser) enter() bool {
	p.depth++
	return p.depth <= p.limits.Depth
}

// field counts a field and, when spans are kept, opens its span. It returns what close needs.
func (p *parser) field(name string, key, keyEnd int) (int, bool) {
	p.fields++
	if p.rec {
		p.spans = append(p.spans, span{name: name, place: place{key: key, keyEnd: keyEnd}})
	}
	return len(p.spans) - 1, p.fields <= p.limits.Fields
}

// close ends the span that field opened.
func (p *parser) close(at int, v any, from int) {
	if !p.rec {
		return
	}
	s := &p.spans[at]
	s.from, s.inner = from, len(p.spans)-at-1
	switch v.(type) {
	case map[string]any, []any:
		s.container = true
	default:
		s.to = p.last
	}
}

// doubled notes that the key at [from:end] is already in the map whose first span is at.
func (p *parser) doubled(name string, at, from, end int) {
	p.dup = true
	if !p.rec || len(p.twice) > maxProblems {
		return
	}
	for i := at; i < len(p.spans); i += p.spans[i].inner + 1 {
		if p.spans[i].name == name {
			p.twice = append(p.twice, double{name, p.spans[i].key, from, end})
			return
		}
	}
}

// indexByte is the offset of the next c at or after from, or the text's length.
func (p *parser) indexByte(from int, c byte) int {
	if i := strings.IndexByte(p.text[from:], c); i >= 0 {
		return from + i
	}
	return len(p.text)
}
