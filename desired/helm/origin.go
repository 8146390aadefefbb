package helm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/policies"
)

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
