package manifest

import "strings"

// yaml reads the text as a block map at the left edge or indented, or as one value in brackets.
func (p *parser) yaml() (any, bool) {
	if !p.next() {
		return nil, false
	}
	if p.col < 0 {
		return nil, true
	}
	root := p.root()
	from := p.i
	v, ok := p.block(p.col, -1)
	if !ok || p.col >= 0 {
		return nil, false
	}
	p.close(root, v, from)
	return v, true
}

// next passes empty lines and comments. i is at the beginning of a line, or behind a key's colon or a dash. It sets col.
func (p *parser) next() bool {
	for p.i < len(p.text) {
		switch p.text[p.i] {
		case ' ':
			p.i++
		case '\n':
			p.i++
			p.line = p.i
		case '\r':
			if p.i++; p.i == len(p.text) || p.text[p.i] != '\n' {
				return false
			}
		case '#':
			if p.i > p.line && p.text[p.i-1] != ' ' {
				return false
			}
			p.i = p.indexByte(p.i, '\n')
		case '\t':
			return false
		default:
			p.col = p.i - p.line
			return p.col > 0 || !isSeparator(p.text[p.i:])
		}
	}
	p.col = -1
	return true
}

// endLine passes the rest of a line behind a value, which may be a comment, and goes on to what follows: it may not be
// indented deeper than indent.
func (p *parser) endLine(indent int) bool {
	from := p.i
	p.spaces()
	if p.i < len(p.text) && !isBreak(p.text[p.i]) && (p.text[p.i] != '#' || p.i == from) {
		return false
	}
	return p.next() && p.col <= indent
}

func isBreak(c byte) bool { return c == '\n' || c == '\r' }

// ends says that the text is at its end or at white space at i: what makes `-` and `:` an indicator. A tab is for the library.
func (p *parser) ends(i int) bool {
	return i >= len(p.text) || p.text[i] == ' ' || isBreak(p.text[i])
}

// block reads the value at i, which is at column col and may be a block map or list. indent is the column of what holds it.
func (p *parser) block(col, indent int) (any, bool) {
	switch c := p.text[p.i]; {
	case c == '-' && p.ends(p.i+1):
		return p.list(col)
	case c == '"' || c == '\'':
		from := p.i
		s, ok := p.flow()
		if !ok {
			return nil, false
		}
		end := p.i
		p.spaces()
		if p.i < len(p.text) && p.text[p.i] == ':' && p.ends(p.i+1) {
			p.i++
			return p.mapping(col, s.(string), from, end)
		}
		p.i = end
		return s, p.endLine(indent)
	case startsPlain(p.text[p.i:]):
		from := p.i
		s, isKey, ok := p.plain()
		if !ok {
			return nil, false
		}
		if isKey {
			return p.mapping(col, s, from, from+len(s))
		}
		return p.plainLines(s, indent)
	default:
		return p.inline(indent)
	}
}

// inline reads the value that begins at i, behind a key or dash, and goes on to what follows it.
func (p *parser) inline(indent int) (any, bool) {
	switch c := p.text[p.i]; c {
	case '"', '\'', '{', '[':
		v, ok := p.flow()
		return v, ok && p.endLine(indent)
	case '|', '>':
		s, ok := p.blockText(indent)
		return s, ok && p.next() && p.col <= indent
	default:
		if !startsPlain(p.text[p.i:]) {
			return nil, false
		}
		s, isKey, ok := p.plain()
		if !ok || isKey {
			return nil, false
		}
		return p.plainLines(s, indent)
	}
}

// plain reads an unquoted text up to the end of its line, a comment, or a colon that makes it a key. i is then behind it.
func (p *parser) plain() (s string, isKey, ok bool) {
	text, start := p.text, p.i
	end := start
	for i := start; ; i++ {
		if i >= len(text) {
			p.i = i
			break
		}
		switch c := text[i]; c {
		case ' ':
			continue
		case '\n', '\r':
			p.i = i
		case '\t':
			return "", false, false
		case '#':
			if text[i-1] != ' ' {
				end = i + 1
				continue
			}
			p.i = i
		case ':':
			if i+1 < len(text) && text[i+1] == '\t' {
				return "", false, false
			}
			if !p.ends(i + 1) {
				end = i + 1
				continue
			}
			p.i, isKey = i+1, true
		default:
			end = i + 1
			continue
		}
		break
	}
	p.last = end
	s = text[start:end]
	if isKey && (len(s) > maxKey || !isTextKey(s)) {
		return "", false, false
	}
	return s, isKey, true
}

