// Package document turns texts of structured formats that are no Kubernetes manifests (JSON, YAML, HCL, TOML, dotenv) into documents that
// policies can judge, with the places of their fields where the format lets them be known. It knows no file system, no policy and no
// schema: what a document means is for policies to say.
package document

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// Auto is the name of the parser that goes by the names of files.
const Auto = "auto"

// Parser reads the texts of one format. The zero value reads nothing.
type Parser struct {
	name    string
	endings []string // of the names of files
	parse   func(file string, text []byte, lim manifest.Limits) ([]*policies.Object, []manifest.Problem)
}

// parsers are all formats. A file's name chooses the first whose ending it has.
func parsers() []Parser {
	return []Parser{
		{"json", []string{".json", ".tfstate"}, func(file string, text []byte, lim manifest.Limits) ([]*policies.Object, []manifest.Problem) {
			return manifest.Documents(file, text, lim, true)
		}},
		{"yaml", []string{".yaml", ".yml"}, func(file string, text []byte, lim manifest.Limits) ([]*policies.Object, []manifest.Problem) {
			return manifest.Documents(file, text, lim, false)
		}},
		{"hcl", []string{".tf", ".hcl", ".tfvars"}, parseHCL},
		{"toml", []string{".toml"}, parseTOML},
		{"dotenv", []string{".env"}, parseDotenv},
	}
}

// Names are the names that Named knows, in the order in which they are offered.
func Names() []string {
	names := []string{Auto}
	for _, p := range parsers() {
		names = append(names, p.name)
	}
	return names
}

// Named is the parser of a name. hcl2 is hcl, as conftest calls it.
func Named(name string) (Parser, error) {
	if name == "hcl2" {
		name = "hcl"
	}
	all := parsers()
	if name == Auto {
		return Parser{name: Auto, endings: endingsOf(all), parse: parseByName}, nil
	}
	if i := slices.IndexFunc(all, func(p Parser) bool { return p.name == name }); i >= 0 {
		return all[i], nil
	}
	return Parser{}, fmt.Errorf("parser %q: expected one of %s", name, strings.Join(Names(), ", "))
}

func endingsOf(all []Parser) []string {
	var out []string
	for _, p := range all {
		out = append(out, p.endings...)
	}
	return out
}

// Reads says whether a file of this name, found in a folder, is one of the parser's.
func (p Parser) Reads(name string) bool {
	base := strings.ToLower(path.Base(name))
	return slices.ContainsFunc(p.endings, func(ending string) bool { return strings.HasSuffix(base, ending) })
}

// Parse reads a text, which is shown as file in messages. What cannot be read gives no document and a problem.
func (p Parser) Parse(file string, text []byte, lim manifest.Limits) ([]*policies.Object, []manifest.Problem) {
	return p.parse(file, text, lim)
}

// parseByName reads a text as its file's name says.
func parseByName(file string, text []byte, lim manifest.Limits) ([]*policies.Object, []manifest.Problem) {
	for _, p := range parsers() {
		if p.Reads(file) {
			return p.parse(file, text, lim)
		}
	}
	return nil, []manifest.Problem{{
		Rule: manifest.RuleSyntax, Pos: policies.Position{File: file},
		Message: "file's name does not say what it holds, expected one of the endings " + strings.Join(endingsOf(parsers()), ", "),
		Fix:     "name the format with --parser",
	}}
}

// problem is one at a place of a text. line and column are from 1, or 0 where they are not known.
func problem(rule, file string, text []byte, line, column int, format string, args ...any) manifest.Problem {
	return manifest.Problem{Rule: rule, Message: fmt.Sprintf(format, args...), Pos: position(file, text, line, column, 0)}
}

// maxLine is how many bytes of a source line are shown.
const maxLine = 200

// position is a place with its source line.
func position(file string, text []byte, line, column, end int) policies.Position {
	pos := policies.Position{File: file, Line: line, Column: column, EndColumn: end}
	if line < 1 {
		return pos
	}
	rest := string(text)
	for range line - 1 {
		_, after, found := strings.Cut(rest, "\n")
		if !found {
			return pos
		}
		rest = after
	}
	shown, _, _ := strings.Cut(rest, "\n")
	if shown = strings.TrimSuffix(shown, "\r"); len(shown) <= maxLine {
		pos.Text = strings.ToValidUTF8(shown, "\uFFFD")
	}
	return pos
}

// tooLarge is the problem of a text beyond the limit; nil when it is not.
func tooLarge(file string, text []byte, lim manifest.Limits) []manifest.Problem {
	most := lim.Document
	if most <= 0 {
		most = manifest.DefaultLimits().Document
	}
	if len(text) <= most {
		return nil
	}
	return []manifest.Problem{problem(manifest.RuleTooLarge, file, nil, 0, 0, "document is larger than %d bytes, expected less", most)}
}

func depthOf(lim manifest.Limits) int {
	if lim.Depth > 0 {
		return lim.Depth
	}
	return manifest.DefaultLimits().Depth
}
