package desired

import (
	"context"
	"path"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// lookedUp finds the fields of an object that a unit looked up, values in a ConfigMap for example: in its manifest, or in the file
// that a kustomization generates it from. It reads when it is asked.
type lookedUp struct {
	trees   map[string]*tree.Tree
	place   place
	content map[string]any

	once sync.Once
	base *policies.Object // nil when no manifest is known
}

// Locate implements policies.Source. A field that is a whole file is at its beginning.
func (l *lookedUp) Locate(p policies.Path, at policies.Aspect) (policies.Position, int) {
	ctx, cancel := context.WithTimeout(context.Background(), locateTimeout)
	defer cancel()
	if base := l.manifest(ctx); base != nil {
		if q, ok := translate(l.content, base.Map(), p); ok {
			return base.Locate(q, at), len(p)
		}
		return base.Locate(nil, at), 0
	}
	if file := l.generated(ctx, p); file != "" {
		return policies.Position{File: file, Line: 1, Column: 1}, len(p)
	}
	return policies.Position{File: l.place.file, Line: l.place.line, Column: l.place.column}, 0
}

// Line implements policies.TextSource.
func (l *lookedUp) Line(n int) (string, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), locateTimeout)
	defer cancel()
	if base := l.manifest(ctx); base != nil {
		return base.Line(n)
	}
	return "", false
}

func (l *lookedUp) manifest(ctx context.Context) *policies.Object {
	l.once.Do(func() {
		if t := l.tree(); t != nil {
			l.base = documentAt(ctx, t.Repo(), l.place)
		}
	})
	return l.base
}

func (l *lookedUp) tree() *tree.Tree {
	for _, t := range l.trees {
		if t.Commit == l.place.commit {
			return t
		}
	}
	return nil
}

// generated is the file that a kustomization makes a value of data from; "" when there is none.
func (l *lookedUp) generated(ctx context.Context, p policies.Path) string {
	t := l.tree()
	if t == nil || len(p) != 2 || p[0] != "data" || !isKustomization(l.place.file) {
		return ""
	}
	view := t.View()
	text, err := view.ReadFile(ctx, l.place.file)
	if err != nil {
		return ""
	}
	var k types.Kustomization
	if err := yaml.Unmarshal(text, &k); err != nil {
		return ""
	}
	want, _ := policies.Lookup(l.content, p)
	for _, g := range k.ConfigMapGenerator {
		for _, f := range g.FileSources {
			key, file, named := strings.Cut(f, "=")
			if !named {
				key, file = path.Base(f), f
			}
			if key != p[1] {
				continue
			}
			at := path.Join(path.Dir(l.place.file), file)
			if text, err := view.ReadFile(ctx, at); err == nil && string(text) == want {
				return at
			}
		}
	}
	return ""
}
