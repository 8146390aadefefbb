package kyverno

import (
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// put sets a value at a dotted path, whose steps may be quoted, into data, which is changed; the maps below it are copied where
// they change. Maps are merged, as Kyverno's context does (pkg/engine/context, AddVariable).
func put(data map[string]any, key string, value any) error {
	reader := csv.NewReader(strings.NewReader(key))
	reader.Comma = '.'
	steps, err := reader.Read()
	if err != nil {
		return fmt.Errorf("value %q: expected a path with dots: %w", key, err)
	}
	for i := len(steps) - 1; i > 0; i-- {
		value = map[string]any{steps[i]: value}
	}
	data[steps[0]] = merged(data[steps[0]], value)
	return nil
}

func merged(old, value any) any {
	from, ok := value.(map[string]any)
	into, isMap := old.(map[string]any)
	if !ok || !isMap {
		return value
	}
	out := maps.Clone(into)
	for k, v := range from {
		out[k] = merged(out[k], v)
	}
	return out
}

func sameMap(a, b map[string]any) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// give sets the values of the rule.
func (s *scope) give() error {
	data, err := s.vars()
	if err != nil {
		return err
	}
	for _, key := range sortedKeys(s.given.values) {
		if err := put(data, key, floats(s.given.values[key])); err != nil {
			return err
		}
	}
	return nil
}

// call answers an API call from the trial.
func (g *given) call(s *scope, c *apiCall) (any, error) {
	filled, err := s.fillText(c.URLPath)
	if c.Service != nil {
		filled, err = s.fillText(c.Service.URL)
	}
	if err != nil {
		return nil, err
	}
	method := c.Method
	if method == "" {
		method = "GET"
	}
	answer, ok := g.trial.Calls[method+":"+filled]
	if !ok {
		answer, ok = g.trial.Calls[filled]
	}
	var body any
	switch {
	case ok && answer.Status != 0 && (answer.Status < 200 || answer.Status > 299):
		return nil, fmt.Errorf("%s %s answers with status %d", method, filled, answer.Status)
	case ok:
		body = answer.Body
	case c.Service == nil && g.trial.Cluster:
		if body, err = clusterAnswer(s.change.Set, method, filled); err != nil && c.Default != nil {
			body, err = c.Default, nil
		}
	default:
		err = fmt.Errorf("%s %s is not answered by the test", method, filled)
	}
	if err != nil {
		return nil, err
	}
	return s.through(c.JMESPath, body)
}

// through is what JMESPath, which may have variables, takes of a value.
func (s *scope) through(expression string, value any) (any, error) {
	if expression == "" {
		return floats(value), nil
	}
	filled, err := s.fillText(expression)
	if err != nil {
		return nil, err
	}
	out, err := s.queries.search(filled, floats(value))
	return floats(out), err
}

// clusterAnswer is what GET of a path of the Kubernetes API gives, when the cluster has the objects of set.
func clusterAnswer(set *policies.Set, method, target string) (any, error) {
	if method != "GET" {
		return nil, fmt.Errorf("%s %s: only GET is answered", method, target)
	}
	if unescaped, err := url.PathUnescape(target); err == nil {
		target = unescaped
	}
	steps := strings.Split(strings.Trim(path.Clean(target), "/"), "/")
	var gvr policies.GroupVersionKind
	switch {
	case len(steps) > 2 && steps[0] == "api":
		gvr.Version, steps = steps[1], steps[2:]
	case len(steps) > 3 && steps[0] == "apis":
		gvr.Group, gvr.Version, steps = steps[1], steps[2], steps[3:]
	default:
		return nil, fmt.Errorf("path %s: expected one of the Kubernetes API", target)
	}
	namespace := ""
	if steps[0] == "namespaces" && len(steps) > 2 {
		namespace, steps = steps[1], steps[2:]
	}
	var found []*policies.Object
	for o := range set.All() {
		if o.Kind.Group == gvr.Group && o.Kind.Version == gvr.Version && isPlural(steps[0], o.Kind.Kind) && (namespace == "" || o.Namespace == namespace) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *policies.Object) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	switch len(steps) {
	case 1:
		items := make([]any, len(found))
		for i, o := range found {
			items[i] = untyped(o)
		}
		return map[string]any{"items": items}, nil
	case 2:
		for _, o := range found {
			if o.Name == steps[1] {
				return untyped(o), nil
			}
		}
		return nil, fmt.Errorf("%s not found", target)
	default:
		return nil, fmt.Errorf("path %s: subresources are not answered", target)
	}
}

// global answers a global context entry from the trial.
func (g *given) global(s *scope, ref *globalReference) (any, error) {
	if s.namespace != "" {
		return nil, errors.New("a Policy may not take global context entries: expected a ClusterPolicy")
	}
	name, err := s.fillText(ref.Name)
	if err != nil {
		return nil, err
	}
	name, projection, _ := strings.Cut(name, ".")
	if !slices.ContainsFunc(g.trial.Globals, func(e GlobalEntry) bool { return e.Name == name }) {
		return nil, fmt.Errorf("global context entry %s not found", name)
	}
	value, err := g.trial.global(s.queries, name, projection)
	if err != nil {
		return nil, err
	}
	return s.through(ref.JMESPath, value)
}

// global is the data of a global context entry, or a projection of it; nil for one that the trial does not give.
func (t *Trial) global(q *queries, name, projection string) (any, error) {
	at := slices.IndexFunc(t.Globals, func(e GlobalEntry) bool { return e.Name == name })
	if at < 0 {
		return nil, nil
	}
	e := &t.Globals[at]
	value := floats(e.Data)
	var err error
	if e.FieldPath != "" {
		if value, err = q.search(e.FieldPath, value); err != nil {
			return nil, fmt.Errorf("global context entry %s: %w", name, err)
		}
	}
	if len(e.Projections) > 0 {
		parts := map[string]any{}
		for _, p := range e.Projections {
			if parts[p.Name], err = q.search(p.Path, value); err != nil {
				return nil, fmt.Errorf("global context entry %s, projection %s: %w", name, p.Name, err)
			}
		}
		value = parts
	}
	if projection == "" {
		return value, nil
	}
	m, _ := value.(map[string]any)
	part, ok := m[projection]
	if !ok {
		return nil, fmt.Errorf("global context entry %s has no projection %s", name, projection)
	}
	return part, nil
}
