package schema

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"gitgate.dev/gitgate/policies"
)

// maxLeaves bounds what is said of one object by one schema.
const maxLeaves = 50

// jsonPolicy is a JSON Schema and the objects it is put on.
type jsonPolicy struct {
	file   string
	schema *jsonschema.Schema
	uses   []JSONSchema
}

func (p *jsonPolicy) policy() *policies.Policy {
	doc := "The JSON Schema " + p.file
	switch {
	case p.schema.Title != "" && p.schema.Description != "":
		doc = p.schema.Title + ": " + p.schema.Description
	case p.schema.Title != "" || p.schema.Description != "":
		doc = p.schema.Title + p.schema.Description
	}
	return &policies.Policy{
		Name: Name + "/" + p.file, Kind: Name, Doc: strings.TrimSuffix(doc, "."), Severity: policies.High,
		Origin: policies.Position{File: p.file, Line: 1, Column: 1},
		Judge:  p.judge,
	}
}

func (p *jsonPolicy) judge(_ context.Context, c *policies.Change) (policies.Finding, error) {
	var f policies.Finding
	judged := false
	for _, use := range p.uses {
		if !use.covers(c.Object) {
			continue
		}
		if use.Key == "" {
			judged = true
			violations, err := p.whole(c.Object)
			if err != nil {
				return policies.Finding{}, err
			}
			f.Violations = append(f.Violations, violations...)
			continue
		}
		violations, there, err := p.data(c.Object, use.Key)
		if err != nil {
			return policies.Finding{}, err
		}
		judged = judged || there
		f.Violations = append(f.Violations, violations...)
	}
	if !judged {
		f.Skipped = "it is put on other objects"
	}
	return f, nil
}

func (s JSONSchema) covers(o *policies.Object) bool {
	name, group, qualified := strings.Cut(s.Kind, ".")
	if o.Kind.Kind != name || qualified && o.Kind.Group != group {
		return false
	}
	return len(s.Names) == 0 || slices.ContainsFunc(s.Names, func(pattern string) bool {
		ok, err := path.Match(pattern, o.Name)
		return err == nil && ok
	})
}

// whole judges the object itself, with its defaults.
func (p *jsonPolicy) whole(o *policies.Object) ([]policies.Violation, error) {
	content := o.Settled()
	found, err := p.leaves(content)
	var out []policies.Violation
	for _, l := range found {
		at := pathIn(content, l.steps)
		v := policies.Violation{Rule: l.keyword(), Path: at, Message: subject(at) + l.message(secret(o))}
		if l.unexpected {
			v.At = policies.AtKey
		}
		out = append(out, v)
	}
	return out, err
}

// data judges the text under a key of data. there is false when the object has no such key.
func (p *jsonPolicy) data(o *policies.Object, key string) (violations []policies.Violation, there bool, err error) {
	text, at, err := dataText(o, key)
	switch {
	case err != nil:
		return []policies.Violation{{Rule: "syntax", Path: at, Message: fmt.Sprintf("%s: %v", at, err)}}, true, nil
	case at == nil:
		return nil, false, nil
	}
	value, err := decodeText(key, []byte(text))
	if err != nil {
		return []policies.Violation{notText(o, at, key, text, err)}, true, nil
	}
	found, err := p.leaves(value)
	if len(found) == 0 {
		return nil, true, err
	}
	root := rootOf([]byte(text))
	for _, l := range found {
		v := policies.Violation{Rule: l.keyword(), Path: at, Message: fmt.Sprintf("%s: %s%s", at, prefixed(l.steps), l.message(secret(o)))}
		if n := nodeAt(root, l.steps, l.unexpected); n != nil && !secret(o) && len(l.steps) > 0 {
			v.Pos = o.LocateInside(at, text, n.Line, n.Column-1)
		}
		violations = append(violations, v)
	}
	return violations, true, err
}

var lineNumber = regexp.MustCompile(`\bline (\d+): `)

// notText says that the text at a path cannot be read as its key promises, and in which line.
func notText(o *policies.Object, at policies.Path, key, text string, err error) policies.Violation {
	v := policies.Violation{Rule: "syntax", Path: at, Message: fmt.Sprintf("%s is no %s", at, textKind(key))}
	if secret(o) {
		return v
	}
	why := strings.Join(strings.Fields(err.Error()), " ")
	for _, noise := range []string{"error converting YAML to JSON: ", "yaml: ", "unmarshal errors: "} {
		why = strings.TrimPrefix(why, noise)
	}
	if m := lineNumber.FindStringSubmatch(why); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			v.Pos = o.LocateInside(at, text, line, 0)
			why = strings.Replace(why, m[0], "", 1)
		}
	}
	v.Message += ": " + why
	return v
}

