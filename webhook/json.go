package webhook

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// parser reads one JSON text (RFC 8259) into maps, lists, strings, bools, nil, int64 for whole numbers that fit, and float64: what
// policies.NewObject wants. It is strict where encoding/json is not (a key twice, broken UTF-8), bounded in depth and in the number
// of values, and makes no copy of strings without escapes: they share the text's memory. Maps and lists that request.oldObject has letter for letter
// as request.object has them are read once, and both share them.
type parser struct {
	text   string
	at     int
	depth  int // levels that are left
	values int // map entries and list items that are left

	level   int
	request bool   // inside the field request of the outermost map
	uid     string // of the field request.uid as soon as it was read, so that a text that breaks off later can be answered

	created bool   // request.operation is CREATE: there will be no request.oldObject
	noting  bool   // inside request.object
	parts   []part // of request.object: itself, and what is in it, each before what is in that
	like    int    // in request.oldObject, 1 + the part that stands where the map or list stands that is read next; 0 for none
}

// part is a map or list in request.object.
type part struct {
	key   string // of the map around it; "" in a list
	value any
	text  string
	next  int // the part after those that are in it
}

// The parts that are remembered: no more than maxParts, nor what is in a field of managedFields that lists the fields of a manager.
const (
	maxParts  = 128
	ownedKey  = "fieldsV1"
	someParts = 48 // most objects have no more
)

// parseJSON reads all of text. uid is request.uid also when there is an error further on.
func parseJSON(text string, depth, values int) (v any, uid string, err error) {
	p := parser{text: text, depth: depth, values: values}
	if !utf8.ValidString(text) {
		// What can be read up to there may still name the request.
		p.text = strings.ToValidUTF8(text, "�")
		_, _ = p.value()
		return nil, p.uid, errors.New("it is not UTF-8")
	}
	v, err = p.value()
	if err == nil {
		if p.space(); p.at < len(p.text) {
			err = p.wrong("text follows the value")
		}
	}
	return v, p.uid, err
}

func (p *parser) wrong(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", p.at, fmt.Sprintf(format, args...))
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// next goes past white space and returns the byte there, 0 at the end.
func (p *parser) next() byte {
	if p.at < len(p.text) && p.text[p.at] > ' ' {
		return p.text[p.at]
	}
	p.space()
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *parser) value() (any, error) {
	switch c := p.next(); c {
	case 0:
		if p.at < len(p.text) {
			return nil, p.wrong("a value cannot begin with %q", c)
		}
		return nil, p.wrong("the text ends where a value is expected")
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		return p.string()
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return p.number()
		}
		return nil, p.wrong("a value cannot begin with %q", c)
	}
}

func (p *parser) word(w string) error {
	if !strings.HasPrefix(p.text[p.at:], w) {
		return p.wrong("expected %s", w)
	}
	p.at += len(w)
	return nil
}

func (p *parser) enter() error {
	if p.depth == 0 {
		return p.wrong("too many levels")
	}
	p.depth--
	p.level++
	p.at++
	return nil
}

func (p *parser) leave() {
	p.at++
	p.depth++
	p.level--
}

func (p *parser) count() error {
	if p.values == 0 {
		return p.wrong("too many values")
	}
	p.values--
	return nil
}

