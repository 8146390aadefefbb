package helm

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	chart "helm.sh/helm/v4/pkg/chart/v2"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/sandbox"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// maxObjects bounds the objects of one release.
const maxObjects = 10_000

// Render gives the objects that a release of the chart has. A *kustomize.OpaqueError says that it cannot be told from the
// revision alone; other errors are *policies.PositionError wherever the place is known. It returns when ctx ends.
func (c *Chart) Render(ctx context.Context, r Release) (*Result, error) {
	type answer struct {
		result *Result
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a = answer{err: policies.ErrorAt(policies.Position{File: c.path}, fmt.Errorf("chart cannot be rendered: %v", p))}
			}
			done <- a
		}()
		a.result, a.err = c.render(ctx, r)
	}()
	// A function that runs long holds nobody up: its goroutine ends at the next step of the template.
	select {
	case a := <-done:
		return a.result, a.err
	case <-ctx.Done():
		return nil, policies.ErrorAt(policies.Position{File: c.path}, fmt.Errorf("chart is not rendered: %w", context.Cause(ctx)))
	}
}

// states are what a release can be when it is rendered: what differs between them is not declared. The first is the one whose
// values stand in the objects.
var states = []released{{upgrade: false, revision: 1}, {upgrade: true, revision: 2}, {upgrade: true, revision: 37}}

func (c *Chart) render(ctx context.Context, r Release) (*Result, error) {
	first, err := c.once(ctx, r, states[0], 1)
	if err != nil {
		return nil, err
	}
	result := &Result{Objects: first.objects}
	for _, function := range first.asked {
		result.Opaque = append(result.Opaque, &kustomize.OpaqueError{What: "what " + function + " gives to " + c.what(), Reason: "it is another one each time"})
	}
	if first.lookups && r.Live {
		result.Opaque = append(result.Opaque, &kustomize.OpaqueError{What: "what lookup gives to " + c.what(), Reason: "it asks the cluster; rendered as if the cluster had nothing"})
	}
	stateful := r.Live && c.asksState()
	if len(first.asked) == 0 && !stateful {
		return result, nil
	}
	for i, state := range states[1:] {
		if !stateful {
			state = states[0]
		}
		other, err := c.once(ctx, r, state, uint64(2+i))
		if err != nil {
			return nil, err
		}
		result.Objects = differ(result.Objects, other.objects)
	}
	return result, nil
}

func (c *Chart) what() string { return "chart " + c.Name }

// asksState says whether a template may ask whether the release is new.
func (c *Chart) asksState() bool {
	for _, f := range c.files {
		if strings.Contains(f.name, "templates/") && statePattern.Match(f.data) {
			return true
		}
	}
	return false
}

var statePattern = regexp.MustCompile(`IsUpgrade|IsInstall|Revision`)

// pass is one rendering.
type pass struct {
	objects []Object
	asked   []string
	lookups bool
}

func (c *Chart) once(ctx context.Context, r Release, state released, seed uint64) (*pass, error) {
	loaded, err := c.load()
	if err != nil {
		return nil, err
	}
	values, err := c.prepare(loaded, r, state)
	if err != nil {
		return nil, placed(c.path, err)
	}
	p := &pass{}
	if r.CRDs {
		if p.objects, err = c.crds(loaded); err != nil {
			return nil, err
		}
	}
	world := &sandbox.World{Seed: seed}
	e := newEngine(ctx, world)
	written, sources, err := e.render(loaded, values)
	if err != nil {
		return nil, c.blameTemplate(err, sources)
	}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if strings.HasSuffix(name, "NOTES.txt") || strings.TrimSpace(written[name].Text) == "" {
			continue
		}
		objects, err := c.split(newRendered(c, written[name], sources), c.fileOf(sources[name].text.Data))
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			hooks, ok := hooksOf(o.Content)
			if !ok || r.SkipTests && slices.Equal(hooks, []string{"test"}) {
				continue // Helm leaves out a hook that it does not know
			}
			o.Hooks = hooks
			p.objects = append(p.objects, o)
		}
		if len(p.objects) > maxObjects {
			return nil, policies.ErrorAt(policies.Position{File: c.path}, fmt.Errorf("chart has more than %d objects", maxObjects))
		}
	}
	p.asked, p.lookups = world.Asked, e.lookups
	whence := &origins{chart: c, release: r}
	for i, o := range p.objects {
		if l, ok := o.Source.(*located); ok {
			l.origins, l.number = whence, i
		}
	}
	return p, nil
}

// crds gives the objects of the folders crds/, which are no templates.
func (c *Chart) crds(loaded *chart.Chart) ([]Object, error) {
	var out []Object
	for _, crd := range loaded.CRDObjects() {
		f, ok := c.fileAt(crd.File.Data)
		if !ok {
			continue // an empty file
		}
		whole := &rendered{
			out:   sandbox.Output{Text: string(f.data), Marks: []sandbox.Mark{{Place: sandbox.Place{Template: f.name, Literal: true}}}},
			files: map[string]file{f.name: f}, lines: []int{0},
		}
		for i, b := range f.data {
			if b == '\n' {
				whole.lines = append(whole.lines, i+1)
			}
		}
		objects, err := c.split(whole, f.path)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			o.CRD = true
			out = append(out, o)
		}
	}
	return out, nil
}

