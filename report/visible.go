package report

import (
	"cmp"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// oneLine joins the lines of s by single spaces.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\u0085\u2028\u2029") {
		return strings.TrimSpace(s)
	}
	return strings.Join(strings.FieldsFunc(s, isLineEnd), " ")
}

// lines splits s at its line ends, without empty ones.
func lines(s string) []string { return strings.FieldsFunc(s, isLineEnd) }

func isLineEnd(r rune) bool {
	return r == '\n' || r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029'
}

// visible writes everything in s that a terminal, a log viewer or a reader would not show as what it is in the escapes of Go:
// control characters, invalid UTF-8, bidirectional overrides, invisible characters. It also breaks the logging commands that CI
// runners look for inside of lines (##[...], ##vso[...]), and those at the start of one (::error::), where a file's name may stand.
func visible(s string) string {
	if start := len(s) - len(strings.TrimLeft(s, " ")); strings.HasPrefix(s[start:], "::") {
		return s[:start] + brokenColon + visible(s[start+1:])
	}
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		b.WriteString(visibleRune(s[i:i+size], r))
		i += size
	}
	return breakCommands(b.String())
}

func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' || s[i] == '#' {
			return false
		}
	}
	return true
}

func visibleRune(text string, r rune) string {
	switch {
	case r == utf8.RuneError && len(text) <= 1:
		return fmt.Sprintf(`\x%02x`, text)
	case shows(r):
		return text
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	default:
		return fmt.Sprintf(`\U%08x`, r)
	}
}

// shows says that r is seen as itself. The joiners are, for scripts and emoji need them.
func shows(r rune) bool {
	return unicode.IsPrint(r) || r == '\u200c' || r == '\u200d'
}

func breakCommands(s string) string {
	for i := 1; i < len(s); i++ {
		if opensCommand(s, i) {
			s = s[:i] + brokenHash + s[i+1:]
		}
	}
	return s
}

const (
	brokenHash  = `\x23`
	brokenColon = `\x3a`
)

// opensCommand says that s[i] is the second # of what a CI runner may take for a logging command.
func opensCommand(s string, i int) bool {
	if i == 0 || s[i] != '#' || s[i-1] != '#' {
		return false
	}
	return strings.HasPrefix(strings.TrimLeftFunc(s[i+1:], unicode.IsLetter), "[")
}

// cells is how many columns of a terminal the rune takes.
func cells(r rune) int {
	if r == '\u200c' || r == '\u200d' || unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// textCells is how many columns of a terminal s takes; s is visible.
func textCells(s string) int {
	n := 0
	for _, r := range s {
		n += cells(r)
	}
	return n
}

// fromRoot names a file as seen from the repository's root, and says whether it lies there. When nothing is known of folders the
// name stays as it was given, cleaned. A file of another repository is named with the label of its source ("team-b//apps/web.yaml"), which is
// no path here: it stays as it is, so that no file of this repository of a like name is meant.
func (o *Options) fromRoot(file string) (name string, inside bool) {
	if file == "" {
		return "", false
	}
	if label, _, ok := strings.Cut(file, "//"); ok && label != "" && !strings.Contains(label, "/") {
		return file, false
	}
	name = path.Clean(file)
	if top := cmp.Or(o.Root, o.Dir); top != "" {
		if !path.IsAbs(name) {
			name = path.Join(o.Dir, name)
		}
		root := strings.TrimSuffix(path.Clean(top), "/") + "/"
		if rel, ok := strings.CutPrefix(name, root); ok {
			return rel, true
		}
		return name, false
	}
	return name, !path.IsAbs(name) && name != ".." && !strings.HasPrefix(name, "../")
}

// Line is foreign text as gitgate shows it: on one line, with escapes for what a terminal or a CI runner would not show as it is.
func Line(s string) string { return visible(oneLine(s)) }
