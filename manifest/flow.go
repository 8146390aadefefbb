package manifest

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// blank passes blanks and line ends inside brackets.
func (p *parser) blank() {
	for p.i < len(p.text) {
		switch p.text[p.i] {
		case ' ', '\t', '\r':
			p.i++
		case '\n':
			p.i++
			p.line = p.i
		default:
			return
		}
	}
}

// root opens the span of the whole text, which a value at i begins.
func (p *parser) root() int {
	at, _ := p.field("", 0, 0)
	return at
}

// flow reads the value at i: a list or map in brackets, a quoted text, or a scalar inside brackets.
func (p *parser) flow() (any, bool) {
	if p.i >= len(p.text) {
		return nil, false
	}
	switch p.text[p.i] {
	case '{':
		return p.flowMap()
	case '[':
		return p.flowList()
	case '"':
		s, ok := p.doubleQuoted()
		return s, ok
	case '\'':
		if p.json {
			return nil, false
		}
		s, ok := p.singleQuoted()
		return s, ok
	default:
		if p.json {
			return p.jsonScalar()
		}
		s, ok := p.flowPlain()
		if !ok {
			return nil, false
		}
		return p.scalar(s)
	}
}

func (p *parser) flowMap() (any, bool) {
	if !p.enter() {
		return nil, false
	}
	p.i++
	m := map[string]any{}
	first := len(p.spans)
	p.blank()
	if p.at('}') {
		return m, true
	}
	for p.i < len(p.text) {
		from := p.i
		name, ok := p.flowKey()
		if !ok {
			return nil, false
		}
		end := p.i
		if p.json {
			p.blank()
		} else {
			p.spaces()
			if end-from > maxKey {
				return nil, false
			}
		}
		if !p.at(':') {
			return nil, false
		}
		if _, known := m[name]; known {
			p.doubled(name, first, from, end)
		}
		at, ok := p.field(name, from, end)
		if !ok {
			return nil, false
		}
		p.blank()
		from = p.i
		v, ok := p.flow()
		if !ok {
			return nil, false
		}
		p.close(at, v, from)
		m[name] = v
		p.blank()
		if p.at('}') {
			return m, true
		}
		if !p.at(',') {
			return nil, false
		}
		p.blank()
	}
	return nil, false
}

func (p *parser) flowList() (any, bool) {
	if !p.enter() {
		return nil, false
	}
	p.i++
	list := []any{}
	p.blank()
	if p.at(']') {
		return list, true
	}
	for p.i < len(p.text) {
		from := p.i
		at, ok := p.field("", 0, 0)
		if !ok {
			return nil, false
		}
		v, ok := p.flow()
		if !ok {
			return nil, false
		}
		p.close(at, v, from)
		list = append(list, v)
		p.blank()
		if p.at(']') {
			return list, true
		}
		if !p.at(',') {
			return nil, false
		}
		p.blank()
	}
	return nil, false
}

// at passes c when it is next; closing brackets also leave their level.
func (p *parser) at(c byte) bool {
	if p.i >= len(p.text) || p.text[p.i] != c {
		return false
	}
	p.i++
	if c == '}' || c == ']' {
		p.depth--
	}
	return true
}

func (p *parser) spaces() {
	for p.i < len(p.text) && p.text[p.i] == ' ' {
		p.i++
	}
}

// flowKey reads the key of a map in braces; i is then behind it.
func (p *parser) flowKey() (string, bool) {
	switch {
	case p.text[p.i] == '"':
		return p.doubleQuoted()
	case p.json:
		return "", false
	case p.text[p.i] == '\'':
		return p.singleQuoted()
	}
	start := p.i
	if !startsPlain(p.text[p.i:]) || p.i == p.line && isSeparator(p.text[p.i:]) {
		return "", false
	}
	for ; p.i < len(p.text); p.i++ {
		switch c := p.text[p.i]; c {
		case ':':
			if p.i+1 < len(p.text) && p.text[p.i+1] == ' ' {
				key := p.text[start:p.i]
				return key, isTextKey(key)
			}
			return "", false
		case '\n', '\r', '\t', ' ', ',', '[', ']', '{', '}', '?', '#', '"', '\'':
			return "", false
		}
	}
	return "", false
}

