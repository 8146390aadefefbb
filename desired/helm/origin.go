package helm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

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

// origins says which of a release's values the fields of its objects come from. A template can do anything with a value, so it is
// tried: the release is rendered once more with the value changed, and the fields that change with it come from it.
type origins struct {
	chart   *Chart
	release Release

	mu       sync.Mutex
	begun    bool
	left     time.Duration    // that renderings may still take
	objects  []map[string]any // as the templates write them, by number; nil when that cannot be told
	leaves   []leaf
	values   map[string]any
	tried    map[string]followers
	rendered int
}

// followers are the fields that change with a value: by the object's number, the paths.
type followers map[int]map[string]bool

// leaf is a value that holds no others.
type leaf struct {
	path  policies.Path
	value any
	text  string
}

const (
	maxTrials  = 150             // renderings of one release for where its fields come from
	maxGuesses = 12              // values that are tried for one field
	maxTrying  = 2 * time.Second // that they may take together: a denial waits for them
	maxLeaves  = 20_000
)

func (g *origins) begin() {
	if g.begun {
		return
	}
	g.begun, g.left, g.tried = true, maxTrying, map[string]followers{}
	g.objects = g.render(g.release)
	loaded, err := g.chart.load()
	if err != nil {
		return
	}
	merged, err := g.chart.prepare(loaded, g.release, states[0])
	if err != nil {
		return
	}
	if values, ok := table(merged["Values"]); ok {
		if g.values, err = decoded(values); err == nil {
			g.leaves = leavesOf(g.values, nil, nil)
		}
	}
}

// render gives the contents of the objects; nil when they cannot be had.
func (g *origins) render(r Release) []map[string]any {
	if g.rendered++; g.rendered > maxTrials {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.left)
	defer cancel()
	defer func(began time.Time) { g.left -= time.Since(began) }(time.Now())
	p, err := g.chart.once(ctx, r, states[0], 1)
	if err != nil {
		return nil
	}
	out := make([]map[string]any, len(p.objects))
	for i, o := range p.objects {
		out[i] = o.Content
	}
	return out
}

func leavesOf(v any, at policies.Path, out []leaf) []leaf {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out = leavesOf(v[key], at.Append(key), out)
		}
	case []any:
		for i, item := range v {
			out = leavesOf(item, at.Append(i), out)
		}
	case string, bool, float64:
		if len(out) < maxLeaves {
			out = append(out, leaf{path: at, value: v, text: scalar(v)})
		}
	}
	return out
}

// scalar is a value as a template writes it.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case map[string]any, []any, nil:
		return ""
	}
	return fmt.Sprint(v)
}

// written is the field of an object as its template wrote it, before a reconciler added anything.
func (g *origins) written(number int, p policies.Path) (any, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begin()
	if number >= len(g.objects) {
		return nil, false
	}
	return policies.Lookup(g.objects[number], p)
}

// of is where the value is written that a field comes from; line is what the template has there, and literal that it may be the
// field's own text.
func (g *origins) of(number int, p policies.Path, line string, literal bool) (Place, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begin()
	if number >= len(g.objects) {
		return Place{}, false
	}
	field, ok := policies.Lookup(g.objects[number], p)
	text := scalar(field)
	if !ok || text == "" || literal && strings.Contains(line, text) {
		return Place{}, false
	}
	for _, l := range g.guesses(p, text, line) {
		if g.follow(l)[number][p.String()] {
			return g.place(l.path)
		}
	}
	return Place{}, false
}

// place is where a value is written: in what is merged last of all that says it.
func (g *origins) place(p policies.Path) (Place, bool) {
	for _, w := range slices.Backward(g.release.Written) {
		if place, ok := w(p); ok {
			return place, true
		}
	}
	return g.chart.own(p)
}

