package document_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/document"
	"gitgate.dev/gitgate/manifest"
)

// A stack that is used up ends the process: no text of the size that is read may lead a parser so deep into itself.
func TestNoTextUsesUpTheStack(t *testing.T) {
	size := 1<<20 - 64
	if testing.Short() {
		size = 1 << 16
	}
	for _, c := range []struct{ name, parser, begin, repeat string }{
		{"sums", "hcl", "a = 1", "+1"},
		{"comparisons", "hcl", "a = 1", " == 1"},
		{"attributes", "hcl", "a = b", ".c"},
		{"indexes", "hcl", "a = b", "[0]"},
		{"indexes of variables", "hcl", "a = b", "[c]"},
		{"splats", "hcl", "a = b", "[*]"},
		{"signs", "hcl", "a = ", "-"},
		{"brackets", "hcl", "a = ", "["},
		{"calls", "hcl", "a = ", "f("},
		{"templates", "hcl", "a = ", "\"${"},
		{"parts of a template", "hcl", "a = \"", "${b}"},
		{"conditions of templates", "hcl", "a = \"", "%{if b}"},
		{"blocks", "hcl", "", "a {\n"},
		{"blocks of one line", "hcl", "", "a { "},
		{"conditionals", "hcl", "a = ", "b ? c : "},
		{"labels", "hcl", "a ", "b "},
		{"heredocs", "hcl", "a = ", "<<A\n${"},
		{"lists", "toml", "a = ", "["},
		{"tables", "toml", "a = ", "{a="},
		{"dotted names", "toml", "a", ".b"},
		{"lists", "json", "", "["},
		{"maps", "json", "", "{\"a\":"},
		{"lists", "yaml", "", "["},
		{"maps", "yaml", "a: ", "{a: "},
	} {
		t.Run(c.parser+" "+c.name, func(t *testing.T) {
			p, err := document.Named(c.parser)
			if err != nil {
				t.Fatal(err)
			}
			text := c.begin + strings.Repeat(c.repeat, (size-len(c.begin))/len(c.repeat))
			p.Parse("f", []byte(text), manifest.Limits{})
		})
	}
}