// flowPlain reads an unquoted scalar inside brackets, on one line.
func (p *parser) flowPlain() (string, bool) {
	if !startsPlain(p.text[p.i:]) || p.i == p.line && isSeparator(p.text[p.i:]) {
		return "", false
	}
	start := p.i
	for ; p.i < len(p.text); p.i++ {
		switch p.text[p.i] {
		case ',', ']', '}', '\n', '\r':
			s := strings.TrimRight(p.text[start:p.i], " ")
			p.last = start + len(s)
			if p.text[p.i] == '\n' || p.text[p.i] == '\r' {
				// More text on the next line would belong to it.
				p.blank()
				if p.i < len(p.text) && p.text[p.i] != ',' && p.text[p.i] != ']' && p.text[p.i] != '}' {
					return "", false
				}
			}
			return s, s != "-" && s[len(s)-1] != ':'
		case ':':
			if p.i+1 < len(p.text) && strings.IndexByte(" \t\r\n,[]{}", p.text[p.i+1]) >= 0 {
				return "", false
			}
		case '\t', '[', '{', '?', '#', '"', '\'':
			return "", false
		}
	}
	return "", false
}

// doubleQuoted reads the text in double quotes at i, on one line.
func (p *parser) doubleQuoted() (string, bool) {
	start := p.i + 1
	for j := start; j < len(p.text); j++ {
		switch c := p.text[j]; {
		case c == '"':
			p.i, p.last = j+1, j+1
			return p.text[start:j], true
		case c == '\\':
			return p.unescape(start, j)
		case c < 0x20 && (p.json || c != '\t'):
			return "", false
		}
	}
	return "", false
}

// unescape reads on at the first backslash of a text in double quotes.
func (p *parser) unescape(start, j int) (string, bool) {
	buf := append(make([]byte, 0, 2*(j-start)+32), p.text[start:j]...)
	for j < len(p.text) {
		c := p.text[j]
		switch {
		case c == '"':
			p.i, p.last = j+1, j+1
			return string(buf), true
		case c < 0x20 && (p.json || c != '\t'):
			return "", false
		case c != '\\':
			buf = append(buf, c)
			j++
			continue
		}
		if j+1 >= len(p.text) {
			return "", false
		}
		c = p.text[j+1]
		j += 2
		switch c {
		case 'n':
			buf = append(buf, '\n')
		case 't':
			buf = append(buf, '\t')
		case 'r':
			buf = append(buf, '\r')
		case 'b':
			buf = append(buf, '\b')
		case 'f':
			buf = append(buf, '\f')
		case '"', '\\':
			buf = append(buf, c)
		case '/':
			if !p.json {
				return "", false
			}
			buf = append(buf, c)
		case 'u':
			r, ok := hex4(p.text, j)
			if !ok {
				return "", false
			}
			j += 4
			if utf16.IsSurrogate(r) {
				if !p.json {
					return "", false
				}
				pair := rune(utf8.RuneError)
				if strings.HasPrefix(p.text[j:], `\u`) {
					if low, ok := hex4(p.text, j+2); ok {
						pair = utf16.DecodeRune(r, low)
					}
				}
				if r = pair; pair != utf8.RuneError {
					j += 6
				}
			}
			buf = utf8.AppendRune(buf, r)
		default:
			return "", false
		}
	}
	return "", false
}

func hex4(s string, at int) (rune, bool) {
	if at+4 > len(s) {
		return 0, false
	}
	var r rune
	for i := at; i < at+4; i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// singleQuoted reads the text in single quotes at i, on one line.
func (p *parser) singleQuoted() (string, bool) {
	start, doubled := p.i+1, false
	for j := start; j < len(p.text); j++ {
		switch p.text[j] {
		case '\'':
			if j+1 < len(p.text) && p.text[j+1] == '\'' {
				doubled = true
				j++
				continue
			}
			p.i, p.last = j+1, j+1
			if doubled {
				return strings.ReplaceAll(p.text[start:j], "''", "'"), true
			}
			return p.text[start:j], true
		case '\n', '\r':
			return "", false
		}
	}
	return "", false
}
