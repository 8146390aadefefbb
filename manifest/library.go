package manifest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// library reads the document with the YAML libraries: the value is sigs.k8s.io/yaml's, as it is for kubectl, once a walk over
// yaml/v3's tree has made sure that no alias makes it explode and that no text is left over.
func (d *document) library(lim Limits) (value any, problems []Problem) {
	defer func() {
		if v := recover(); v != nil {
			// The libraries panic on some texts that they cannot read: that is an answer, and no reason to end the run.
			value, problems = nil, []Problem{*d.syntax(fmt.Errorf("text cannot be read as YAML: %v", v))}
		}
	}()
	if p := d.tooMany(lim); p != nil {
		return nil, []Problem{*p}
	}
	root, err := d.tree()
	if err != nil {
		return nil, []Problem{*d.syntax(err)}
	}
	if root == nil {
		return d.value() // nothing, unless kubectl stumbles over it
	}
	w := &walk{doc: d, limits: lim, sizes: map[*yamlv3.Node]cost{}, open: map[*yamlv3.Node]bool{}}
	w.cost(root, 0, false)
	if w.fatal != nil {
		return nil, []Problem{*w.fatal}
	}
	value, problems = d.value()
	return value, append(problems, w.problems...)
}

// tooMany refuses a text with more separators than it may have fields, before a tree is made of it.
func (d *document) tooMany(lim Limits) *Problem {
	n := 0
	for i := 0; i < len(d.text); i++ {
		switch d.text[i] {
		case ',', '\n', '[', '{', '?', ':', '-':
			n++
		}
	}
	if n > 8*lim.Fields {
		return d.problem(RuleTooLarge, d.first(), 0, fmt.Sprintf("document has more than %d fields, expected less", lim.Fields), "split it into smaller documents")
	}
	return nil
}

// tree parses the text; nil when it holds no document.
func (d *document) tree() (*yamlv3.Node, error) {
	dec := yamlv3.NewDecoder(strings.NewReader(d.text))
	var root, rest yamlv3.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := dec.Decode(&rest); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("did not find expected <document start>")
		}
		return nil, err
	}
	if len(root.Content) == 0 {
		return nil, nil
	}
	return root.Content[0], nil
}

// value is what sigs.k8s.io/yaml makes of the text. Doubled keys are told from the tree: here the last one counts.
func (d *document) value() (any, []Problem) {
	text, err := yaml.YAMLToJSON([]byte(d.text))
	if err != nil {
		return nil, []Problem{*d.syntax(err)}
	}
	p := &parser{text: string(text), json: true, limits: Limits{Fields: 1 << 40, Depth: 1 << 20}}
	root, ok := p.document()
	if !ok {
		return nil, []Problem{*d.syntax(errors.New("value has no JSON form"))}
	}
	return root, nil
}

// walk checks a tree before its value is made.
type walk struct {
	doc      *document
	limits   Limits
	sizes    map[*yamlv3.Node]cost // of nodes that an anchor names
	open     map[*yamlv3.Node]bool // nodes being walked
	fatal    *Problem
	problems []Problem
}

// cost is what a node expands to.
type cost struct{ fields, bytes, depth int }

// cost is what n expands to. A key may be what a value may not.
func (w *walk) cost(n *yamlv3.Node, depth int, isKey bool) cost {
	if w.fatal != nil {
		return cost{}
	}
	if depth > w.limits.Depth {
		w.fail(n, RuleTooDeep, fmt.Sprintf("value is nested deeper than %d levels, expected less", w.limits.Depth), "")
		return cost{}
	}
	if n.Kind == yamlv3.AliasNode {
		if n.Alias == nil || w.open[n.Alias] {
			w.fail(n, RuleAlias, "alias *"+n.Value+" contains itself, expected a value that ends", "write the value out")
			return cost{}
		}
		c, known := w.sizes[n.Alias]
		if !known {
			c = w.cost(n.Alias, depth, isKey)
		}
		if depth+c.depth > w.limits.Depth {
			w.fail(n, RuleTooDeep, fmt.Sprintf("value is nested deeper than %d levels, expected less", w.limits.Depth), "")
		}
		return c
	}
	if n.Anchor != "" {
		if c, known := w.sizes[n]; known {
			return c
		}
	}
	w.open[n] = true
	c := cost{fields: 1, bytes: len(n.Value)}
	if n.Kind == yamlv3.ScalarNode && !isKey && !isQuoted(n) {
		if f, ok := resolveFloat(n.Value); ok && (math.IsInf(f, 0) || math.IsNaN(f)) && !w.saysText(n) {
			w.fail(n, RuleSyntax, "number "+n.Value+" is infinite or not a number, which JSON cannot hold; expected a finite one", "write a finite number, or put it in quotes")
		}
	}
	for i, child := range n.Content {
		sub := w.cost(child, depth+1, n.Kind == yamlv3.MappingNode && i%2 == 0)
		c.fields += sub.fields
		c.bytes += sub.bytes
		c.depth = max(c.depth, sub.depth+1)
		if c.fields > 2*w.limits.Fields || c.bytes > w.limits.Expanded {
			w.tooBig(n)
			return cost{}
		}
	}
	delete(w.open, n)
	if n.Kind == yamlv3.MappingNode {
		w.keys(n)
	}
	if n.Anchor != "" {
		w.sizes[n] = c
	}
	return c
}