// separator is where Helm splits the output of a template into documents (helm.sh/helm/v4/pkg/release/v1/util, SplitManifests):
// also where an object follows on the same line.
var separator = regexp.MustCompile(`(?m)^---[ \t]*`)

// split reads the objects that a template wrote.
func (c *Chart) split(r *rendered, file string) ([]Object, error) {
	text := r.out.Text
	var out []Object
	from := 0
	for _, end := range append(separator.FindAllStringIndex(text, -1), []int{len(text), len(text)}) {
		document := text[from:end[0]]
		start := from + len(document) - len(strings.TrimLeftFunc(document, unicode.IsSpace))
		document, from = strings.TrimLeftFunc(document, unicode.IsSpace), end[1]
		if strings.TrimSpace(document) == "" {
			continue
		}
		at := r.begin(start)
		objects, problems := manifest.Decode(file, []byte(document), manifest.DefaultLimits())
		for _, p := range problems {
			switch {
			case p.Rule == manifest.RuleDuplicateKey: // Helm takes the last one
			case p.Rule == manifest.RuleNotManifest && onlyComments(document):
			default:
				return nil, policies.ErrorAt(r.position(p.Pos, at, file), fmt.Errorf("what the template writes is no manifest: %s", p.Message))
			}
		}
		for _, o := range objects {
			l := &located{object: o, from: r, at: at, file: file}
			pos := r.position(policies.Position{Line: o.Origin.Line, Column: o.Origin.Column}, at, file)
			origin := policies.Origin{File: pos.File, Document: len(out), Line: pos.Line, Column: pos.Column}
			out = append(out, Object{Content: o.Map(), Origin: origin, Source: l})
		}
	}
	return out, nil
}

func onlyComments(document string) bool {
	for line := range strings.Lines(document) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// HookAnnotation says when Helm makes an object.
const HookAnnotation = "helm.sh/hook"

var hookEvents = []string{
	"pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade", "pre-rollback", "post-rollback", "test", "test-success",
}

// hooksOf reads when Helm makes an object; ok is false when it never does (helm.sh/helm/v4/pkg/release/v1/util, SortManifests).
func hooksOf(content map[string]any) (hooks []string, ok bool) {
	written, found := policies.Lookup(content, policies.Path{"metadata", "annotations", HookAnnotation})
	text, isText := written.(string)
	if !found || !isText {
		return nil, true
	}
	for event := range strings.SplitSeq(text, ",") {
		event = strings.ToLower(strings.TrimSpace(event))
		if !slices.Contains(hookEvents, event) {
			return nil, false
		}
		if event == "test-success" {
			event = "test"
		}
		hooks = append(hooks, event)
	}
	return hooks, true
}

// identity tells an object from the others of a release.
func identity(content map[string]any) string {
	var parts []string
	for _, p := range []policies.Path{{"apiVersion"}, {"kind"}, {"metadata", "namespace"}, {"metadata", "name"}} {
		v, _ := policies.Lookup(content, p)
		parts = append(parts, fmt.Sprint(v))
	}
	return strings.Join(parts, "\x00")
}

// differ marks the fields in which objects differ from those of another rendering opaque, and adds those that only the other has.
func differ(objects, other []Object) []Object {
	byName := map[string]Object{}
	for _, o := range other {
		byName[identity(o.Content)] = o
	}
	seen := map[string]bool{}
	for i := range objects {
		id := identity(objects[i].Content)
		seen[id] = true
		if o, ok := byName[id]; ok {
			for _, p := range differences(objects[i].Content, o.Content, nil) {
				if !slices.ContainsFunc(objects[i].Opaque, func(q policies.Path) bool { return reflect.DeepEqual(p, q) }) {
					objects[i].Opaque = append(objects[i].Opaque, p)
				}
			}
		}
	}
	for _, o := range other {
		if !seen[identity(o.Content)] {
			objects = append(objects, o)
		}
	}
	return objects
}

func differences(a, b any, at policies.Path) []policies.Path {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return []policies.Path{at}
		}
		keys := maps.Clone(a)
		maps.Copy(keys, b)
		var out []policies.Path
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			x, inA := a[key]
			y, inB := b[key]
			if inA != inB {
				out = append(out, at.Append(key))
				continue
			}
			out = append(out, differences(x, y, at.Append(key))...)
		}
		return out
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return []policies.Path{at}
		}
		var out []policies.Path
		for i := range a {
			out = append(out, differences(a[i], b[i], at.Append(i))...)
		}
		return out
	}
	if !reflect.DeepEqual(a, b) {
		return []policies.Path{at}
	}
	return nil
}
