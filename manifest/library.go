package manifest

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

// library reads the document with the YAML libraries: the value is sigs.k8s.io/yaml's, as it is for kubectl, once a walk over
// yaml/v3's tree has made sure that no alias makes it explode.
func (d *document) library(lim Limits) (any, []Problem) {
	if p := d.tooMany(lim); p != nil {
		return nil, []Problem{*p}
	}
	root, err := d.tree()
	if err != nil {
		if _, err2 := yaml.YAMLToJSON([]byte(d.text)); err2 == nil && !strings.ContainsAny(d.text, "&*") {
			// What only the older library reads is read without positions: it is still what kubectl would send.
			return d.value()
		}
		return nil, []Problem{*d.syntax(err)}
	}
	if root == nil {
		return nil, nil
	}
	w := &walk{doc: d, limits: lim, sizes: map[*yamlv3.Node]cost{}, open: map[*yamlv3.Node]bool{}}
	w.cost(root, 0)
	if w.fatal != nil {
		return nil, []Problem{*w.fatal}
	}
	value, problems := d.value()
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

func (w *walk) cost(n *yamlv3.Node, depth int) cost {
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
			c = w.cost(n.Alias, depth)
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
	for _, child := range n.Content {
		sub := w.cost(child, depth+1)
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
		if !ok || isMerge(k) {
			continue
		}
		if first := seen[name]; first != nil {
			w.problems = append(w.problems, *w.doc.duplicate(name, w.doc.offset(first), w.doc.offset(k), 0))
			continue
		}
		seen[name] = k
	}
}

// duplicate is the problem of a key at offset second that was written at offset first already.
func (d *document) duplicate(name string, first, second, end int) *Problem {
	line := d.position(first, 0).Line
	return d.problem(RuleDuplicateKey, second, end, fmt.Sprintf("key %q is written twice, first at line %d; expected once", name, line), "remove one of the two")
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
	if k.Style&(yamlv3.DoubleQuotedStyle|yamlv3.SingleQuotedStyle|yamlv3.LiteralStyle|yamlv3.FoldedStyle) != 0 || k.Style&yamlv3.TaggedStyle != 0 && k.Tag == "!!str" {
		return k.Value, true
	}
	switch v, ok := resolve(k.Value); {
	case !ok:
		return k.Value, true
	default:
		return keyString(v)
	}
}

var errorLine = regexp.MustCompile(`^line (\d+): `)

// syntax says in our voice what a YAML library found.
func (d *document) syntax(err error) *Problem {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := errorLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
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
	return d.problem(RuleSyntax, from, 0, message, fix)
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
	{"unknown anchor", "alias names no anchor before it", "define the anchor, or put a value that begins with * in quotes"},
	{"unsupported value", "number is infinite or not a number, which JSON cannot hold", "write a finite number, or put it in quotes"},
	{"invalid map key", "key is a map or a list, expected a text", "put the key in quotes"},
	{"unsupported map key", "key is empty or null, expected a text", "put the key in quotes"},
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

// offset turns the line and column of a node, which count characters, into an offset of the text.
func (d *document) offset(n *yamlv3.Node) int {
	from := 0
	for line := n.Line; line > 1; line-- {
		from += lineBreak(d.text[from:])
	}
	for col := n.Column; col > 1 && from < len(d.text); col-- {
		_, size := utf8.DecodeRuneInString(d.text[from:])
		from += size
	}
	return min(from, len(d.text))
}

// lineBreak is the length of the first line of s with its end, by YAML 1.1's line ends.
func lineBreak(s string) int {
	for i, r := range s {
		switch r {
		case '\n':
			return i + 1
		case '\r':
			if strings.HasPrefix(s[i+1:], "\n") {
				return i + 2
			}
			return i + 1
		case 0x85:
			return i + 2
		case 0x2028, 0x2029:
			return i + 3
		}
	}
	return len(s)
}

// nodeIndex finds places in a library's tree.
type nodeIndex struct {
	doc  *document
	root *yamlv3.Node
}

func (x *nodeIndex) find(p policies.Path) (place, int) {
	n, where := x.root, x.place(nil, x.root)
	for steps, step := range p {
		key, child := childOf(n, step, 0)
		if child == nil {
			return where, steps
		}
		n, where = child, x.place(key, child)
	}
	return where, len(p)
}

func (x *nodeIndex) place(key, n *yamlv3.Node) place {
	var w place
	if key != nil {
		w.key = x.doc.offset(key)
		w.keyEnd = w.key + max(1, len(key.Value))
	}
	w.container = n.Kind == yamlv3.MappingNode || n.Kind == yamlv3.SequenceNode
	w.from = x.doc.offset(n)
	if n.Kind == yamlv3.ScalarNode && n.Style == 0 && strings.HasPrefix(x.doc.text[w.from:], n.Value) {
		w.to = w.from + len(n.Value)
	}
	return w
}

// childOf finds a step below a node, in what its aliases and merges bring too. hops bounds chains of aliases.
func childOf(n *yamlv3.Node, step any, hops int) (key, child *yamlv3.Node) {
	for ; n != nil && n.Kind == yamlv3.AliasNode; n = n.Alias {
		if hops++; hops > 100 {
			return nil, nil
		}
	}
	if n == nil {
		return nil, nil
	}
	switch n.Kind {
	case yamlv3.SequenceNode:
		if i, ok := listStep(step); ok && i < len(n.Content) {
			return nil, n.Content[i]
		}
	case yamlv3.MappingNode:
		name, ok := step.(string)
		if !ok {
			name = fmt.Sprint(step)
		}
		for i := len(n.Content) - 2; i >= 0; i -= 2 { // of doubled keys the last one counts
			if text, ok := keyText(n.Content[i]); ok && text == name && !isMerge(n.Content[i]) {
				return n.Content[i], n.Content[i+1]
			}
		}
		for i := 0; i+1 < len(n.Content) && hops < 100; i += 2 {
			if !isMerge(n.Content[i]) {
				continue
			}
			merged := []*yamlv3.Node{n.Content[i+1]}
			if merged[0].Kind == yamlv3.SequenceNode {
				merged = merged[0].Content
			}
			for _, m := range merged {
				if k, c := childOf(m, step, hops+1); c != nil {
					return k, c
				}
			}
		}
	}
	return nil, nil
}