func (w *walk) tooBig(n *yamlv3.Node) {
	if strings.Contains(w.doc.text, "*") {
		w.fail(n, RuleAlias, fmt.Sprintf("aliases expand this value beyond %d fields or %s, expected less", w.limits.Fields, size(w.limits.Expanded)), "write out what is meant, or split the document")
		return
	}
	w.fail(n, RuleTooLarge, fmt.Sprintf("value has more than %d fields, expected less", w.limits.Fields), "split it into smaller documents")
}

func (w *walk) fail(n *yamlv3.Node, rule, message, fix string) {
	if w.fatal == nil {
		w.fatal = w.doc.problem(rule, w.doc.offset(n), 0, message, fix)
	}
}

// keys tells of each key of a map that is written twice.
func (w *walk) keys(n *yamlv3.Node) {
	seen := make(map[string]*yamlv3.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		name, ok := keyText(k)
		if isMerge(k) {
			continue
		}
		if !ok && k.Kind == yamlv3.ScalarNode && w.saysText(k) {
			name, ok = k.Value, true
		}
		if !ok && strings.Contains(w.doc.text, "{{") {
			w.fatal = w.doc.syntax(errors.New("invalid map key"))
			continue
		}
		if !ok {
			w.fail(k, RuleSyntax, "key is empty, a map or a list, expected a text", "put the key in quotes")
			continue
		}
		if first := seen[name]; first != nil {
			if w.doc.told < maxProblems {
				w.problems = w.doc.duplicate(w.problems, name, w.doc.offset(first), w.doc.offset(k), 0)
			}
			continue
		}
		seen[name] = k
	}
}

// saysText says that a scalar has the tag `!`, which makes it text and which the library's tree does not keep.
func (w *walk) saysText(n *yamlv3.Node) bool {
	rest := w.doc.text[w.doc.offset(n):]
	return strings.HasPrefix(rest, "!") && (len(rest) == 1 || strings.IndexByte(" \t\r\n", rest[1]) >= 0)
}

// duplicate adds the problem of a key at offset second that was written at offset first already.
func (d *document) duplicate(problems []Problem, name string, first, second, end int) []Problem {
	last, over := d.full()
	if over {
		return problems
	}
	p := d.problem(RuleDuplicateKey, second, end, fmt.Sprintf("key %q is written twice, first at line %d; expected once", shorten(name), d.position(first, 0).Line), "remove one of the two")
	if last {
		p.Message += "; further problems of this document are not shown"
	}
	return append(problems, *p)
}

func isMerge(k *yamlv3.Node) bool {
	return k.Kind == yamlv3.ScalarNode && k.Value == "<<" && (k.Tag == "!!merge" || k.Tag == "" || k.Tag == "!")
}

// keyText is the key that sigs.k8s.io/yaml makes of a node: scalars of other types are written as text.
func keyText(k *yamlv3.Node) (string, bool) {
	if k.Kind == yamlv3.AliasNode && k.Alias != nil {
		k = k.Alias
	}
	if k.Kind != yamlv3.ScalarNode {
		return "", false
	}
	if k.Style&yamlv3.TaggedStyle != 0 {
		switch k.ShortTag() {
		case "!!binary":
			text, err := base64.StdEncoding.DecodeString(k.Value)
			return string(text), err == nil
		case "!!bool", "!!int", "!!float":
			if v, ok := resolve(k.Value); ok {
				return keyString(v)
			}
		}
	}
	if isQuoted(k) {
		return k.Value, true
	}
	switch v, ok := resolve(k.Value); {
	case !ok:
		return k.Value, true
	default:
		return keyString(v)
	}
}

// isQuoted says that a scalar is text however it looks.
func isQuoted(n *yamlv3.Node) bool {
	const quoted = yamlv3.DoubleQuotedStyle | yamlv3.SingleQuotedStyle | yamlv3.LiteralStyle | yamlv3.FoldedStyle
	return n.Style&quoted != 0 || n.Style&yamlv3.TaggedStyle != 0 && n.Tag != "!!float"
}

var errorLine = regexp.MustCompile(`^line (\d+): `)

