package report

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
)

// textSink writes for a person: place, message and rule in one line, the source line, a caret, and what to do.
type textSink struct {
	out  *output
	opts Options
	flat *flattener
}

func (s *textSink) Decision(d policies.Decision) error {
	rows := s.flat.rows(&d)
	for i := range rows {
		r := &rows[i]
		if r.exempt != nil && !s.opts.Verbose {
			continue
		}
		s.head(&d, r)
		s.snippet(r)
		s.after(r)
	}
	if len(rows) == 0 {
		return s.out.err
	}
	return s.out.flush()
}

// Close writes nothing: the summary is for WriteSummary, which goes to another stream.
func (s *textSink) Close(Summary) error { return s.out.flush() }

// style is an ANSI SGR code.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "1;31"
	green  style = "32"
	yellow style = "33"
	violet style = "35"
)

func (s *textSink) paint(text string, st style) string {
	if !s.opts.Color || st == plain || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// part is a run of text in one style.
type part struct {
	text  string
	style style
}

// head writes the line that says everything, wrapped when the terminal is narrow.
func (s *textSink) head(d *policies.Decision, r *row) {
	parts := []part{{place(d, r), bold}}
	if word, st := levelWord(r); word != "" {
		parts = append(parts, part{word, st})
	}
	parts = append(parts, part{visible(r.message), plain}, part{"[" + visible(r.id) + "]", dim})
	if r.before {
		parts = append(parts, part{"(there before)", dim})
	}
	s.paragraph(parts, "    ")
}

// levelWord says what r is when it is no denial.
func levelWord(r *row) (string, style) {
	switch {
	case r.exempt != nil:
		return "exempt:", dim
	case r.level == warned:
		return "warning:", yellow
	case r.level == audited:
		return "audit:", violet
	case r.level == unsure:
		return "could not judge:", violet
	default:
		return "", plain
	}
}

// place is where r is, with its colon: file:line:column, as far as known, or the object's name when it is in no file.
func place(d *policies.Decision, r *row) string {
	name := visible(r.pos.File)
	if name == "" {
		return visible(d.Subject.Text) + ":"
	}
	if strings.HasPrefix(name, ":") {
		name = "./" + name // a line that starts with colons is a command to some CI runners
	}
	switch {
	case r.pos.Line == 0:
		return name + ":"
	case r.pos.Column == 0:
		return fmt.Sprintf("%s:%d:", name, r.pos.Line)
	default:
		return fmt.Sprintf("%s:%d:%d:", name, r.pos.Line, r.pos.Column)
	}
}

// paragraph writes parts separated by spaces, broken at spaces where the terminal ends. A word that is longer than a line
// stays whole.
func (s *textSink) paragraph(parts []part, indent string) {
	column := 0
	for i, p := range parts {
		line := "" // the words of p that are to stand on the present line
		for j, word := range strings.Split(p.text, " ") {
			w := textCells(word)
			switch {
			case i == 0 && j == 0:
			case s.opts.Width > 0 && column+1+w > s.opts.Width && column > len(indent):
				s.out.string(s.paint(line, p.style) + "\n" + indent)
				line, column = "", len(indent)
			case j == 0:
				s.out.string(" ")
				column++
			default:
				line += " "
				column++
			}
			line += word
			column += w
		}
		s.out.string(s.paint(line, p.style))
	}
	s.out.string("\n")
}

func (s *textSink) after(r *row) {
	if r.exempt != nil {
		text := "exempt"
		if !r.exempt.Until.IsZero() {
			text += " until " + lastDay(r.exempt.Until)
		}
		if r.exempt.Reason != "" {
			text += ": " + visible(oneLine(r.exempt.Reason))
		}
		if at := r.exempt.Pos; at.File != "" {
			text += fmt.Sprintf(" (%s:%d)", visible(at.File), at.Line)
		}
		s.paragraph([]part{{"  " + text, dim}}, "    ")
		return
	}
	for i, line := range lines(r.fix) {
		if i == 0 {
			s.paragraph([]part{{"  fix:", green}, {visible(line), plain}}, "       ")
		} else {
			s.paragraph([]part{{"     |", green}, {visible(line), plain}}, "       ")
		}
	}
	if s.opts.Verbose && r.url != "" {
		s.paragraph([]part{{"  see:", green}, {visible(r.url), plain}}, "       ")
	}
}

// widest is how much of a source line is shown where the width is not known.
const widest = 200

// snippet writes the source line and a caret under the column. Of a line that is longer than the terminal is wide, the part
// around the column is shown.
func (s *textSink) snippet(r *row) {
	if strings.TrimSpace(r.pos.Text) == "" || r.pos.Line == 0 {
		return
	}
	gutter := fmt.Sprintf("%5d | ", r.pos.Line)
	room := widest
	if s.opts.Width > 0 {
		room = max(s.opts.Width-len(gutter), 20)
	}
	line, caret := excerpt(r.pos, room)
	s.out.string(s.paint(gutter, dim) + line + "\n")
	if caret != "" {
		under := strings.TrimLeft(caret, " ")
		s.out.string(s.paint("      | ", dim) + caret[:len(caret)-len(under)] + s.paint(under, green) + "\n")
	}
}

// glyph is one character of a source line as it is shown.
type glyph struct {
	text       string
	start, end int // cells from the line's start
}

// excerpt returns at most room cells of the source line and the line with the caret, which is "" when the column is not in the text.
func excerpt(pos policies.Position, room int) (line, caret string) {
	glyphs, at, until := layout(pos)
	cutBefore := pos.TextColumn > 1
	total := 0
	if len(glyphs) > 0 {
		total = glyphs[len(glyphs)-1].end
	}
	from, to := 0, total
	if total > room {
		// A third of the room goes before the column, so that the value that follows is seen.
		from = max(0, min(max(at, 0)-room/3, total-room))
		to = from + room
	}
	var b strings.Builder
	shift := -from
	if from > 0 || cutBefore {
		b.WriteString("…")
		shift++
	}
	first := true
	for _, g := range glyphs {
		if g.start < from || g.end > to {
			continue
		}
		if first {
			shift += from - g.start
			first = false
		}
		b.WriteString(g.text)
	}
	if to < total {
		b.WriteString("…")
	}
	if at < 0 {
		return b.String(), ""
	}
	return b.String(), strings.Repeat(" ", max(0, at+shift)) + "^" + strings.Repeat("~", max(0, min(until, to)-at-1))
}

// tabStop is how far apart tabs are set.
const tabStop = 4

// layout spreads a source line over cells. at and until are the cells of the column and of the end column; at is -1 when the
// column is not in the text.
func layout(pos policies.Position) (glyphs []glyph, at, until int) {
	at, until = -1, -1
	cell := 0
	from, to := pos.InText()
	mark := func(offset int) {
		if from >= 0 && at < 0 && offset >= from {
			at = cell
		}
		if to > from && until < 0 && offset >= to {
			until = cell
		}
	}
	text := strings.TrimRight(pos.Text, "\r\n")
	for i := 0; i < len(text); {
		mark(i)
		r, size := utf8.DecodeRuneInString(text[i:])
		var shown string
		switch {
		case r == '\t':
			shown = strings.Repeat(" ", tabStop-cell%tabStop)
		case opensCommand(text, i):
			shown = brokenHash
		default:
			shown = visibleRune(text[i:i+size], r)
		}
		w := textCells(shown)
		glyphs = append(glyphs, glyph{shown, cell, cell + w})
		cell += w
		i += size
	}
	mark(len(text))
	if to > len(text) {
		until = cell
	}
	return glyphs, at, until
}
