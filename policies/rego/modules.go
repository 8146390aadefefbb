package rego

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// maxSourceLine bounds the source line that an error shows.
const maxSourceLine = 500

// source is one Rego file.
type source struct {
	file   string
	text   []byte
	module *ast.Module
}

// sources is all files by name, for positions.
type sources map[string]*source

// parseAll parses each document as v1, or as v0 where that is what it is. An error tells of every file that does not parse.
func parseAll(docs []policies.Document, version string) (sources, error) {
	all := sources{}
	if _, known := versions[version]; !known {
		return nil, fmt.Errorf("rego version %q: expected v0 or v1", version)
	}
	var errs []error
	for _, d := range docs {
		s := &source{file: d.File, text: d.Text}
		if _, twice := all[d.File]; twice {
			errs = append(errs, policies.ErrorAt(policies.Position{File: d.File}, errors.New("rego file is given twice")))
			continue
		}
		all[d.File] = s
		if !utf8.Valid(d.Text) {
			errs = append(errs, policies.ErrorAt(invalidAt(s), errors.New("text is not UTF-8, as Rego has to be")))
			continue
		}
		module, err := parseSource(s, version)
		if err != nil {
			errs = append(errs, all.located(err)...)
			continue
		}
		s.module = module
	}
	return all, errors.Join(errs...)
}

func invalidAt(s *source) policies.Position {
	line, start := 1, 0
	for i := 0; i < len(s.text); {
		r, n := utf8.DecodeRune(s.text[i:])
		if r == utf8.RuneError && n <= 1 {
			return policies.Position{File: s.file, Line: line, Column: i - start + 1}
		}
		if r == '\n' {
			line, start = line+1, i+1
		}
		i += n
	}
	return policies.Position{File: s.file}
}

// versions is how Options spells the versions of Rego; the empty one is for each file what it is.
var versions = map[string]ast.RegoVersion{"": ast.RegoUndefined, "v0": ast.RegoV0, "V0": ast.RegoV0, "v1": ast.RegoV1, "V1": ast.RegoV1}

func parseSource(s *source, version string) (*ast.Module, error) {
	parse := func(v ast.RegoVersion) (*ast.Module, error) {
		m, err := ast.ParseModuleWithOpts(s.file, string(s.text), ast.ParserOptions{RegoVersion: v, ProcessAnnotation: true})
		if m == nil && (err == nil || !strings.Contains(string(s.text), "package")) {
			return nil, policies.ErrorAt(policies.Position{File: s.file, Line: 1, Column: 1}, errors.New("rego file has no package, expected one and rules in it"))
		}
		return m, err
	}
	if v := versions[version]; v != ast.RegoUndefined {
		return parse(v)
	}
	m, err := parse(ast.RegoV1)
	if err == nil {
		return m, nil
	}
	m0, err0 := parse(ast.RegoV0)
	if err0 == nil {
		return m0, nil
	}
	// It is neither. It was meant to be what fewer things are wrong with.
	var errs0, errs ast.Errors
	if errors.As(err0, &errs0) && errors.As(err, &errs) && len(errs0) < len(errs) {
		return nil, err0
	}
	return nil, err
}

// located makes errors with positions of what OPA says.
func (all sources) located(err error) []error {
	var list ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &list):
	case errors.As(err, &one):
		list = ast.Errors{one}
	default:
		return []error{err}
	}
	var out []error
	for i, e := range list {
		// OPA tells some errors twice at one place, the second time with what it expected; and a rule that was given a name of
		// its own has its errors, as its author reads them, twice.
		text := message(e)
		again := slices.ContainsFunc(list[i+1:], func(other *ast.Error) bool {
			return other.Location.Compare(e.Location) == 0 && strings.HasPrefix(message(other), text)
		})
		if !again {
			out = append(out, policies.ErrorAt(all.position(e.Location), errors.New(text)))
		}
	}
	return out
}

// message is what OPA says, of the rules as their author named them.
func message(e *ast.Error) string { return unitName.ReplaceAllString(opa.Message(e), "$1") }

// position is where OPA's location stands, with its column in bytes and its source line.
func (all sources) position(loc *ast.Location) policies.Position {
	if loc == nil {
		return policies.Position{}
	}
	pos := policies.Position{File: loc.File, Line: loc.Row, Column: loc.Col}
	s := all[loc.File]
	if s == nil {
		return pos
	}
	if loc.Col < 1 {
		// OPA has no column for the end of the text: it is told at the last character.
		written := bytes.TrimRight(s.text, " \t\r\n")
		pos.Line = bytes.Count(written, []byte{'\n'}) + 1
		pos.Text = cut(s.line(pos.Line), maxSourceLine)
		_, size := utf8.DecodeLastRune(written)
		pos.Column = max(1, len(written)-size-bytes.LastIndexByte(written, '\n'))
		return pos
	}
	line := s.line(loc.Row)
	column := 0
	for i := range line {
		column++
		if column == loc.Col {
			pos.Column = i + 1
		}
	}
	if first, _, more := bytes.Cut(loc.Text, []byte{'\n'}); !more && len(first) > 0 {
		pos.EndColumn = pos.Column + len(first)
	}
	pos.Text = cut(line, maxSourceLine)
	return pos
}

// line is the n-th line of s, from 1, without its end.
func (s *source) line(n int) string {
	text := s.text
	for range n - 1 {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return ""
		}
		text = text[i+1:]
	}
	text, _, _ = bytes.Cut(text, []byte{'\n'})
	return string(bytes.TrimSuffix(text, []byte{'\r'}))
}

// cut shortens s to at most n bytes, at the start of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// inOrder lists the files by name.
func (all sources) inOrder() []*source {
	out := make([]*source, 0, len(all))
	for _, s := range all {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *source) int { return strings.Compare(a.file, b.file) })
	return out
}

// compileModules type-checks and compiles everything together.
func compileModules(all sources, data *document, g opa.Guard) (*ast.Compiler, error) {
	modules := make(map[string]*ast.Module, len(all))
	for file, s := range all {
		modules[file] = s.module
	}
	compiler := newCompiler(data, g)
	compiler.Compile(modules)
	if compiler.Failed() {
		return nil, errors.Join(all.located(compiler.Errors)...)
	}
	return compiler, nil
}

func newCompiler(data *document, g opa.Guard) *ast.Compiler {
	return ast.NewCompiler().
		WithCapabilities(g.Capabilities()).
		WithPathConflictsCheck(data.exists).
		SetErrorLimit(0)
}
