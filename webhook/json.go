package webhook

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// parser reads one JSON text (RFC 8259) into maps, lists, strings, bools, nil, int64 for whole numbers that fit, and float64: what
// policies.NewObject wants. It is strict where encoding/json is not (a key twice, broken UTF-8), bounded in depth and in the number
// of values, and makes no copy of strings without escapes: they share the text's memory. What request.oldObject has word for word as
// request.object has it is read once, and both share it.
type parser struct {
	text   string
	at     int
	depth  int // levels that are left
	values int // map entries and list items that are left

	level   int
	request bool   // inside the field request of the outermost map
	uid     string // of the field request.uid as soon as it was read, so that a text that breaks off later can be answered

	inside bool   // inside request.object or request.oldObject
	again  bool   // inside the latter
	parent string // the field of the object that is read
	parts  []part // of request.object
}

// part is a map or list of request.object: a field of it, or of one of its fields.
type part struct {
	parent, key string // parent is "" for a field of the object itself
	text        string
	value       any
}

// maxParts bounds how many are remembered, and so how many a part of request.oldObject is compared with.
const maxParts = 64

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
		if p.level <= memberLevels {
			v, err = p.member(key)
		} else {
			v, err = p.value()
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

// memberLevels are those of which member wants to know; below them it is left out, and with it half of the stack.
const memberLevels = 4

// member reads the value of a key of the map that is read, which is one of the outer memberLevels.
func (p *parser) member(key string) (any, error) {
	parent := ""
	switch p.level {
	case 1:
		p.request = key == "request"
	case 2:
		p.inside, p.again = p.request && (key == "object" || key == "oldObject"), key == "oldObject"
	case 3:
		p.parent = key
	case 4:
		parent = p.parent
	}
	if c := p.next(); !p.inside || p.level != 3 && p.level != 4 || c != '{' && c != '[' {
		return p.value()
	}
	if p.again {
		for i := range p.parts {
			if known := &p.parts[i]; known.key == key && known.parent == parent && strings.HasPrefix(p.text[p.at:], known.text) {
				p.at += len(known.text)
				return known.value, nil
			}
		}
		return p.value()
	}
	from := p.at
	v, err := p.value()
	if err == nil && len(p.parts) < maxParts {
		p.parts = append(p.parts, part{parent, key, p.text[from:p.at], v})
	}
	return v, err
}

func (p *parser) array() ([]any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	list := []any{}
	if p.next() == ']' {
		p.leave()
		return list, nil
	}
	for {
		if err := p.count(); err != nil {
			return nil, err
		}
		v, err := p.value()
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
