package webhook

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

func (p *parser) string() (string, error) {
	p.at++
	for i := p.at; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			s := p.text[p.at:i]
			p.at = i + 1
			return s, nil
		case c == '\\':
			return p.escaped(i)
		case c < ' ':
			p.at = i
			return "", p.wrong("a control character in a string")
		}
	}
	p.at = len(p.text)
	return "", p.wrong("the text ends in a string")
}

// escaped is string from the first backslash, at i, on.
func (p *parser) escaped(i int) (string, error) {
	var b strings.Builder
	b.WriteString(p.text[p.at:i])
	for i < len(p.text) {
		c := p.text[i]
		switch {
		case c == '"':
			p.at = i + 1
			return b.String(), nil
		case c < ' ':
			p.at = i
			return "", p.wrong("a control character in a string")
		case c != '\\':
			end := i + 1
			for end < len(p.text) && p.text[end] != '"' && p.text[end] != '\\' && p.text[end] >= ' ' {
				end++
			}
			b.WriteString(p.text[i:end])
			i = end
		default:
			n, err := p.escape(&b, i)
			if err != nil {
				return "", err
			}
			i += n
		}
	}
	p.at = len(p.text)
	return "", p.wrong("the text ends in a string")
}

// escape writes what the escape at i means and returns its length. A lone half of a surrogate pair is U+FFFD, as encoding/json
// has it.
func (p *parser) escape(b *strings.Builder, i int) (int, error) {
	p.at = i
	if i+1 == len(p.text) {
		return 0, p.wrong("the text ends in a string")
	}
	c := p.text[i+1]
	if at := strings.IndexByte(`"\/bfnrt`, c); at >= 0 {
		b.WriteByte("\"\\/\b\f\n\r\t"[at])
		return 2, nil
	}
	if c != 'u' {
		return 0, p.wrong("an escape that JSON does not have")
	}
	r, ok := p.hex(i)
	if !ok {
		return 0, p.wrong("an escape that is not finished")
	}
	if utf16.IsSurrogate(r) {
		if low, ok := p.hex(i + 6); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				b.WriteRune(full)
				return 12, nil
			}
		}
		r = utf8.RuneError
	}
	b.WriteRune(r)
	return 6, nil
}

// hex reads \uXXXX at i.
func (p *parser) hex(i int) (rune, bool) {
	if i+6 > len(p.text) || p.text[i] != '\\' || p.text[i+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(p.text[i+2 : i+6]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func (p *parser) number() (any, error) {
	start := p.at
	if p.text[p.at] == '-' {
		p.at++
	}
	whole := p.at
	if !p.digits() {
		return nil, p.wrong("a number without digits")
	}
	if p.text[whole] == '0' && p.at > whole+1 {
		return nil, p.wrong("a number that begins with 0")
	}
	integer := true
	if p.at < len(p.text) && p.text[p.at] == '.' {
		integer = false
		p.at++
		if !p.digits() {
			return nil, p.wrong("a number without digits after its point")
		}
	}
	if p.at < len(p.text) && (p.text[p.at] == 'e' || p.text[p.at] == 'E') {
		integer = false
		p.at++
		if p.at < len(p.text) && (p.text[p.at] == '+' || p.text[p.at] == '-') {
			p.at++
		}
		if !p.digits() {
			return nil, p.wrong("a number without digits in its exponent")
		}
	}
	text := p.text[start:p.at]
	if integer {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, p.wrong("a number that is too large")
	}
	return f, nil
}

func (p *parser) digits() bool {
	start := p.at
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}