// dataText is the text that an object holds under a key, and where: in data or, for a Secret whose stored form is not known, in
// stringData. The path is nil when there is none.
func dataText(o *policies.Object, key string) (string, policies.Path, error) {
	at := policies.Path{"data", key}
	if secret(o) {
		if v, ok := policies.Lookup(o.Map(), policies.Path{"stringData", key}); ok && v != nil {
			at = policies.Path{"stringData", key}
			s, isText := v.(string)
			if !isText {
				return "", at, errors.New("expected a text")
			}
			return s, at, nil
		}
	}
	v, ok := policies.Lookup(o.Settled(), at)
	if !ok || v == nil {
		return "", nil, nil
	}
	s, isText := v.(string)
	if !isText {
		return "", at, errors.New("expected a text")
	}
	if secret(o) {
		decoded, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return "", at, errors.New("expected base64")
		}
		s = string(decoded)
	}
	return s, at, nil
}

// secret says that the values of o are not for messages.
func secret(o *policies.Object) bool {
	return o.Kind.Kind == "Secret" && o.Kind.Group == ""
}

// textKind names what the text under a key should be.
func textKind(key string) string {
	if strings.EqualFold(path.Ext(key), ".json") {
		return "JSON"
	}
	return "YAML"
}

// leaf is one way in which a value breaks a schema.
type leaf struct {
	steps      []string // where in the value
	kind       jsonschema.ErrorKind
	unexpected bool // the field should not be there
	text       string
}

// leaves says how value breaks the schema. Its error says that the schema cannot judge.
func (p *jsonPolicy) leaves(value any) ([]leaf, error) {
	err := p.schema.Validate(value)
	if err == nil {
		return nil, nil
	}
	var tree *jsonschema.ValidationError
	if !errors.As(err, &tree) {
		return nil, fmt.Errorf("%s: %w", p.file, err)
	}
	found := leaves(tree, nil)
	for _, l := range found {
		if cycle, ok := l.kind.(*kind.RefCycle); ok {
			return nil, fmt.Errorf("%s refers to itself without end, at %s", p.file, bundleURL.ReplaceAllString(cycle.URL, "$1#$2"))
		}
	}
	return found[:min(len(found), maxLeaves)], nil
}

// leaves takes apart what the library says: a tree, whose leaves are what is wrong. Of alternatives it says the way that went
// furthest, which is the one that the author most likely meant.
func leaves(e *jsonschema.ValidationError, found []leaf) []leaf {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		if one, ok := k.(*kind.OneOf); ok && len(one.Subschemas) > 1 {
			return append(found, leaf{steps: e.InstanceLocation, kind: k, text: "matches more than one of the schemas of which it should match one"})
		}
		var best []leaf
		for _, cause := range e.Causes {
			if way := leaves(cause, nil); best == nil || deepest(way) > deepest(best) || deepest(way) == deepest(best) && len(way) < len(best) {
				best = way
			}
		}
		return append(found, best...)
	case *kind.Required:
		for _, name := range k.Missing {
			found = append(found, leaf{steps: e.InstanceLocation, kind: k, text: fmt.Sprintf("field %s is missing", name)})
		}
		return found
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			found = append(found, leaf{steps: append(slices.Clone(e.InstanceLocation), name), kind: k, unexpected: true, text: "is a field that the schema does not have"})
		}
		return found
	}
	if len(e.Causes) == 0 {
		_, never := e.ErrorKind.(*kind.FalseSchema)
		return append(found, leaf{steps: e.InstanceLocation, kind: e.ErrorKind, unexpected: never})
	}
	for _, cause := range e.Causes {
		found = leaves(cause, found)
	}
	return found
}

func deepest(found []leaf) int {
	depth := 0
	for _, l := range found {
		depth = max(depth, len(l.steps))
	}
	return depth
}

// keyword is the word of the schema that a leaf breaks: the id of its rule.
func (l leaf) keyword() string {
	if words := l.kind.KeywordPath(); len(words) > 0 && words[0] != "" {
		return words[0]
	}
	return "schema"
}

// message says what is wrong with a value, without the value when it is hidden.
func (l leaf) message(hidden bool) string {
	if l.text != "" {
		return l.text
	}
	switch k := l.kind.(type) {
	case *kind.Type:
		return fmt.Sprintf("is %s, expected %s", k.Got, strings.Join(k.Want, " or "))
	case *kind.FalseSchema:
		return "is a field that the schema does not allow"
	}
	if hidden {
		return fmt.Sprintf("breaks %s of the schema", l.keyword())
	}
	return l.kind.LocalizedString(message.NewPrinter(language.English))
}

// pathIn turns steps of the library, which are all texts, into a path of content.
func pathIn(content any, steps []string) policies.Path {
	var p policies.Path
	for _, step := range steps {
		var next any = step
		if _, isList := content.([]any); isList {
			if i, err := strconv.Atoi(step); err == nil {
				next = i
			}
		}
		p = append(p, next)
		content, _ = policies.Lookup(content, policies.Path{next})
	}
	return p
}

// subject begins a message about the field at p.
func subject(p policies.Path) string {
	if len(p) == 0 {
		return "the object: "
	}
	return p.String() + ": "
}

// prefixed begins a message about a place in a text.
func prefixed(steps []string) string {
	if len(steps) == 0 {
		return ""
	}
	p := make(policies.Path, len(steps))
	for i, step := range steps {
		if n, err := strconv.Atoi(step); err == nil {
			p[i] = n
		} else {
			p[i] = step
		}
	}
	return p.String() + " "
}
