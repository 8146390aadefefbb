package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

// scheme is that of the URLs under which schemas know the files of the bundle: bundle:///schemas/app.json.
const scheme = "bundle"

func urlOf(file string) string {
	return (&url.URL{Scheme: scheme, Path: "/" + strings.TrimPrefix(file, "/")}).String()
}

// loader gives the files of the bundle to the JSON Schema compiler, and nothing else: no network, no file outside.
type loader struct {
	docs map[string][]byte
	read func(string) ([]byte, error)
	seen map[string][]byte // what was loaded, for positions of errors
}

func (l *loader) Load(address string) (any, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if u.Scheme != scheme {
		return nil, fmt.Errorf("%s is not in the bundle: expected a $ref to a file beside the schema, nothing is fetched", address)
	}
	name := path.Clean(strings.TrimPrefix(u.Path, "/"))
	text, ok := l.docs[name]
	switch {
	case ok:
	case !fs.ValidPath(name):
		return nil, fmt.Errorf("%s is no path of the bundle", name)
	case l.read == nil:
		return nil, fmt.Errorf("%s is not among the schemas", name)
	default:
		if text, err = l.read(name); err != nil {
			return nil, err
		}
	}
	l.seen[name] = text
	return decodeText(name, text)
}

// decodeText reads JSON, or YAML with the API server's clients' semantics, as the JSON Schema library wants it: one document.
func decodeText(name string, text []byte) (any, error) {
	if !strings.EqualFold(path.Ext(name), ".json") {
		var err error
		d := yaml.NewDecoder(bytes.NewReader(text))
		for documents := 0; err == nil; documents++ {
			var n yaml.Node
			if err = d.Decode(&n); err == nil && documents == 1 {
				return nil, fmt.Errorf("line %d: a second document begins, expected one", n.Line)
			}
		}
		if text, err = sigsyaml.YAMLToJSONStrict(text); err != nil {
			return nil, err
		}
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

// compileJSONSchemas makes one policy of each schema file, for all objects that it is put on.
func (o Options) compileJSONSchemas(docs []policies.Document) ([]*policies.Policy, error) {
	l := &loader{docs: map[string][]byte{}, read: o.Read, seen: map[string][]byte{}}
	for _, d := range docs {
		if d.Object == nil {
			l.docs[path.Clean(d.File)] = d.Text
		}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(l)
	var out []*policies.Policy
	var errs []error
	byFile := map[string]*jsonPolicy{}
	for _, s := range o.JSONSchemas {
		for _, pattern := range s.Names {
			if _, err := path.Match(pattern, ""); err != nil {
				errs = append(errs, policies.ErrorAt(s.Pos, fmt.Errorf("name pattern %q: %w", pattern, err)))
			}
		}
		file := path.Clean(s.File)
		p := byFile[file]
		if p == nil {
			compiled, err := c.Compile(urlOf(file))
			if err != nil {
				errs = append(errs, l.locate(file, s.Pos, err))
				continue
			}
			p = &jsonPolicy{file: file, schema: compiled}
			if _, err := p.leaves(nil); err != nil {
				errs = append(errs, policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("JSON Schema: %w", err)))
				continue
			}
			byFile[file] = p
			out = append(out, p.policy())
		}
		p.uses = append(p.uses, s)
	}
	for _, made := range out {
		p := byFile[strings.TrimPrefix(made.Name, Name+"/")]
		for _, use := range p.uses {
			kind, group, qualified := strings.Cut(use.Kind, ".")
			if !qualified {
				group = "*"
			}
			if rule := (policies.KindRule{Group: group, Kind: kind}); !slices.Contains(made.Match.Kinds, rule) {
				made.Match.Kinds = append(made.Match.Kinds, rule)
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// bundleURL finds the place of a schema in an error of the library.
var bundleURL = regexp.MustCompile(scheme + `://(/[^\s"'#]*)(?:#([^\s"']*))?`)

// locate says where in which file an error of the compiler is; else it is where the configuration names the schema.
func (l *loader) locate(file string, pos policies.Position, err error) error {
	var invalid *jsonschema.SchemaValidationError
	if errors.As(err, &invalid) {
		var tree *jsonschema.ValidationError
		if errors.As(invalid.Err, &tree) {
			in := file
			if m := bundleURL.FindStringSubmatch(invalid.URL); m != nil {
				in = unescaped(strings.TrimPrefix(m[1], "/"))
			}
			var errs []error
			for _, f := range leaves(tree, nil) {
				errs = append(errs, policies.ErrorAt(positionIn(in, l.seen[in], f.steps), fmt.Errorf("JSON Schema: %s%s", prefixed(f.steps), f.message(false))))
			}
			return errors.Join(errs...)
		}
	}
	message := err.Error()
	var load *jsonschema.LoadURLError
	if errors.As(err, &load) {
		message = load.Err.Error()
		if errors.Is(load.Err, fs.ErrNotExist) {
			message = strings.TrimPrefix(unescaped(strings.TrimPrefix(load.URL, scheme+":///")), "/") + " does not exist"
		}
		if load.URL != urlOf(file) {
			return policies.ErrorAt(l.reference(file, load.URL, pos), fmt.Errorf("JSON Schema: %s", message))
		}
		return policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("JSON Schema: %s", message))
	}
	if m := bundleURL.FindStringSubmatch(message); m != nil {
		message = bundleURL.ReplaceAllString(message, "$1#$2")
		if at := l.reference(file, m[0], policies.Position{}); at.Line > 0 {
			return policies.ErrorAt(at, fmt.Errorf("JSON Schema: %s", message))
		}
		if in := unescaped(strings.TrimPrefix(m[1], "/")); l.seen[in] != nil {
			return policies.ErrorAt(positionIn(in, l.seen[in], pointer(m[2])), fmt.Errorf("JSON Schema: %s", message))
		}
	}
	return policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("JSON Schema: %s", message))
}

// reference is the place of the first $ref of what was loaded that leads to address, whose fragment counts when it has one.
func (l *loader) reference(file, address string, fallback policies.Position) policies.Position {
	names := make([]string, 0, len(l.seen))
	for name := range l.seen {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		base, err := url.Parse(urlOf(name))
		if err != nil {
			continue
		}
		if at := findRef(rootOf(l.seen[name]), base, address); at != nil {
			return policies.Position{File: name, Line: at.Line, Column: at.Column, Text: lineOf(l.seen[name], at.Line)}
		}
	}
	return fallback
}

func findRef(n *yaml.Node, base *url.URL, address string) *yaml.Node {
	if n == nil || n.Kind == yaml.AliasNode {
		return nil
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i].Value; key == "$id" || key == "id" {
				if u, err := base.Parse(n.Content[i+1].Value); err == nil {
					base = u
				}
			}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i].Value; key == "$ref" || key == "$dynamicRef" || key == "$schema" {
				if u, err := base.Parse(n.Content[i+1].Value); err == nil {
					if !strings.Contains(address, "#") {
						u.Fragment, u.RawFragment = "", ""
					}
					if u.String() == address {
						return n.Content[i+1]
					}
				}
			}
		}
	}
	for _, child := range n.Content {
		if at := findRef(child, base, address); at != nil {
			return at
		}
	}
	return nil
}

func unescaped(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// pointer splits a JSON pointer (RFC 6901) as it stands in the fragment of a URL.
func pointer(s string) []string {
	s = unescaped(s)
	if !strings.HasPrefix(s, "/") {
		return nil
	}
	steps := strings.Split(s[1:], "/")
	for i, step := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	return steps
}

// rootOf parses text, JSON or YAML, for positions only; nil when it cannot be parsed.
func rootOf(text []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// positionIn is the place of what steps lead to in a file, or of its deepest ancestor.
func positionIn(file string, text []byte, steps []string) policies.Position {
	pos := policies.Position{File: file}
	if at := nodeAt(rootOf(text), steps, true); at != nil {
		pos.Line, pos.Column, pos.Text = at.Line, at.Column, lineOf(text, at.Line)
	}
	return pos
}

// nodeAt follows steps from n, the key of a field or the index of an item, as far as they lead. A value that is a map or a list is
// shown at its key, and so is each value when atKey is set.
func nodeAt(n *yaml.Node, steps []string, atKey bool) *yaml.Node {
	at := n
	for i, step := range steps {
		if n != nil && n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		key, value := child(n, step)
		if value == nil {
			break
		}
		at, n = key, value
		if i == len(steps)-1 && !atKey && value.Kind == yaml.ScalarNode {
			at = value
		}
	}
	return at
}

// child is the field or the item that a step leads to, and where it begins.
func child(n *yaml.Node, step string) (key, value *yaml.Node) {
	switch {
	case n == nil:
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				key, value = n.Content[i], n.Content[i+1]
			}
		}
	case n.Kind == yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
	}
	return key, value
}

func lineOf(text []byte, line int) string {
	for i := 1; i < line; i++ {
		_, rest, ok := bytes.Cut(text, []byte("\n"))
		if !ok {
			return ""
		}
		text = rest
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	return strings.TrimSuffix(string(first), "\r")
}
