package manifest

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// splitter cuts a stream into documents: at lines of `---` and `...` as kubectl and YAML do, and after each JSON object of a
// stream that begins with one (k8s.io/apimachinery/pkg/util/yaml YAMLOrJSONDecoder).
type splitter struct {
	file   string
	limits Limits

	r    io.Reader // nil when buf is the whole text
	buf  []byte    // what was read; buf[pos:] is not yet consumed
	pos  int
	line int // 1-based line of buf[pos]
	col  int // 1-based column of buf[pos]
	eof  bool
	err  error // what the reader failed with; told once, after the last document
}

const readSize = 32 << 10

func newSplitter(file string, text []byte, r io.Reader, lim Limits) *splitter {
	s := &splitter{file: file, limits: lim, r: r, buf: text, line: 1, col: 1, eof: r == nil}
	for len(s.buf) < 3 && s.fill() {
	}
	if bytes.HasPrefix(s.buf, []byte("\uFEFF")) {
		s.pos = 3
	}
	return s
}

// fill reads more, and says whether there is more.
func (s *splitter) fill() bool {
	if s.eof {
		return false
	}
	if s.pos > 0 && s.pos >= len(s.buf)/2 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.pos:])]
		s.pos = 0
	}
	if cap(s.buf)-len(s.buf) < readSize {
		// No document is read beyond the limit, so more is never needed.
		room := max(min(2*cap(s.buf), s.limits.Document+2*readSize), len(s.buf)+readSize)
		grown := make([]byte, len(s.buf), room)
		copy(grown, s.buf)
		s.buf = grown
	}
	for range 100 {
		n, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if err != nil {
			s.eof = true
			if err != io.EOF {
				s.err = err
			}
		}
		if n > 0 || err != nil {
			return n > 0
		}
	}
	s.eof, s.err = true, io.ErrNoProgress
	return false
}

// consume moves pos n bytes on.
func (s *splitter) consume(n int) {
	gone := s.buf[s.pos : s.pos+n]
	if lines := bytes.Count(gone, []byte("\n")); lines > 0 {
		s.line += lines
		s.col = n - bytes.LastIndexByte(gone, '\n')
	} else {
		s.col += n
	}
	s.pos += n
}

// next gives the next document, or a problem of cutting, or neither at the end.
func (s *splitter) next() (*document, *Problem) {
	s.skipBlank()
	if s.pos < len(s.buf) && s.buf[s.pos] == '{' {
		if n, ok := s.jsonEnd(); ok {
			d := s.document(n)
			d.json = true
			s.consume(n)
			return d, nil
		}
	}
	return s.chunk()
}

// skipBlank passes spaces and empty lines where the next document begins, but leaves a line's indentation when there is text.
func (s *splitter) skipBlank() {
	n := 0 // bytes of whole blank lines and, in the middle of a line, of blanks
	for i := 0; ; i++ {
		if s.pos+i == len(s.buf) {
			s.consume(n)
			if i -= n; !s.fill() {
				return
			}
			n = 0
		}
		switch c := s.buf[s.pos+i]; c {
		case ' ', '\t', '\r':
		case '\n':
			n = i + 1
		case '{':
			s.consume(i)
			return
		default:
			if s.col > 1 && n == 0 {
				n = i
			}
			s.consume(n)
			return
		}
	}
}

func (s *splitter) document(n int) *document {
	return &document{file: s.file, text: string(s.buf[s.pos : s.pos+n]), line: s.line, col: s.col}
}