// plainLines reads the further lines of an unquoted text, which are indented deeper than indent, and goes on to what follows.
func (p *parser) plainLines(first string, indent int) (any, bool) {
	if p.i < len(p.text) && p.text[p.i] == '#' || !p.continues(indent) {
		if !p.next() || p.col > indent {
			return nil, false
		}
		return p.scalar(first)
	}
	buf := append(make([]byte, 0, 256), first...)
	for {
		breaks := strings.Count(p.text[p.last:p.i], "\n")
		if breaks == 1 {
			buf = append(buf, ' ')
		}
		for ; breaks > 1; breaks-- {
			buf = append(buf, '\n')
		}
		s, isKey, ok := p.plain()
		if !ok || isKey {
			return nil, false
		}
		buf = append(buf, s...)
		if p.i < len(p.text) && p.text[p.i] == '#' || !p.continues(indent) {
			last := p.last
			if !p.next() || p.col > indent {
				return nil, false
			}
			p.last = last
			return p.scalar(string(buf))
		}
	}
}

// continues passes line ends and blanks, and says whether a further line of an unquoted text follows. When none does, i stays
// where next can begin.
func (p *parser) continues(indent int) bool {
	i, line := p.i, p.line
	for i < len(p.text) {
		switch p.text[i] {
		case ' ', '\r':
			i++
		case '\n':
			i++
			line = i
		case '#', '\t':
			return false
		default:
			if i-line <= indent || line == p.line || i == line && isSeparator(p.text[i:]) {
				return false
			}
			p.i, p.line = i, line
			return true
		}
	}
	return false
}

// mapping reads a block map at column col, whose first key is read already.
func (p *parser) mapping(col int, name string, from, end int) (any, bool) {
	if !p.enter() {
		return nil, false
	}
	m := make(map[string]any, 4)
	first := len(p.spans)
	for {
		if _, known := m[name]; known {
			p.doubled(name, first, from, end)
		}
		at, ok := p.field(name, from, end)
		if !ok || end-from > maxKey {
			return nil, false
		}
		v, start, ok := p.value(col)
		if !ok {
			return nil, false
		}
		p.close(at, v, start)
		m[name] = v
		if p.col < col {
			p.depth--
			return m, true
		}
		if p.col > col {
			return nil, false
		}
		from = p.i
		switch c := p.text[p.i]; {
		case c == '"' || c == '\'':
			key, ok := p.flow()
			if !ok {
				return nil, false
			}
			name, end = key.(string), p.i
			p.spaces()
			if p.i >= len(p.text) || p.text[p.i] != ':' || !p.ends(p.i+1) {
				return nil, false
			}
			p.i++
		case startsPlain(p.text[p.i:]):
			key, isKey, ok := p.plain()
			if !ok || !isKey {
				return nil, false
			}
			name, end = key, from+len(key)
		default:
			return nil, false
		}
	}
}

// value reads what stands behind the colon of a key at column col, and says where it begins.
func (p *parser) value(col int) (v any, from int, ok bool) {
	from, p.last = p.i, p.i
	p.spaces()
	if p.i < len(p.text) && !isBreak(p.text[p.i]) && p.text[p.i] != '#' {
		from = p.i
		v, ok = p.inline(col)
		return v, from, ok
	}
	if !p.next() {
		return nil, 0, false
	}
	switch {
	case p.col > col:
		from = p.i
		v, ok = p.block(p.col, col)
	case p.col == col && p.text[p.i] == '-' && p.ends(p.i+1):
		from = p.i
		v, ok = p.list(col)
	default:
		return nil, from, true
	}
	return v, from, ok
}

// list reads a block list whose dashes are at column col.
func (p *parser) list(col int) (any, bool) {
	if !p.enter() {
		return nil, false
	}
	list := make([]any, 0, 4)
	for {
		at, ok := p.field("", 0, 0)
		if !ok {
			return nil, false
		}
		p.i++
		from := p.i
		p.last = from
		p.spaces()
		var v any
		if p.i < len(p.text) && !isBreak(p.text[p.i]) && p.text[p.i] != '#' {
			from = p.i
			v, ok = p.block(p.i-p.line, col)
		} else if ok = p.next(); ok && p.col > col {
			from = p.i
			v, ok = p.block(p.col, col)
		}
		if !ok {
			return nil, false
		}
		p.close(at, v, from)
		list = append(list, v)
		if p.col < col || p.col == col && !(p.text[p.i] == '-' && p.ends(p.i+1)) {
			p.depth--
			return list, true
		}
		if p.col > col {
			return nil, false
		}
	}
}
