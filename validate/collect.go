package validate

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// The kinds that a change set always has to hold: custom kinds are known by them, and namespaces' labels.
var (
	definitions = policies.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
	namespaces  = policies.GroupKind{Kind: "Namespace"}
)

// kept is what the first pass keeps of all files: the objects that policies refer to.
type kept struct {
	set  *policies.Set
	mine map[int]map[int]*policies.Object // by file, then by Origin.Document; they are judged as they are, to be made once
	big  map[int]bool                     // by file: it is to be read as a stream

	holders map[string]*policies.Object // Namespace objects by name
}

// wanted says which objects the first pass keeps.
type wanted struct {
	kinds map[policies.GroupKind]bool
	words [][]byte // names of the kinds, by which a file that has none of them is told unread
	all   bool
}

func newWanted(engine *policies.Engine) *wanted {
	w := &wanted{kinds: map[policies.GroupKind]bool{}}
	seen := map[string]bool{}
	for _, gk := range append([]policies.GroupKind{definitions, namespaces}, engine.Refers()...) {
		w.kinds[gk] = true
		w.all = w.all || gk.Kind == "*"
		if !seen[gk.Kind] {
			seen[gk.Kind] = true
			w.words = append(w.words, []byte(gk.Kind))
		}
	}
	return w
}

func (w *wanted) object(o *policies.Object) bool {
	gk := o.Kind.GroupKind()
	return w.kinds[gk] || w.kinds[policies.GroupKind{Group: "*", Kind: gk.Kind}] ||
		w.kinds[policies.GroupKind{Group: gk.Group, Kind: "*"}] || w.kinds[policies.GroupKind{Group: "*", Kind: "*"}]
}

// text says whether a text may hold an object that is wanted: one whose kind is written in it, or may be written in a way that
// hides it (escapes, a binary tag).
func (w *wanted) text(text []byte) bool {
	if w.all || bytes.Contains(text, []byte("binary")) || escapedTag(text) {
		return true
	}
	for rest := text; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 || i+1 == len(rest) {
			break
		}
		// An escaped line break is taken out: besides those of ASCII, NEL, LS and PS are some for YAML 1.1.
		if c := rest[i+1]; c >= 0x80 || bytes.IndexByte([]byte("xuU\r\n"), c) >= 0 {
			return true
		}
		rest = rest[i+2:]
	}
	for _, word := range w.words {
		if bytes.Contains(text, word) {
			return true
		}
	}
	return false
}

// escapedTag says whether a text may hold a tag with an escape in it, such as !!bin%61ry.
func escapedTag(text []byte) bool {
	for rest := text; ; {
		i := bytes.IndexByte(rest, '%')
		if i < 0 {
			return false
		}
		word := rest[bytes.LastIndexAny(rest[:i], " \t\r\n")+1 : i]
		if bytes.IndexByte(word, '!') >= 0 {
			return true
		}
		rest = rest[i+1:]
	}
}

// collect is the first pass. What is wrong with a file is left for the second one to tell.
func collect(ctx context.Context, o *Options, w *walker) (*kept, error) {
	if o.Plain != nil {
		return collectPlain(ctx, o, w)
	}
	k := &kept{mine: map[int]map[int]*policies.Object{}, big: map[int]bool{}, holders: map[string]*policies.Object{}}
	stored := func(obj *policies.Object) (map[string]any, error) { return o.Rules.Stored(k.set, obj) }
	want := newWanted(o.Engine)
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex // of k
	for range min(o.Workers, len(w.files)) {
		wg.Go(func() {
			var buf scratch
			for {
				i := int(next.Add(1)) - 1
				if i >= len(w.files) || ctx.Err() != nil {
					return
				}
				var mine map[int]*policies.Object
				big := look(o, w, w.files[i], want, &buf, func(obj *policies.Object) {
					if !want.object(obj) {
						return
					}
					if mine == nil {
						mine = map[int]*policies.Object{}
					}
					mine[obj.Origin.Document] = obj.WithStored(stored)
				})
				if mine != nil || big {
					mu.Lock()
					k.mine[i], k.big[i] = mine, big
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var objects []*policies.Object
	for _, i := range slices.Sorted(maps.Keys(k.mine)) {
		for _, doc := range slices.Sorted(maps.Keys(k.mine[i])) {
			obj := k.mine[i][doc]
			objects = append(objects, obj)
			if obj.Kind.GroupKind() == namespaces {
				k.holders[obj.Name] = obj
			}
		}
	}
	written := policies.NewSet(objects...)
	for _, obj := range o.Known {
		if want.object(obj) && written.Find(obj.Kind.GroupKind(), obj.Namespace, obj.Name) == nil {
			objects = append(objects, obj.WithStored(stored))
		}
	}
	k.set = policies.NewSet(objects...)
	return k, nil
}

// look gives keep the objects of a file that may be wanted, and says whether the file is large.
func look(o *Options, w *walker, f file, want *wanted, buf *scratch, keep func(*policies.Object)) (big bool) {
	r, size, err := w.open(f)
	if err != nil {
		return false
	}
	defer r.Close()
	var rest io.Reader = r
	if size <= smallFile {
		text, small, err := buf.slurp(r, size)
		switch {
		case err != nil:
			return false
		case small:
			if isTemplate(f, text) || !want.text(text) {
				return f.stdin
			}
			objects, _ := manifest.Decode(f.name, text, o.Limits)
			for _, obj := range objects {
				keep(obj)
			}
			return f.stdin
		}
		rest = io.MultiReader(bytes.NewReader(text), r)
	}
	for obj := range manifest.Read(f.name, rest, o.Limits) {
		if obj != nil {
			keep(obj)
		}
	}
	return true
}

// isTemplate says that a file of a Helm chart's templates is one: its text is no manifest before the chart renders it. What
// looks like an action in a comment line does not make it one, or any manifest could be hidden behind a Chart.yaml.
func isTemplate(f file, text []byte) bool {
	if !f.chart {
		return false
	}
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte("{{")) && !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
			return true
		}
	}
	return false
}
