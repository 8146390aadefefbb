package manifest

import (
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
)

// document is the text of one document and where it begins. Its objects keep it, for positions and source lines.
type document struct {
	file string
	text string
	line int  // 1-based line of the file at which text begins
	col  int  // 1-based column of the file at which text begins
	json bool // text is one JSON value, as far as its braces say
	odd  bool // text has line ends that only YAML 1.1 knows, or a byte order mark inside: for the library

	once  sync.Once
	index index // made when something is first looked up; nil when the text cannot be parsed

	linesOnce sync.Once
	lines     []int // offsets at which lines begin, of a text that is not small

	breaksOnce sync.Once
	breaks     []int // offsets at which lines begin as the YAML library counts them

	told   int    // problems that were told
	secret string // "yes" or "no" when maybeSecret was asked
}

// maxProblems is how many problems of one document are told one by one.
const maxProblems = 100

// full counts a problem and says, behind maxProblems, that it is not to be told: only the last one in the range is, as a word
// on all further ones.
func (d *document) full() (last, over bool) {
	d.told++
	return d.told == maxProblems, d.told > maxProblems
}

// lineOf is the offset at which the line of from begins, and how many lines are before it.
func (d *document) lineOf(from int) (start, before int) {
	if len(d.text) < 16<<10 {
		return strings.LastIndexByte(d.text[:from], '\n') + 1, strings.Count(d.text[:from], "\n")
	}
	// Counting anew for each of many places would take time quadratic in the text.
	d.linesOnce.Do(func() {
		d.lines = make([]int, 1, strings.Count(d.text, "\n")+1)
		for i := 0; i < len(d.text); i++ {
			n := strings.IndexByte(d.text[i:], '\n')
			if n < 0 {
				break
			}
			i += n
			d.lines = append(d.lines, i+1)
		}
	})
	n, exact := slices.BinarySearch(d.lines, from)
	if !exact {
		n--
	}
	return d.lines[n], n
}

// maxSnippet is how many bytes of a source line a Position carries.
const maxSnippet = 200

// position is the place of text[from:to]. to may be 0 for "unknown".
func (d *document) position(from, to int) policies.Position {
	from = min(max(from, 0), len(d.text))
	start, before := d.lineOf(from)
	end := len(d.text)
	if i := strings.IndexByte(d.text[from:], '\n'); i >= 0 {
		end = from + i
	}
	pos := policies.Position{File: d.file, Line: d.line + before, Column: from - start + 1}
	line := strings.TrimSuffix(d.text[start:end], "\r")
	if to > from {
		pos.EndColumn = min(to, start+len(line)) - start + 1
		if pos.EndColumn <= pos.Column {
			pos.EndColumn = 0
		}
	}
	if start == 0 && d.col > 1 {
		// The line's beginning belongs to the document before: without it a caret would stand wrong.
		pos.Column += d.col - 1
		if pos.EndColumn > 0 {
			pos.EndColumn += d.col - 1
		}
		return pos
	}
	if at := pos.Column - 1; len(line) > maxSnippet && max(at, pos.EndColumn-1) > maxSnippet-maxSnippet/4 {
		// Of a long line the part around the place is shown, with a third before it.
		begin := max(0, min(at, len(line))-maxSnippet/3)
		for begin > 0 && !utf8.RuneStart(line[begin]) {
			begin--
		}
		if begin > 0 {
			line, pos.TextColumn = line[begin:], begin+1
		}
	}
	pos.Text = cut(line)
	return pos
}

// unseen takes the source line out of pos when its beginning is cut off: then nothing tells what of it is a secret value.
func unseen(pos *policies.Position) {
	if pos.TextColumn > 1 {
		pos.Text, pos.TextColumn = "", 0
	}
}

// cut shortens a line to maxSnippet bytes at a character's edge.
func cut(line string) string {
	if len(line) <= maxSnippet {
		return strings.ToValidUTF8(line, "\uFFFD")
	}
	n := maxSnippet
	for n > 0 && !utf8.RuneStart(line[n]) {
		n--
	}
	return strings.ToValidUTF8(line[:n], "\uFFFD")
}

// encoding is the problem of a text that is not UTF-8 or has a character that YAML forbids (YAML 1.1, 5.1 c-printable).
func (d *document) encoding() *Problem {
	text := d.text
	for i := 0; i < len(text); {
		c := text[i]
		if c >= 0x20 && c < 0x7f || c == '\n' || c == '\t' {
			i++
			continue
		}
		if c == '\r' {
			d.odd = d.odd || i+1 == len(text) || text[i+1] != '\n'
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if i < 64 && d.wide() {
			return d.problem(RuleEncoding, 0, 0, "text is UTF-16 or UTF-32, expected UTF-8", "save the file as UTF-8")
		}
		switch {
		case r == utf8.RuneError && size <= 1:
			return d.problem(RuleEncoding, i, 0, "text is not valid UTF-8 here, expected UTF-8", "save the file as UTF-8")
		case !printable(r):
			return d.problem(RuleEncoding, i, 0, "text has the control character "+quoteRune(r)+", which YAML does not allow", `remove it, or write it in double quotes as an escape like "\x07"`)
		}
		d.odd = d.odd || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff
		i += size
	}
	return nil
}

// wide says that the text begins with the mark of UTF-16, or that every second byte of its beginning is zero as in UTF-16 of
// ASCII.
func (d *document) wide() bool {
	if strings.HasPrefix(d.text, "\xff\xfe") || strings.HasPrefix(d.text, "\xfe\xff") {
		return true
	}
	head := d.text[:min(len(d.text), 64)]
	return len(head) >= 4 && strings.Count(head, "\x00") >= len(head)/2-1
}

func printable(r rune) bool {
	switch {
	case r == '\t' || r == '\n' || r == '\r' || r == 0x85:
		return true
	case r >= 0x20 && r <= 0x7e, r >= 0xa0 && r <= 0xd7ff, r >= 0xe000 && r <= 0xfffd, r >= 0x10000 && r <= 0x10ffff:
		return true
	}
	return false
}

// shorten keeps a name short enough for a message.
func shorten(name string) string {
	if len(name) > maxSnippet {
		return cut(name) + "…"
	}
	return name
}

func quoteRune(r rune) string {
	const hex = "0123456789ABCDEF"
	return "U+" + string([]byte{hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15]})
}

// problem is about text[from:to]. The line of a document that may be a Secret is shown without its value.
func (d *document) problem(rule string, from, to int, message, fix string) *Problem {
	pos := d.position(from, to)
	if d.maybeSecret() {
		unseen(&pos)
		pos.Text = maskLine(pos.Text)
	}
	return &Problem{Rule: rule, Message: message, Pos: pos, Fix: fix}
}