// jsonEnd finds how long the JSON object at pos is, by its braces and strings alone. It gives up at the limit.
func (s *splitter) jsonEnd() (n int, ok bool) {
	depth, inString, escaped := 0, false, false
	for i := 0; i <= s.limits.Document; i++ {
		if s.pos+i == len(s.buf) && !s.fill() {
			return 0, false
		}
		c := s.buf[s.pos+i]
		switch {
		case escaped:
			escaped = false
		case inString:
			switch c {
			case '\\':
				escaped = true
			case '"':
				inString = false
			case '\n':
				return 0, false
			}
		case c == '\n':
			for len(s.buf)-s.pos-i < 5 && s.fill() {
			}
			if isSeparator(s.buf[s.pos+i+1:]) {
				return 0, false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return 0, false
}

// rejoin makes d, which was cut as JSON and is none, the YAML document that begins at its place.
func (s *splitter) rejoin(d *document) *Problem {
	d.json = false
	n, complete, _ := s.scan(s.limits.Document - len(d.text))
	if !complete {
		s.pass()
		return s.tooLarge(d)
	}
	d.text += string(s.buf[s.pos : s.pos+n])
	s.consume(n)
	return nil
}

// scan finds the length of the text up to the next separator line or the end, at most limit, and says whether it found either.
func (s *splitter) scan(limit int) (n int, complete bool, separator []byte) {
	for n <= limit {
		if s.col == 1 || n > 0 {
			// n is at a line's beginning.
			for len(s.buf)-s.pos-n < 4 && s.fill() {
			}
			if rest := s.buf[s.pos+n:]; isSeparator(rest) {
				return n, true, rest[:3]
			}
		}
		i := bytes.IndexByte(s.buf[s.pos+n:], '\n')
		for i < 0 {
			known := len(s.buf) - s.pos
			if known > limit {
				return limit, false, nil
			}
			if !s.fill() {
				return len(s.buf) - s.pos, true, nil
			}
			if i = bytes.IndexByte(s.buf[s.pos+known:], '\n'); i >= 0 {
				i += known - n
			}
		}
		n += i + 1
	}
	return limit, false, nil
}

// isSeparator says that line is the end of a document: `---` whatever follows (kubectl refuses what is no comment), or `...`.
func isSeparator[T string | []byte](line T) bool {
	if len(line) < 3 || line[0] != line[1] || line[1] != line[2] {
		return false
	}
	return line[0] == '-' || line[0] == '.' && (len(line) == 3 || strings.IndexByte(" \t\r\n", line[3]) >= 0)
}

// chunk gives the text up to the next separator, which it consumes.
func (s *splitter) chunk() (*document, *Problem) {
	for {
		n, complete, separator := s.scan(s.limits.Document)
		if !complete {
			d := s.document(min(len(s.buf)-s.pos, 4*maxSnippet))
			s.pass()
			return nil, s.tooLarge(d)
		}
		var d *document
		if n > 0 {
			d = s.document(n)
			s.consume(n)
		}
		if separator == nil {
			if d == nil && s.err != nil {
				err := s.err
				s.err = nil
				return nil, &Problem{
					Rule: RuleUnreadable, Message: fmt.Sprintf("file cannot be read further: %v", err),
					Pos: policies.Position{File: s.file, Line: s.line, Column: s.col}, Fix: "make the file readable and check again",
				}
			}
			return d, nil
		}
		if d != nil {
			return d, nil // the separator is met again, with nothing before it
		}
		if p := s.separator(); p != nil {
			return nil, p
		}
		s.skipBlank()
		if s.pos < len(s.buf) && s.buf[s.pos] == '{' {
			return s.next()
		}
	}
}

// separator consumes the separator line at pos. Text on it is refused, as kubectl refuses it.
func (s *splitter) separator() *Problem {
	n := bytes.IndexByte(s.buf[s.pos:], '\n')
	for n < 0 && len(s.buf)-s.pos <= s.limits.Document && s.fill() {
		n = bytes.IndexByte(s.buf[s.pos:], '\n')
	}
	if n < 0 {
		n = len(s.buf) - s.pos - 1
	}
	line := s.document(n + 1)
	s.consume(n + 1)
	rest := strings.TrimSpace(line.text[3:])
	if rest == "" || rest[0] == '#' {
		return nil
	}
	return line.problem(RuleSyntax, 3, 0, "document separator has text after it, which kubectl refuses", "put the text on a line of its own")
}

// pass consumes the rest of a document, holding little of it.
func (s *splitter) pass() {
	for {
		n, complete, _ := s.scan(readSize)
		s.consume(n)
		if complete {
			return
		}
	}
}

func (s *splitter) tooLarge(d *document) *Problem {
	return d.problem(RuleTooLarge, 0, 0,
		fmt.Sprintf("document is larger than %s, expected less", size(s.limits.Document)), "split it into smaller documents")
}

func size(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