// guesses are the values that a field may come from, the likeliest first: those that the line of the template names, those that
// are the whole field, those whose names are the field's; of several in one text the one that stands last, such as a tag.
func (g *origins) guesses(p policies.Path, text, line string) []leaf {
	type guess struct {
		leaf
		named, whole bool
		alike, at    int
	}
	var all []guess
	for _, l := range g.leaves {
		at := strings.LastIndex(text, l.text)
		if l.text == "" || at < 0 || l.text != text && len(l.text) < 2 {
			continue
		}
		named := strings.Contains(line, ".Values."+l.path.String())
		all = append(all, guess{leaf: l, named: named, whole: l.text == text, alike: alike(p, l.path), at: at + len(l.text)})
	}
	order := func(b bool) int {
		if b {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b guess) int {
		return cmp.Or(cmp.Compare(order(a.whole), order(b.whole)), cmp.Compare(order(a.named), order(b.named)),
			cmp.Compare(b.at, a.at), cmp.Compare(b.alike, a.alike), cmp.Compare(len(a.path), len(b.path)))
	})
	var out []leaf
	for _, guess := range all[:min(len(all), maxGuesses)] {
		out = append(out, guess.leaf)
	}
	return out
}

// alike counts the steps that two paths have in common at their ends.
func alike(a, b policies.Path) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// follow finds the fields that change as a value does.
func (g *origins) follow(l leaf) followers {
	name := l.path.String()
	if known, ok := g.tried[name]; ok {
		return known
	}
	out := followers{}
	g.tried[name] = out
	if g.rendered >= maxTrials || g.left <= 0 {
		return out
	}
	var other any
	switch v := l.value.(type) {
	case string:
		other = v + "77" // whatever a template does to letters
	case bool:
		other = !v
	case float64:
		other = v + 1
	}
	changed := g.release
	changed.SkipSchema = true
	var err error
	if changed.Values, err = decoded(g.release.Values); err != nil {
		return out
	}
	if changed.Values, err = with(changed.Values, g.values, l.path, other); err != nil {
		return out
	}
	objects := g.render(changed)
	byName := map[string]map[string]any{}
	for _, o := range objects {
		byName[identity(o)] = o
	}
	text := scalar(other)
	for i, before := range g.objects {
		now := byName[identity(before)]
		if now == nil && len(objects) == len(g.objects) && objects[i]["kind"] == before["kind"] {
			now = objects[i] // its name comes from the value
		}
		if now == nil {
			continue
		}
		for _, p := range differences(before, now, nil) {
			was, _ := policies.Lookup(before, p)
			is, ok := policies.Lookup(now, p)
			follows := scalar(is) == text
			if _, isText := is.(string); isText && !follows {
				follows = len(text) > 1 && strings.Contains(scalar(is), text) && !strings.Contains(scalar(was), text)
			}
			if !ok || !follows {
				continue
			}
			if out[i] == nil {
				out[i] = map[string]bool{}
			}
			out[i][p.String()] = true
		}
	}
	return out
}

// with is values with another one at a path. A list is given in full: Helm merges none.
func with(values, merged map[string]any, p policies.Path, v any) (map[string]any, error) {
	if at := slices.IndexFunc(p, func(step any) bool { _, isInt := step.(int); return isInt }); at >= 0 {
		list, _ := policies.Lookup(merged, p[:at])
		text, err := json.Marshal(list)
		if err != nil {
			return nil, fmt.Errorf("values: %w", err)
		}
		var whole any
		if err := json.Unmarshal(text, &whole); err != nil {
			return nil, fmt.Errorf("values: %w", err)
		}
		put(whole, p[at:], v)
		p, v = p[:at], whole
	}
	at := values
	for _, step := range p[:len(p)-1] {
		name, _ := step.(string)
		next, ok := at[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[name] = next
		}
		at = next
	}
	name, _ := p[len(p)-1].(string)
	at[name] = v
	return values, nil
}

// put sets a value inside others that are there.
func put(into any, p policies.Path, v any) {
	for i, step := range p {
		last := i == len(p)-1
		switch at := into.(type) {
		case map[string]any:
			name, _ := step.(string)
			if last {
				at[name] = v
			}
			into = at[name]
		case []any:
			n, _ := step.(int)
			if n >= len(at) {
				return
			}
			if last {
				at[n] = v
			}
			into = at[n]
		}
	}
}

// Written implements Source.
func (l *located) Written(p policies.Path) (any, bool) {
	if l.origins == nil {
		return nil, false
	}
	return l.origins.written(l.number, p)
}

// Value implements Source.
func (l *located) Value(p policies.Path) (Place, bool) {
	if l.origins == nil {
		return Place{}, false
	}
	pos, literal := l.from.place(l.object.Locate(p, policies.AtValue), l.at, l.file)
	return l.origins.of(l.number, p, pos.Text, literal)
}
