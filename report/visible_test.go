package report

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestWhatATerminalWouldObeyIsMadeVisible(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"plain text stays", "Deployment shop/web", "Deployment shop/web"},
		{"letters of all scripts stay", "Größe 日本 ελ عربى", "Größe 日本 ελ عربى"},
		{"joined emoji stay", "👩‍👩‍👧", "👩‍👩‍👧"},
		{"an ANSI escape", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"an escape of eight bits", "\u009b31m", `\x9b31m`},
		{"a bell, a backspace, a delete", "\a\b\x7f", `\x07\x08\x7f`},
		{"a carriage return and a line feed", "a\r\nb", `a\r\nb`},
		{"a tab", "a\tb", `a\tb`},
		{"a null byte", "a\x00b", `a\x00b`},
		{"bytes that are no UTF-8", "a\xff\xc3b", `a\xff\xc3b`},
		{"the replacement character itself", "\ufffd", "\ufffd"},
		{"a right-to-left override", "nimda\u202egnp.exe", `nimda\u202egnp.exe`},
		{"bidirectional isolates", "\u2066x\u2069", `\u2066x\u2069`},
		{"a zero-width space and a byte order mark", "a\u200bb\ufeff", `a\u200bb\ufeff`},
		{"a no-break space", "a\u00a0b", `a\xa0b`},
		{"a line separator", "a\u2028b", `a\u2028b`},
		{"a tag character", "a\U000e0041", `a\U000e0041`},
		{"an Azure logging command", "x ##vso[task.setvariable]y", `x #\x23vso[task.setvariable]y`},
		{"an old runner command", "##[error]y ##[add-mask]z", `#\x23[error]y #\x23[add-mask]z`},
		{"three hashes before a command", "###[group]", `##\x23[group]`},
		{"a runner command at the start", "::error::x", `\x3a:error::x`},
		{"a runner command after blanks", "  ::error::x", `  \x3a:error::x`},
		{"two colons inside", "a::b", "a::b"},
		{"a comment", "## list [a]", "## list [a]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := visible(c.in); got != c.want {
				t.Errorf("got %q, expected %q", got, c.want)
			}
		})
	}
}

func TestAMessageIsOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\nb":                    "a b",
		"\r\na\n\n\nb\n":          "a b",
		"a\u2028fake.yaml:1:1: b": "a fake.yaml:1:1: b",
		"  a  b ":                 "a  b",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q becomes %q, expected %q", in, got, want)
		}
	}
}

func TestTheCaretStandsUnderTheColumn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		text        string
		column, end int
		line, caret string
	}{
		{"ascii", "  replicas: 3", 13, 14, "  replicas: 3", "            ^"},
		{"a range", "  replicas: 30", 3, 11, "  replicas: 30", "  ^~~~~~~~"},
		{"no column", "a: b", 0, 0, "a: b", ""},
		{"the end of the line", "a:", 3, 0, "a:", "  ^"},
		{"a column after a line that was cut", "a: b", 900, 901, "a: b", ""},
		{"an end after a line that was cut", "a: bcd", 4, 900, "a: bcd", "   ^~~"},
		{"after a tab", "\ta: b", 5, 6, "    a: b", "       ^"},
		{"after a tab in the middle", "a:\tb", 4, 5, "a:  b", "    ^"},
		{"after wide characters", "日本: x", 9, 10, "日本: x", "      ^"},
		{"under wide characters", "a: 日本", 4, 10, "a: 日本", "   ^~~~"},
		{"after a combining mark", "e\u0301: x", 6, 7, "e\u0301: x", "   ^"},
		{"after an escape", "\x1b: x", 4, 5, `\x1b: x`, "      ^"},
		{"inside of a character", "é: x", 2, 3, "é: x", " ^"},
		{"a carriage return at the end", "a: b\r", 4, 5, "a: b", "   ^"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			line, caret := excerpt(policies.Position{Line: 1, Column: c.column, EndColumn: c.end, Text: c.text}, widest)
			if line != c.line || caret != c.caret {
				t.Errorf("got\n%q\n%q, expected\n%q\n%q", line, caret, c.line, c.caret)
			}
		})
	}
}

func TestOfALongLineThePartAroundTheColumnIsShown(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a", 500) + "HERE" + strings.Repeat("b", 500)
	line, caret := excerpt(policies.Position{Line: 1, Column: 501, EndColumn: 505, Text: text}, 60)
	if w := textCells(line); w > 62 {
		t.Errorf("the line takes %d cells, expected at most 62", w)
	}
	if !strings.HasPrefix(line, "…") || !strings.HasSuffix(line, "…") {
		t.Errorf("the line %q does not show that it is cut", line)
	}
	at := strings.IndexByte(caret, '^')
	if got := string([]rune(line)[at : at+4]); got != "HERE" {
		t.Errorf("the caret stands under %q, expected HERE\n%s\n%s", got, line, caret)
	}
}

