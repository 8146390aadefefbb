package main

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
)

// printError says everything that err joins: what has a place with its source line and a caret. Files of the errors are
// relative to prefix, a slash-separated folder; "" for the current one.
func (p *program) printError(err error, prefix string) {
	for _, e := range flattened(err) {
		var at *policies.PositionError
		if !errors.As(e, &at) || at.Pos.File == "" {
			fmt.Fprintf(p.stderr, "gitgate: %v\n", e)
			continue
		}
		pos := at.Pos
		pos.File = path.Join(prefix, pos.File)
		fmt.Fprintln(p.stderr, policies.ErrorAt(pos, at.Err))
		p.printSource(pos)
	}
}

func (p *program) printSource(pos policies.Position) {
	from, to := pos.InText()
	if pos.Text == "" || pos.Line == 0 || from < 0 || from > len(pos.Text) {
		return
	}
	width := 1 // in characters
	if to > from && to <= len(pos.Text) {
		width = max(1, utf8.RuneCountInString(pos.Text[from:to]))
	}
	margin := fmt.Sprintf("%5d | ", pos.Line)
	if pos.TextColumn > 1 {
		margin += "…"
	}
	fmt.Fprintf(p.stderr, "%s%s\n", margin, printable(pos.Text))
	blank := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, printable(pos.Text[:from]))
	if pos.TextColumn > 1 {
		blank = " " + blank
	}
	fmt.Fprintf(p.stderr, "%s| %s%s\n", strings.Repeat(" ", 6), blank, "^"+strings.Repeat("~", width-1))
}

// printable keeps a text from steering the terminal: control characters but tabs are shown as dots.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError) {
			return '·'
		}
		return r
	}, s)
}

// flattened is the errors that err joins, at any depth.
func flattened(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, flattened(e)...)
		}
		return out
	}
	if exit := (*exitError)(nil); errors.As(err, &exit) && error(exit) == err {
		return flattened(exit.err)
	}
	return []error{err}
}
