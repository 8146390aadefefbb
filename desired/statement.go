package desired

import (
	"reflect"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

// statement is the field of a kustomization, or of a Flux Kustomization, that sets the field at p of an object to want. says is
// where in content it begins.
func statement(content map[string]any, says policies.Path, l *locator, p policies.Path, want any) (policies.Path, bool) {
	text, isText := want.(string)
	last, _ := p[len(p)-1].(string)
	lookup := func(steps ...any) any {
		v, _ := policies.Lookup(content, says.Append(steps...))
		return v
	}
	list := func(steps ...any) []any {
		items, _ := lookup(steps...).([]any)
		return items
	}
	textOf := func(v any, key string) string {
		m, _ := v.(map[string]any)
		s, _ := m[key].(string)
		return s
	}
	items := list("patches")
	for i := len(items) - 1; i >= 0; i-- {
		if patch := textOf(items[i], "patch"); patch != "" && patches(patch, items[i], l, p, want) {
			return says.Append("patches", i, "patch"), true
		}
	}
	if isText && last == "image" {
		for i, image := range list("images") {
			if said, _ := image.(string); said != "" { // Argo CD's: name=other:tag
				if _, other, ok := strings.Cut(said, "="); said == text || ok && other == text || strings.HasSuffix(text, said) && strings.HasPrefix(said, ":") {
					return says.Append("images", i), true
				}
			}
			for _, key := range []string{"newTag", "digest", "newName"} {
				if v := textOf(image, key); v != "" && strings.Contains(text, v) && (key == "newName" || strings.HasPrefix(text, orElse(textOf(image, "newName"), textOf(image, "name")))) {
					return says.Append("images", i, key), true
				}
			}
		}
	}
	if last == "replicas" && len(p) == 2 {
		for i, r := range list("replicas") {
			m, _ := r.(map[string]any)
			if n, _ := m["name"].(string); n != "" && strings.Contains(l.name, n) && reflect.DeepEqual(m["count"], want) {
				return says.Append("replicas", i, "count"), true
			}
		}
	}
	if last == "namespace" && isText {
		for _, key := range []string{"namespace", "targetNamespace"} {
			if lookup(key) == want {
				return says.Append(key), true
			}
		}
	}
	if last == "name" && isText && len(p) == 2 && p[0] == "metadata" {
		for _, key := range []string{"namePrefix", "nameSuffix"} {
			if v, _ := lookup(key).(string); v != "" && strings.Contains(text, v) {
				return says.Append(key), true
			}
		}
	}
	for i := range list("labels") {
		if lookup("labels", i, "pairs", last) == want && isText {
			return says.Append("labels", i, "pairs", last), true
		}
	}
	for _, field := range []policies.Path{{"commonLabels"}, {"commonAnnotations"}, {"commonMetadata", "labels"}, {"commonMetadata", "annotations"}} {
		if isText && lookup(field.Append(last)...) == want {
			return says.Append(field.Append(last)...), true
		}
	}
	if len(p) == 2 && p[0] == "data" {
		for _, generator := range []string{"configMapGenerator", "secretGenerator"} {
			for i := range list(generator) {
				for j, literal := range list(generator, i, "literals") {
					if s, _ := literal.(string); strings.HasPrefix(s, last+"=") && strings.Contains(l.name, textOf(lookup(generator, i), "name")) {
						return says.Append(generator, i, "literals", j), true
					}
				}
			}
		}
	}
	if isText {
		if vars, ok := lookup("postBuild", "substitute").(map[string]any); ok {
			for name, v := range vars {
				if v == want {
					return says.Append("postBuild", "substitute", name), true
				}
			}
		}
	}
	return nil, false
}

// patches says whether the text of a patch sets the field at p to want.
func patches(text string, entry any, l *locator, p policies.Path, want any) bool {
	target, _ := policies.Lookup(entry, policies.Path{"target"})
	if m, ok := target.(map[string]any); ok {
		if kind, _ := m["kind"].(string); kind != "" && kind != l.kind.Kind {
			return false
		}
	}
	var content any
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		return false
	}
	if c, err := normal(content); err == nil {
		content = c
	}
	switch c := content.(type) {
	case map[string]any:
		if kind, _ := c["kind"].(string); target == nil && kind != l.kind.Kind {
			return false
		}
		q, ok := translate(l.content, c, p)
		if !ok {
			return false
		}
		got, _ := policies.Lookup(c, q)
		return comparable(got, want)
	case []any:
		for _, op := range c {
			m, _ := op.(map[string]any)
			pointer, _ := m["path"].(string)
			rest, ok := below(pointer, p)
			if !ok {
				continue
			}
			if got, ok := policies.Lookup(m["value"], rest); ok && comparable(got, want) {
				return true
			}
		}
	}
	return false
}

// below is what is left of p below the field that a JSON pointer names.
func below(pointer string, p policies.Path) (policies.Path, bool) {
	steps := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	if !strings.HasPrefix(pointer, "/") || len(steps) > len(p) {
		return nil, false
	}
	for i, step := range steps {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch s := p[i].(type) {
		case string:
			if s != step {
				return nil, false
			}
		case int:
			if step != "-" && step != strconv.Itoa(s) {
				return nil, false
			}
		}
	}
	return p[len(steps):], true
}

// translate is the path in to of the field that is at p in from: items of lists are told apart by their names, not by where they
// stand. ok is false when to does not have the field.
func translate(from, to any, p policies.Path) (q policies.Path, ok bool) {
	q = make(policies.Path, 0, len(p))
	for _, step := range p {
		switch s := step.(type) {
		case string:
			m, isMap := to.(map[string]any)
			if !isMap {
				return nil, false
			}
			if to, ok = m[s]; !ok {
				return nil, false
			}
			f, _ := from.(map[string]any)
			from = f[s]
			q = append(q, s)
		case int:
			list, isList := to.([]any)
			if !isList {
				return nil, false
			}
			items, _ := from.([]any)
			var item any
			if s >= 0 && s < len(items) {
				item = items[s]
			}
			i := itemLike(item, list, s)
			if i < 0 {
				return nil, false
			}
			from, to = item, list[i]
			q = append(q, i)
		}
	}
	return q, true
}

// itemLike is where in a list the item stands that has the name of another one; at is where that one stands in its own list.
func itemLike(item any, list []any, at int) int {
	m, _ := item.(map[string]any)
	for _, key := range []string{"name", "containerPort", "mountPath", "port", "host", "key", "ip", "type"} {
		id, has := m[key]
		if !has {
			continue
		}
		for i, other := range list {
			if o, ok := other.(map[string]any); ok && reflect.DeepEqual(o[key], id) {
				return i
			}
		}
		return -1
	}
	if at < len(list) {
		return at
	}
	return -1
}
