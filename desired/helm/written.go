package helm

import (
	"fmt"
	"path"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policies"
)

// Place is where something is written.
type Place struct {
	policies.Position
	Commit string // the commit of the repository that File lies in
}

// Written finds a value in one of the places that values of a release are merged from; ok is false when it does not say it.
type Written func(p policies.Path) (Place, bool)

// InFile finds values in a file of them.
func InFile(file string, text []byte, commit string) Written {
	return func(p policies.Path) (Place, bool) {
		pos, ok := positionOf(file, text, p)
		return Place{pos, commit}, ok
	}
}

// InObject finds values that an object holds at a field.
func InObject(o *policies.Object, field policies.Path) Written {
	return func(p policies.Path) (Place, bool) {
		full := field.Append(p...)
		if _, ok := policies.Lookup(o.Map(), full); !ok {
			return Place{}, false
		}
		return Place{o.Locate(full, policies.AtValue), o.Origin.Commit}, true
	}
}

// InText finds values in a text of YAML that an object holds at a field. A text that begins where its file begins is all of it.
func InText(o *policies.Object, field policies.Path, text string) Written {
	return func(p policies.Path) (Place, bool) {
		if written, _ := policies.Lookup(o.Map(), field); written != text {
			return Place{}, false
		}
		start := o.Locate(field, policies.AtValue)
		pos, ok := positionOf(start.File, []byte(text), p)
		if ok && (start.Line != 1 || start.Column != 1) {
			pos = o.LocateInside(field, text, pos.Line, pos.Column-1)
		}
		return Place{pos, o.Origin.Commit}, ok
	}
}

// InParameter finds one value that is set by its name, as by --set, and written at a field of an object.
func InParameter(o *policies.Object, field policies.Path, name string) Written {
	return func(p policies.Path) (Place, bool) {
		_, ok := policies.Lookup(o.Map(), field)
		return Place{o.Locate(field, policies.AtValue), o.Origin.Commit}, ok && name == parameter(p)
	}
}

// parameter is the name by which --set knows a value.
func parameter(p policies.Path) string {
	var b strings.Builder
	for i, step := range p {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, ".", `\.`, ",", `\,`, "=", `\=`, "[", `\[`, "]", `\]`).Replace(step))
		}
	}
	return b.String()
}

// positionOf finds a value in a text of YAML.
func positionOf(file string, text []byte, p policies.Path) (policies.Position, bool) {
	if len(text) > maxChartFile {
		return policies.Position{}, false
	}
	var document yamlv3.Node
	if err := yamlv3.Unmarshal(text, &document); err != nil || len(document.Content) == 0 {
		return policies.Position{}, false
	}
	n := nodeAt(document.Content[0], p, 0)
	if n == nil {
		return policies.Position{}, false
	}
	pos := policies.Position{File: file, Line: n.Line, Column: n.Column}
	lines := strings.Split(string(text), "\n")
	if n.Line > 0 && n.Line <= len(lines) {
		pos.Text = strings.TrimSuffix(lines[n.Line-1], "\r")
	}
	if from := n.Column - 1; from >= 0 && from <= len(pos.Text) && strings.HasPrefix(pos.Text[from:], n.Value) {
		pos.EndColumn = n.Column + len(n.Value)
	}
	return pos, true
}

// maxNodes bounds the levels, aliases and merged maps that one look-up goes through.
const maxNodes = 200

func nodeAt(n *yamlv3.Node, p policies.Path, level int) *yamlv3.Node {
	switch {
	case n == nil || level > maxNodes:
		return nil
	case n.Kind == yamlv3.AliasNode:
		return nodeAt(n.Alias, p, level+1)
	case len(p) == 0:
		return n
	}
	switch step := p[0].(type) {
	case int:
		if n.Kind == yamlv3.SequenceNode && step >= 0 && step < len(n.Content) {
			return nodeAt(n.Content[step], p[1:], level+1)
		}
	case string:
		if n.Kind != yamlv3.MappingNode {
			return nil
		}
		for i := len(n.Content) - 2; i >= 0; i -= 2 {
			if n.Content[i].Value == step {
				return nodeAt(n.Content[i+1], p[1:], level+1)
			}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag != "!!merge" {
				continue
			}
			merged := []*yamlv3.Node{n.Content[i+1]}
			if merged[0].Kind == yamlv3.SequenceNode {
				merged = merged[0].Content
			}
			for _, m := range merged {
				if found := nodeAt(m, p, level+1); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// own finds a value in the chart's files: its own values.yaml, or that of a chart in it.
func (c *Chart) own(p policies.Path) (Place, bool) {
	for _, w := range slices.Backward(c.replaced) {
		if place, ok := w(p); ok {
			return place, true
		}
	}
	prefix := ""
	for depth := 0; len(p) > 0 && depth < maxNodes; depth++ {
		if f, ok := c.find(prefix + "values.yaml"); ok && (prefix != "" || len(c.replaced) == 0) {
			if pos, ok := positionOf(f.path, f.data, p); ok {
				if f.archive {
					pos = policies.Position{File: f.path}
				}
				return Place{pos, c.commit}, true
			}
		}
		name, _ := p[0].(string)
		folder := path.Join(prefix, "charts", c.dependency(prefix, name)) + "/"
		if name == "" || !slices.ContainsFunc(c.files, func(f file) bool { return strings.HasPrefix(f.name, folder) }) {
			return Place{}, false
		}
		prefix, p = folder, p[1:]
	}
	return Place{}, false
}

// dependency is the name of the chart that values of a name are for: an alias stands for another one.
func (c *Chart) dependency(prefix, name string) string {
	f, ok := c.find(prefix + "Chart.yaml")
	if !ok {
		return name
	}
	var metadata struct {
		Dependencies []struct{ Name, Alias string }
	}
	if err := yamlv3.Unmarshal(f.data, &metadata); err != nil {
		return name
	}
	for _, d := range metadata.Dependencies {
		if d.Alias == name && d.Name != "" {
			return d.Name
		}
	}
	return name
}
