package helm

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/desired/sandbox"
	"gitgate.dev/gitgate/policies"
)

// fileOf returns the path in the repository of the file that a content was read from: contents are told apart by where they lie
// in memory, because an alias makes two charts of one.
func (c *Chart) fileOf(data []byte) string {
	if f, ok := c.fileAt(data); ok {
		return f.path
	}
	return c.path
}

func (c *Chart) fileAt(data []byte) (file, bool) {
	if len(data) == 0 {
		return file{}, false
	}
	for _, f := range c.files {
		if len(f.data) > 0 && &f.data[0] == &data[0] {
			return f, true
		}
	}
	return file{}, false
}

// positionIn is the place of a byte of a text.
func positionIn(name string, text []byte, offset int) policies.Position {
	offset = min(max(offset, 0), len(text))
	start := bytes.LastIndexByte(text[:offset], '\n') + 1
	line := text[start:]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	return policies.Position{
		File: name, Line: bytes.Count(text[:offset], []byte("\n")) + 1, Column: offset - start + 1, Text: strings.TrimSuffix(string(line), "\r"),
	}
}

// rendered is a template's output with the files that its pieces come from.
type rendered struct {
	out   sandbox.Output
	files map[string]file // by template
	lines []int           // offsets of the lines of the output
}

func newRendered(c *Chart, out sandbox.Output, sources map[string]*source) *rendered {
	r := &rendered{out: out, files: map[string]file{}, lines: []int{0}}
	for i := range len(out.Text) {
		if out.Text[i] == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	for _, m := range out.Marks {
		if s := sources[m.Template]; s != nil {
			if _, known := r.files[m.Template]; !known {
				r.files[m.Template], _ = c.fileAt(s.text.Data)
			}
		}
	}
	return r
}

// at is where the byte of the output at offset comes from; ok is false when that is not known.
func (r *rendered) at(offset int) (pos policies.Position, literal, ok bool) {
	i := sort.Search(len(r.out.Marks), func(i int) bool { return r.out.Marks[i].Output > offset }) - 1
	if i < 0 {
		return policies.Position{}, false, false
	}
	m := r.out.Marks[i]
	f, known := r.files[m.Template]
	if !known {
		return policies.Position{}, false, false
	}
	if f.archive {
		return policies.Position{File: f.path}, false, true
	}
	from := m.Offset
	if m.Literal {
		from += offset - m.Output
	}
	return positionIn(f.path, f.data, from), m.Literal, true
}

// begin is where a part of the output begins.
type begin struct{ line, column int } // from 0

func (r *rendered) begin(offset int) begin {
	line := sort.SearchInts(r.lines, offset+1) - 1
	return begin{line: line, column: offset - r.lines[line]}
}

// position is where a place in a part of the output comes from.
func (r *rendered) position(p policies.Position, part begin, fallback string) policies.Position {
	pos, _ := r.place(p, part, fallback)
	return pos
}

// place is position, and whether the template has that text as it stands.
func (r *rendered) place(p policies.Position, part begin, fallback string) (pos policies.Position, literal bool) {
	line, column := part.line+p.Line-1, max(p.Column, 1)-1
	if p.Line == 1 {
		column += part.column
	}
	if p.Line == 0 || line >= len(r.lines) {
		return policies.Position{File: fallback}, false
	}
	pos, literal, ok := r.at(r.lines[line] + column)
	if !ok {
		return policies.Position{File: fallback}, false
	}
	if literal && p.EndColumn > p.Column {
		pos.EndColumn = min(pos.Column+p.EndColumn-p.Column, len(pos.Text)+1)
	}
	return pos, literal
}

// located finds fields of a rendered object in the templates that wrote them.
type located struct {
	object  *policies.Object // as it was read from the output
	from    *rendered
	at      begin
	file    string
	origins *origins // nil until the release is whole
	number  int      // among the objects of the release
}

// Locate is policies.Source.
func (l *located) Locate(p policies.Path, at policies.Aspect) (policies.Position, int) {
	return l.from.position(l.object.Locate(p, at), l.at, l.file), len(p)
}

var _ Source = (*located)(nil)

var templatePlace = regexp.MustCompile(`template: ([^\s:]+):([0-9]+)(?::([0-9]+))?:`)

// blameTemplate gives an error of the engine the place in the template where it happened, and leaves the names of templates out.
func (c *Chart) blameTemplate(err error, sources map[string]*source) error {
	text := err.Error()
	pos, places := policies.Position{File: c.path}, templatePlace.FindAllStringSubmatch(text, -1)
	var last *stopped
	if errors.As(err, &last) && sources[last.place.Template] != nil {
		if f, ok := c.fileAt(sources[last.place.Template].text.Data); ok {
			if pos = positionIn(f.path, f.data, last.place.Offset); f.archive {
				pos = policies.Position{File: f.path}
			}
		}
	}
	for _, m := range slices.Backward(places) {
		s := sources[m[1]]
		if s == nil {
			continue
		}
		f, ok := c.fileAt(s.text.Data)
		if !ok {
			continue
		}
		pos = policies.Position{File: f.path}
		if !f.archive {
			pos.Line, _ = strconv.Atoi(m[2])
			column, _ := strconv.Atoi(m[3])
			if lines := bytes.Split(f.data, []byte("\n")); pos.Line > 0 && pos.Line <= len(lines) {
				pos.Text = strings.TrimSuffix(string(lines[pos.Line-1]), "\r")
			}
			pos.Column = column + 1
		}
		break
	}
	if cause := sandbox.Cause(err); cause != nil {
		return policies.ErrorAt(pos, cause)
	}
	// What text/template says last is the cause; before it stands the way to it.
	if i := strings.LastIndex(text, ">: "); i >= 0 {
		text = text[i+3:]
	} else if all := templatePlace.FindAllStringIndex(text, -1); len(all) > 0 {
		text = strings.TrimSpace(text[all[len(all)-1][1]:])
	}
	return policies.ErrorAt(pos, fmt.Errorf("template cannot be executed: %s", strings.TrimPrefix(text, "error calling fail: ")))
}
