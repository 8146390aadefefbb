package manifest

import (
	"regexp"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// place is where one field or list item stands in a document's text.
type place struct {
	key, keyEnd int  // the field's name; both 0 for a list item and for the root
	from, to    int  // the value; to is 0 when unknown
	container   bool // the value is a map or a list
}

// index finds the places of one document.
type index interface {
	// find returns the place of p, or of its deepest ancestor that is written, and how many steps of p that one has.
	find(p policies.Path) (place, int)
}

// source finds the fields of one object of a document.
type source struct {
	doc    *document
	at     policies.Path // where the object stands in the document: items[3] of a List
	secret bool          // its values are not to be shown
	beside bool          // a Secret may be written in the same document
}

// Locate implements policies.Source. A value inside an alias or a merge is shown where the anchor has it.
func (s *source) Locate(p policies.Path, at policies.Aspect) (policies.Position, int) {
	idx := s.doc.places()
	if idx == nil {
		return s.doc.position(s.doc.first(), 0), 0
	}
	full := p
	if len(s.at) > 0 {
		full = s.at.Append(p...)
	}
	where, steps := idx.find(full)
	steps -= len(s.at)
	from, to := where.from, where.to
	if hasKey := where.keyEnd > where.key; hasKey && (at == policies.AtKey || where.container || where.from == where.to) {
		from, to = where.key, where.keyEnd
	}
	pos := s.doc.position(from, to)
	if s.secret || s.beside {
		unseen(&pos)
	}
	if s.secret && hidden(p, pos.Text) || s.beside && hidden(nil, pos.Text) {
		pos.Text = maskLine(pos.Text)
		if pos.EndColumn > len(pos.Text)+1 {
			pos.EndColumn = 0
		}
	}
	return pos, max(steps, 0)
}

// start is the place of the object's first byte.
func (s *source) start() (policies.Position, int) {
	if len(s.at) == 0 {
		return s.doc.position(s.doc.first(), 0), 0
	}
	return s.Locate(nil, policies.AtValue)
}

// places makes the index once.
func (d *document) places() index {
	d.once.Do(func() { d.index = d.buildIndex() })
	return d.index
}

// first is the offset of the first byte that is neither blank nor comment.
func (d *document) first() int {
	for i := 0; i < len(d.text); {
		switch d.text[i] {
		case ' ', '\t', '\r', '\n':
			i++
		case '#':
			n := strings.IndexByte(d.text[i:], '\n')
			if n < 0 {
				return i
			}
			i += n
		default:
			return i
		}
	}
	return 0
}

// hidden says whether the source line of a field of a Secret may show a value. A line that names data may be a whole object.
func hidden(p policies.Path, line string) bool {
	if len(p) > 0 && (p[0] == "data" || p[0] == "stringData") {
		return true
	}
	return strings.Contains(line, "data") || strings.Contains(line, "stringData") || strings.Contains(line, "last-applied-configuration")
}

var secretKind = regexp.MustCompile(`\bkind["']?\s*:\s*["']?Secret\b`)

// maybeSecret says whether the text, which could not be read, may be a Secret.
func (d *document) maybeSecret() bool {
	if d.secret == "" {
		d.secret = "no"
		if strings.Contains(d.text, "Secret") && secretKind.MatchString(d.text) {
			d.secret = "yes"
		}
	}
	return d.secret == "yes"
}

// maskLine keeps what stands before the first colon of a source line.
func maskLine(line string) string {
	if i := strings.IndexByte(line, ':'); i >= 0 {
		if strings.TrimSpace(line[i+1:]) == "" {
			return line
		}
		return line[:i+1] + " ***"
	}
	blank := len(line) - len(strings.TrimLeft(line, " \t-"))
	if blank == len(line) {
		return line
	}
	return line[:blank] + "***"
}

// listStep reads a step as an index of a list: some policy languages write indexes as text.
func listStep(step any) (int, bool) {
	switch s := step.(type) {
	case int:
		return s, s >= 0
	case string:
		n, err := strconv.Atoi(s)
		return n, err == nil && n >= 0
	}
	return 0, false
}
