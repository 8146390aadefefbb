package library_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies/library"
)

var update = flag.Bool("update", false, "write the tables of docs/library.md")

// pageTable is a table of docs/library.md that this test owns: the policies below a name.
var pageTable = regexp.MustCompile(`(?s)<!-- policies: ([a-z/-]+) -->\n(.*?)<!-- end -->`)

func TestThePageSaysWhatThePoliciesSay(t *testing.T) {
	t.Parallel()
	const file = "../../docs/library.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := everything(t)
	shown := map[string]bool{}
	got := pageTable.ReplaceAllStringFunc(string(text), func(block string) string {
		family := pageTable.FindStringSubmatch(block)[1]
		var b strings.Builder
		fmt.Fprintf(&b, "<!-- policies: %s -->\n| policy | what it asks for, and why | severity | action | controls |\n|---|---|---|---|---|\n", family)
		for _, name := range library.Policies() {
			if !strings.HasPrefix(name, family+"/") {
				continue
			}
			shown[name] = true
			p := all[name]
			_, anchor, _ := strings.Cut(p.URL, "#")
			fmt.Fprintf(&b, "| <a id=%q></a>`%s` | %s | %s | %s | %s |\n", anchor, strings.TrimPrefix(name, family+"/"), p.Doc, p.Severity, p.Action, controlCell(p.Controls))
		}
		b.WriteString("<!-- end -->")
		return b.String()
	})
	for _, name := range library.Policies() {
		if !shown[name] {
			t.Errorf("%s has no table with %s", file, name)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("%s does not say what the policies say; go test ./policies/library -run Page -update mends it", file)
	}
}

// controlCell lists controls, those of one catalogue behind its short name.
func controlCell(controls []string) string {
	var parts []string
	last := ""
	for _, c := range controls {
		i := strings.LastIndexByte(c, ' ')
		catalogue, id := c[:i], c[i+1:]
		short, _, _ := strings.Cut(catalogue, " ")
		short, _, _ = strings.Cut(short, "/")
		if short == last {
			parts[len(parts)-1] += ", " + id
			continue
		}
		parts, last = append(parts, short+" "+id), short
	}
	return strings.Join(parts, "; ")
}
