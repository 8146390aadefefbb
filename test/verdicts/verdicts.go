// Package verdicts is one table of what the Kubernetes API server says of objects: good and bad ones of every built-in kind,
// and changes that it takes or refuses. Tests of the native rules and of a real API server read the same table. It must not
// know how a verdict is reached.
//
// A file holds YAML documents. The comments at the head of a document are its case:
//
//	# a sentence that names the case
//	# like: another case of the file          the object is that one's, with the edits below
//	# replaces: another case of the file      so is it, and that one's object is what it replaces
//	# set: spec.ports[0].port = 70000         an edit; the value is YAML
//	# unset: spec.selector                    an edit
//	# want: spec.ports[0].port [invalid]      a violation at that path by that rule; none means that the object is taken
//	# warn: part of a warning
package verdicts

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

//go:embed *.yaml
var files embed.FS

// Case is one row of the table.
type Case struct {
	File   string
	Name   string
	Object map[string]any
	Old    map[string]any // what Object replaces; nil when it is created
	Want   []string       // "path [rule]"
	Warn   []string
}

// All reads the table. Objects are not shared between cases.
func All() ([]Case, error) {
	names, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []Case
	for _, entry := range names {
		text, err := files.ReadFile(entry.Name())
		if err != nil {
			return nil, err
		}
		cases, err := Parse(entry.Name(), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, cases...)
	}
	return all, nil
}

// Parse reads one file.
func Parse(file, text string) ([]Case, error) {
	var cases []Case
	for _, doc := range strings.Split("\n"+text, "\n---\n") {
		c, err := parse(file, doc, cases)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file, c.Name, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func parse(file, doc string, before []Case) (Case, error) {
	c := Case{File: file}
	var edits []string
	var base *Case
	find := func(name string) error {
		i := slices.IndexFunc(before, func(b Case) bool { return b.Name == name })
		if i < 0 {
			return fmt.Errorf("no case %q above", name)
		}
		base = &before[i]
		return nil
	}
	for line := range strings.Lines(doc) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "# ")
		if !ok {
			if strings.TrimSpace(line) == "" {
				continue
			}
			break
		}
		verb, rest, _ := strings.Cut(comment, ": ")
		switch verb {
		case "like", "replaces":
			if err := find(rest); err != nil {
				return c, err
			}
			if verb == "replaces" {
				c.Old = clone(base.Object).(map[string]any)
			}
		case "set", "unset":
			edits = append(edits, comment)
		case "want":
			c.Want = append(c.Want, rest)
		case "warn":
			c.Warn = append(c.Warn, rest)
		default:
			if c.Name != "" {
				return c, fmt.Errorf("comment %q: expected like, replaces, set, unset, want or warn", comment)
			}
			c.Name = comment
		}
	}
	if base != nil {
		c.Object = clone(base.Object).(map[string]any)
	} else {
		json, err := yaml.YAMLToJSONStrict([]byte(doc))
		if err != nil {
			return c, err
		}
		if err := utiljson.Unmarshal(json, &c.Object); err != nil {
			return c, err
		}
	}
	for _, e := range edits {
		if err := edit(c.Object, e); err != nil {
			return c, err
		}
	}
	if c.Name == "" || len(c.Object) == 0 {
		return c, fmt.Errorf("a case needs a name and an object")
	}
	return c, nil
}

func edit(object map[string]any, e string) error {
	verb, rest, _ := strings.Cut(e, ": ")
	path, text, _ := strings.Cut(rest, " = ")
	p := policies.ParsePath(path)
	var value any
	if verb == "set" {
		json, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			return err
		}
		if err := utiljson.Unmarshal(json, &value); err != nil {
			return err
		}
	}
	var at any = object
	for i, step := range p {
		last := i == len(p)-1
		switch parent := at.(type) {
		case map[string]any:
			key, ok := step.(string)
			switch {
			case !ok:
				return fmt.Errorf("%s: step %d is no key", e, i)
			case last && verb == "unset":
				delete(parent, key)
			case last:
				parent[key] = value
			case parent[key] == nil:
				parent[key] = map[string]any{}
			}
			at = parent[key]
		case []any:
			index, ok := step.(int)
			if !ok || index >= len(parent) {
				return fmt.Errorf("%s: step %d is no item", e, i)
			}
			if last {
				parent[index] = value
			}
			at = parent[index]
		default:
			return fmt.Errorf("%s: step %d is in nothing", e, i)
		}
	}
	return nil
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for key := range out {
			out[key] = clone(out[key])
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = clone(out[i])
		}
		return out
	default:
		return v
	}
}