// syntax says in our voice what a YAML library found.
func (d *document) syntax(err error) *Problem {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := errorLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
		for _, part := range parserErrors {
			if strings.HasPrefix(message, part) {
				line++ // the library counts the lines of these from 0
			}
		}
	}
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		if at := strings.Index(d.text, "*"+m[1]); at >= 0 {
			return d.problem(RuleSyntax, at, at+1+len(m[1]), "alias *"+m[1]+" names no anchor before it", "define the anchor, or put a value that begins with * in quotes")
		}
	}
	from := d.lineStart(line)
	if strings.Contains(d.text, "{{") {
		at := strings.Index(d.text, "{{")
		return d.problem(RuleSyntax, at, at+2, "text is no YAML and looks like a Helm or Go template, expected a rendered manifest", fixOf[looksTemplate])
	}
	if tab := d.tabIndent(line); tab >= 0 {
		return d.problem(RuleSyntax, tab, tab+1, "line is indented with a tab, which YAML forbids; expected spaces", "replace the tab with spaces")
	}
	if strings.HasPrefix(d.text[from:], "%") {
		return d.problem(RuleSyntax, from, 0, "text has a YAML directive, which Kubernetes' clients refuse", "remove the line that begins with %")
	}
	if d.endsEarly() {
		end := len(strings.TrimRight(d.text, " \t\r\n"))
		return d.problem(RuleSyntax, max(end-1, 0), end, "text ends inside a map or list, expected its closing bracket", "write what is missing at the end, or make the file anew")
	}
	fix := "mend the text"
	for _, known := range syntaxFixes {
		if strings.Contains(message, known.part) {
			message, fix = known.message, known.fix
			break
		}
	}
	for from < len(d.text) && (d.text[from] == ' ' || d.text[from] == '\t') {
		from++
	}
	if message == syntaxFixes[0].message {
		from = d.secondColon(from)
	}
	return d.problem(RuleSyntax, from, 0, message, fix)
}

// endsEarly says that the text is the beginning of JSON.
func (d *document) endsEarly() bool {
	text := strings.TrimSpace(d.text)
	if text == "" || text[0] != '{' && text[0] != '[' {
		return false
	}
	var value json.RawMessage
	return errors.Is(json.NewDecoder(strings.NewReader(text)).Decode(&value), io.ErrUnexpectedEOF)
}

var unknownAnchor = regexp.MustCompile(`^unknown anchor '(.+)' referenced`)

// parserErrors are what the library says of tokens in a wrong order. Its other errors are about characters.
var parserErrors = []string{
	"did not find expected key", "did not find expected '-' indicator", "did not find expected ','", "did not find expected node content",
	"did not find expected <", "found undefined tag handle", "found duplicate %", "found incompatible YAML document",
}

var syntaxFixes = []struct{ part, message, fix string }{
	{"mapping values are not allowed", "a key with a value stands where only a value can, expected a new line or quotes", "put the value in quotes when it holds `: `, or mend the indentation"},
	{"did not find expected key", "line does not fit the map above it, expected a key at the map's indentation", "mend the indentation, or close the quote or bracket above"},
	{"did not find expected '-' indicator", "line does not fit the list above it, expected `- ` at the list's indentation", "mend the indentation"},
	{"could not find expected ':'", "key has no colon, expected `key: value`", "add a colon and a space, or put a text of several lines in quotes"},
	{"did not find expected <document start>", "text goes on after the document's end, expected `---` or the indentation of its first line", "indent the line like the first one, or put `---` before it"},
	{"found unexpected end of stream", "quoted text is not closed before the end, expected a closing quote", "close the quote"},
	{"did not find expected ',' or ']'", "list in brackets is not closed, expected `,` or `]`", "close the bracket"},
	{"did not find expected ',' or '}'", "map in braces is not closed, expected `,` or `}`", "close the brace"},
	{"cannot start any token", "character cannot begin a value, expected it in quotes", "put the value in quotes"},
	{"did not find expected node content", "value is missing, or begins with a character that cannot begin one", "put the value in quotes, or close the bracket"},
	{"invalid map key", "key is a map or a list, expected a text", "put the key in quotes"},
	{"unsupported map key", "key is empty or null, expected a text", "put the key in quotes"},
}

// secondColon is the offset of the second colon of the line at from that makes a key, or from.
func (d *document) secondColon(from int) int {
	line, _, _ := strings.Cut(d.text[from:], "\n")
	line = strings.TrimRight(line, "\r") + " "
	first := strings.Index(line, ": ")
	if first < 0 {
		return from
	}
	second := strings.Index(line[first+1:], ": ")
	if second < 0 {
		return from
	}
	return from + first + 1 + second
}

// lineStart is the offset of a 1-based line of the text, or of the last line that has something.
func (d *document) lineStart(line int) int {
	from := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(d.text[from:], '\n')
		if i < 0 || strings.TrimSpace(d.text[from+i+1:]) == "" {
			break
		}
		from += i + 1
	}
	return from
}

// tabIndent finds a tab in the indentation of the line or its neighbours; -1 when there is none.
func (d *document) tabIndent(line int) int {
	for _, n := range []int{line, line + 1, line - 1} {
		if n < 1 {
			continue
		}
		for i := d.lineStart(n); i < len(d.text); i++ {
			if d.text[i] == '\t' {
				return i
			}
			if d.text[i] != ' ' {
				break
			}
		}
	}
	return -1
}