func TestTheCaretIsRightUnderALineThatIsCutBefore(t *testing.T) {
	t.Parallel()
	line, caret := excerpt(policies.Position{Line: 1, Column: 1001, EndColumn: 1005, Text: "é: HERE, b", TextColumn: 997}, 60)
	if line != "…é: HERE, b" || caret != "    ^~~~" {
		t.Errorf("got\n%q\n%q", line, caret)
	}
}

func TestNarrowTerminalsWrapAtWordsAndLoseNothing(t *testing.T) {
	t.Parallel()
	d := policies.Decision{Subject: policies.ObjectRef{Text: "Pod a", Origin: policies.Origin{File: "a.yaml"}}, Results: []policies.Result{{
		Policy: &policies.Policy{Name: "p"}, Outcome: policies.Violated,
		Finding: policies.Finding{Violations: []policies.Violation{{
			Message: "the quick brown fox jumps over a-word-that-is-longer-than-any-line-can-ever-be and  rests",
			Pos:     policies.Position{File: "a.yaml", Line: 1, Column: 1},
		}}},
	}}}
	wide := render(t, "text", Options{}, []policies.Decision{d}, Summary{})
	for width := 1; width < 120; width++ {
		got := render(t, "text", Options{Width: width}, []policies.Decision{d}, Summary{})
		if a, b := strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(wide), " "); a != b {
			t.Fatalf("width %d says\n%s\nexpected\n%s", width, a, b)
		}
		for _, line := range strings.Split(got, "\n") {
			if n := len(strings.Fields(line)); len(line) > width && n > 1 && !strings.HasPrefix(line, "a.yaml") {
				t.Errorf("width %d: the line %q is too long", width, line)
			}
		}
	}
}

func TestFilesAreNamedFromTheRepositorysRoot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		root, dir, file string
		want            string
		inside          bool
		uri             string
	}{
		{"no root", "", "", "apps/web.yaml", "apps/web.yaml", true, "apps/web.yaml"},
		{"no root, a dot", "", "", "./apps//web.yaml", "apps/web.yaml", true, "apps/web.yaml"},
		{"started in the root", "/src", "/src", "apps/web.yaml", "apps/web.yaml", true, "apps/web.yaml"},
		{"started in a folder", "/src", "/src/apps", "web.yaml", "apps/web.yaml", true, "apps/web.yaml"},
		{"up from a folder", "/src", "/src/apps", "../ops/a.yaml", "ops/a.yaml", true, "ops/a.yaml"},
		{"an absolute name", "/src/", "/src", "/src/apps/web.yaml", "apps/web.yaml", true, "apps/web.yaml"},
		{"no repository, an absolute name", "", "/tmp/x", "/tmp/x/a.yaml", "a.yaml", true, "a.yaml"},
		{"no repository, a relative name", "", "/tmp/x", "b/a.yaml", "b/a.yaml", true, "b/a.yaml"},
		{"the root of the file system", "/", "/", "/a.yaml", "a.yaml", true, "a.yaml"},
		{"outside", "/src", "/src", "../other/a.yaml", "/other/a.yaml", false, "file:///other/a.yaml"},
		{"outside without a root", "", "", "../a.yaml", "../a.yaml", false, "../a.yaml"},
		{"a neighbour of the same beginning", "/src", "/src", "/src2/a.yaml", "/src2/a.yaml", false, "file:///src2/a.yaml"},
		{"a file of another source", "/src", "/src", "team-b//apps/web.yaml", "team-b//apps/web.yaml", false, "team-b//apps/web.yaml"},
		{"blanks and signs", "", "", "a b/c#d%e?.yaml", "a b/c#d%e?.yaml", true, "a%20b/c%23d%25e%3F.yaml"},
		{"a colon", "", "", "a:b.yaml", "a:b.yaml", true, "./a:b.yaml"},
		{"other scripts", "", "", "日.yaml", "日.yaml", true, "%E6%97%A5.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Root: c.root, Dir: c.dir}
			got, inside := o.fromRoot(c.file)
			if got != c.want || inside != c.inside || uri(got) != c.uri {
				t.Errorf("got %q, %v, %q; expected %q, %v, %q", got, inside, uri(got), c.want, c.inside, c.uri)
			}
		})
	}
}