func (p *parser) object() (map[string]any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	like := p.likeness()
	m := map[string]any{}
	if p.next() == '}' {
		p.leave()
		return m, nil
	}
	for {
		if p.next() != '"' {
			return nil, p.wrong("expected a key in quotes")
		}
		if err := p.count(); err != nil {
			return nil, err
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if p.next() != ':' {
			return nil, p.wrong("expected a colon after a key")
		}
		p.at++
		var v any
		if p.level <= outerLevels {
			v, err = p.outer(key)
		} else {
			v, err = p.inner(key, &like)
		}
		if err != nil {
			return nil, err
		}
		if p.level == 2 && p.request && key == "uid" {
			p.uid, _ = v.(string)
		}
		before := len(m)
		if m[key] = v; len(m) == before {
			return nil, p.wrong("key %q comes twice", shortened(key))
		}
		switch p.next() {
		case ',':
			p.at++
		case '}':
			p.leave()
			return m, nil
		default:
			return nil, p.wrong("expected a comma or } in a map")
		}
	}
}

// outerLevels are those of the review and of its request.
const outerLevels = 2

// outer reads the value of a key of the review or of its request.
func (p *parser) outer(key string) (any, error) {
	if p.level == 1 {
		p.request = key == "request"
	}
	if p.level == 1 || !p.request {
		return p.value()
	}
	switch key {
	case "operation":
		v, err := p.value()
		p.created = v == "CREATE"
		return v, err
	case "object":
		if p.next() != '{' || p.created || len(p.parts) > 0 {
			return p.value()
		}
		p.parts, p.noting = make([]part, 0, someParts), true
		i := p.begin("")
		v, err := p.value()
		p.end(i, v)
		p.noting = false
		return v, err
	case "oldObject":
		if p.next() == '{' && len(p.parts) > 0 {
			p.like = 1
		}
	}
	v, err := p.value()
	p.like = 0
	return v, err
}

// inner reads a value that is further inside, of a key or in a list, where like goes from part to part of what stands there in request.object. The
// stack is as deep as the text is: what need not lie in it does not, and a new goroutine need not grow its own.
func (p *parser) inner(key string, like *likeness) (any, error) {
	c := p.next()
	if c != '{' && c != '[' {
		return p.value()
	}
	noted := -1
	switch {
	case p.noting:
		noted = p.begin(key)
	case like.at > 0:
		known, same := like.find(p.parts, key, p.text[p.at:])
		if same {
			p.at += len(p.parts[known].text)
			return p.parts[known].value, nil
		}
		if known > 0 {
			p.like = known + 1
		}
	}
	var v any
	var err error
	if c == '{' {
		v, err = p.object()
	} else {
		v, err = p.array()
	}
	p.end(noted, v)
	return v, err
}

// begin remembers where a map or list begins; -1 for one that is not to be remembered.
//
//go:noinline
func (p *parser) begin(key string) int {
	i := len(p.parts)
	if i == maxParts {
		return -1
	}
	p.parts = append(p.parts, part{key: key, text: p.text[p.at:]})
	p.noting = key != ownedKey
	return i
}

// end remembers what begin has begun, of which v was read up to here.
//
//go:noinline
func (p *parser) end(i int, v any) {
	if i < 0 {
		return
	}
	part := &p.parts[i]
	part.value, part.text, part.next = v, part.text[:len(part.text)-(len(p.text)-p.at)], len(p.parts)
	p.noting = true
}

// likeness is a walk over the parts that are in one part: at is the one to look at next, 0 for none, and end the one after the last.
type likeness struct{ from, at, end int }

// likeness is that of the map or list that is read now.
func (p *parser) likeness() (l likeness) {
	if p.like > 0 {
		l = likeness{from: p.like, at: p.like, end: p.parts[p.like-1].next}
		p.like = 0
	}
	return l
}

// maxAlike is how many items of a list one item is compared with: managedFields are sorted by time, so that a manager's moves when it writes.
const maxAlike = 8

// find returns the part of a key, or the next of a list, that rest begins with: the text of a part is a whole map or list, so that what begins as it
// does is it. same is false for one that only stands there; 0 is none. Both objects mostly have their keys in one order.
func (l *likeness) find(parts []part, key, rest string) (known int, same bool) {
	left := maxAlike
	for _, r := range [2][2]int{{l.at, l.end}, {l.from, l.at}} {
		for i := r[0]; i < r[1] && left > 0; i = parts[i].next {
			if parts[i].key != key {
				continue
			}
			if strings.HasPrefix(rest, parts[i].text) {
				l.at = parts[i].next
				return i, true
			}
			if left--; known == 0 {
				known = i
			}
			if key != "" {
				left = 0
			}
		}
	}
	if known > 0 {
		l.at = parts[known].next
	}
	return known, false
}

func (p *parser) array() ([]any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	like := p.likeness()
	list := []any{}
	if p.next() == ']' {
		p.leave()
		return list, nil
	}
	for {
		if err := p.count(); err != nil {
			return nil, err
		}
		v, err := p.inner("", &like)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch p.next() {
		case ',':
			p.at++
		case ']':
			p.leave()
			return list, nil
		default:
			return nil, p.wrong("expected a comma or ] in a list")
		}
	}
}

// shortened bounds a foreign text in a message.
func shortened(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
