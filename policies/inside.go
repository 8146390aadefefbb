package policies

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// LocateInside returns the place of a character of a text that o holds at path, from its line (1-based) and column (0-based, in
// characters) in that text: an expression, or a configuration file in a ConfigMap. Where o does not show its lines, or writes the
// text in a way that cannot be followed (escapes), it is the place where the text begins.
func (o *Object) LocateInside(path Path, text string, line, column int) Position {
	start := o.Locate(path, AtValue)
	source, ok := o.Line(start.Line)
	if !ok || start.Column < 1 || start.Column > len(source)+1 {
		return start
	}
	want, ok := inkBefore(text, line, column)
	if !ok {
		return start
	}
	f := follower{doc: o, line: start.Line, text: source, at: start.Column - 1}
	if !f.enter() {
		return start
	}
	for _, r := range want {
		if !f.pass(r) {
			return start
		}
	}
	if !f.toInk() {
		return start
	}
	pos := start
	pos.Line, pos.Column, pos.Text, pos.TextColumn = f.line, f.at+1, f.text, 0
	_, size := utf8.DecodeRuneInString(f.text[f.at:])
	pos.EndColumn = pos.Column + max(size, 1)
	return pos
}

// inkBefore returns the characters of text that stand before a place and are no white space: what YAML's folding and indenting
// leave alone.
func inkBefore(text string, line, column int) (string, bool) {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return "", false
	}
	last := []rune(lines[line-1])
	before := append(lines[:line-1:line-1], string(last[:min(max(column, 0), len(last))]))
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, strings.Join(before, "")), true
}

// follower reads on in the source of a document.
type follower struct {
	doc    *Object
	line   int
	text   string
	at     int // index of the next byte in text
	quoted byte
}

// enter goes past what opens a scalar: its quote, or the header of a block scalar.
func (f *follower) enter() bool {
	if f.at >= len(f.text) {
		return false
	}
	switch c := f.text[f.at]; c {
	case '"', '\'':
		f.quoted = c
		f.at++
	case '|', '>':
		return f.nextLine()
	}
	return true
}

func (f *follower) nextLine() bool {
	text, ok := f.doc.Line(f.line + 1)
	if !ok {
		return false
	}
	f.line, f.text, f.at = f.line+1, text, 0
	return true
}

// toInk goes to the next character that is no white space.
func (f *follower) toInk() bool {
	for {
		rest := strings.TrimLeftFunc(f.text[f.at:], unicode.IsSpace)
		if rest != "" {
			f.at = len(f.text) - len(rest)
			return true
		}
		if !f.nextLine() {
			return false
		}
	}
}

// pass goes past r, which has to be the next character but for white space and the quotes' own escapes.
func (f *follower) pass(r rune) bool {
	if !f.toInk() {
		return false
	}
	if f.quoted == '"' && f.text[f.at] == '\\' || f.quoted == '\'' && strings.HasPrefix(f.text[f.at:], "''") {
		f.at++
		if !f.toInk() {
			return false
		}
	}
	got, size := utf8.DecodeRuneInString(f.text[f.at:])
	if got != r {
		return false
	}
	f.at += size
	return true
}
