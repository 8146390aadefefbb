package kyverno

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/kyverno/kyverno/pkg/config"
	"github.com/kyverno/kyverno/pkg/engine/jmespath"

	"gitgate.dev/gitgate/policies"
)

// scope is what expressions see: the request, and what rules and loops add to it. A scope is of one goroutine.
type scope struct {
	change    *policies.Change
	queries   *queries
	operation string
	namespace string         // of the policy; "" for a ClusterPolicy
	data      map[string]any // nil until an expression is asked: see vars
	within    []element      // of loops, from the outermost on, that data does not have yet
	entries   []pending
	limit     int    // entries from here on do not exist yet: those that are being loaded
	given     *given // of a test; nil otherwise
}

// pending is a context entry that is loaded when an expression first names it.
type pending struct {
	*entry
	loaded bool
}

// element is what a loop is at.
type element struct {
	value          any
	index, nesting int
}

// put adds what expressions see of an element.
func (e element) put(data map[string]any) {
	data["element"], data["elementIndex"] = e.value, int64(e.index)
	data[fmt.Sprintf("element%d", e.nesting)], data[fmt.Sprintf("elementIndex%d", e.nesting)] = e.value, int64(e.index)
}

// entry is a context entry, compiled.
type entry struct {
	contextEntry
	named *regexp.Regexp
}

// entryPattern finds a name that stands at the start of a path (Kyverno's pkg/engine/context, deferred.go).
func entryPattern(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?:\A|\s|[^.0-9A-Za-z])` + regexp.QuoteMeta(name) + `\b`)
}

// imagesEntry is the entry of each scope that nobody writes.
var imagesEntry = &entry{contextEntry: contextEntry{Name: "images"}, named: entryPattern("images")}

// queries compiles JMESPath once. Expressions that are made while judging are forgotten again, so that objects cannot fill it.
type queries struct {
	engine jmespath.Interface
	known  map[string]jmespath.Query
	plain  map[string]plain
}

// settings is Kyverno's configuration as it is without one: it says the default registry.
var settings = sync.OnceValue(func() config.Configuration { return config.NewDefaultConfiguration(false) })

func newQueries() *queries {
	return &queries{engine: jmespath.New(settings()), known: map[string]jmespath.Query{}, plain: map[string]plain{}}
}

// learn compiles an expression of a policy. Not for concurrent use.
func (q *queries) learn(expression string) error {
	if _, ok := q.known[expression]; ok {
		return nil
	}
	compiled, err := q.engine.Query(expression)
	if err != nil {
		return fmt.Errorf("JMESPath %q does not compile: %w", shorten(expression), err)
	}
	q.known[expression] = compiled
	if p, ok := plainOf(expression); ok {
		q.plain[expression] = p
	}
	return nil
}

func (q *queries) search(expression string, data any) (any, error) {
	if strings.Contains(expression, "sort_by") {
		data = copied(data) // JMESPath sorts in place, and what it sorts every other policy sees too
	}
	compiled, ok := q.known[expression]
	if !ok {
		var err error
		if compiled, err = q.engine.Query(expression); err != nil {
			return nil, fmt.Errorf("JMESPath %q does not compile: %w", shorten(expression), err)
		}
	}
	return compiled.Search(data)
}

type requestKey struct{ operation policies.Operation }

// newScope is the scope of a change. Its request is data, or made once for all policies.
func newScope(c *policies.Change, q *queries, namespace string, data map[string]any) *scope {
	s := &scope{change: c, queries: q, operation: string(c.Operation), namespace: namespace, data: maps.Clone(data)}
	s.entries = []pending{{entry: imagesEntry}}
	s.limit = len(s.entries)
	return s
}

// vars is what expressions see. Many rules have none, and a request in the form of JSON costs a copy of the object.
func (s *scope) vars() (map[string]any, error) {
	if s.data == nil {
		c := s.change
		base, err := c.Derive(requestKey{c.Operation}, func() (any, error) { return request(c) })
		if err != nil {
			return nil, err
		}
		s.data = maps.Clone(base.(map[string]any))
		for _, e := range s.within {
			e.put(s.data)
		}
		s.within = nil
	}
	return s.data, nil
}

// inner is a scope inside s: what it loads or sets s does not see.
func (s *scope) inner(entries []*entry) (*scope, error) {
	in := *s
	in.data, in.within = maps.Clone(s.data), slices.Clone(s.within)
	in.entries = slices.Clone(s.entries[:s.limit])
	if in.given != nil {
		if err := in.give(); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		if in.given == nil || in.given.serves(e) {
			in.entries = append(in.entries, pending{entry: e})
		}
	}
	in.limit = len(in.entries)
	return &in, nil
}

// setElement says which element a loop is at.
func (s *scope) setElement(value any, index, nesting int) {
	e := element{value, index, nesting}
	if s.data == nil {
		s.within = append(s.within, e)
		return
	}
	e.put(s.data)
}

// query answers a JMESPath expression.
func (s *scope) query(expression string) (any, error) {
	v, _, err := s.find(expression)
	return v, err
}

// find answers a JMESPath expression. at says where in the object the answer is; nil when the expression is no path of it.
func (s *scope) find(expression string) (v any, at policies.Path, err error) {
	expression = strings.TrimSpace(expression)
	if expression == "" {
		return nil, nil, errors.New("empty expression: expected JMESPath")
	}
	if err := s.known(expression); err != nil {
		return nil, nil, err
	}
	for i := range s.limit {
		if e := &s.entries[i]; !e.loaded && e.named.MatchString(expression) {
			e.loaded = true
			if err := s.load(i); err != nil {
				return nil, nil, err
			}
		}
	}
	if v, at, ok := s.plainly(expression); ok {
		return v, at, nil
	}
	data, err := s.vars()
	if err != nil {
		return nil, nil, err
	}
	v, err = s.queries.search(expression, data)
	return v, nil, err
}

// plainly answers an expression that only names a field of the request or of an element. ok is false for other expressions, where somebody has
// put something beside these, as JMESPath has the whole at hand then, and for lists in an element: theirs are found by what they are.
func (s *scope) plainly(expression string) (v any, at policies.Path, ok bool) {
	if s.data != nil || s.given != nil {
		return nil, nil, false
	}
	p, ok := s.queries.plain[expression]
	if !ok {
		return nil, nil, false
	}
	if p.root == "element" {
		if len(s.within) == 0 {
			return nil, nil, false
		}
		v, ok = p.in(s.within[len(s.within)-1].value, p.path)
		list, _ := v.([]any)
		return v, nil, ok && len(list) == 0
	}
	v, ok = p.of(s.change)
	return v, p.place(), ok
}

var (
	asksActor = regexp.MustCompile(`request\.(?:userInfo|roles|clusterRoles)\b|\bserviceAccount(?:Name|Namespace)\b`)
	asksRoles = regexp.MustCompile(`request\.(?:roles|clusterRoles)\b`)
	asksOld   = regexp.MustCompile(`request\.oldObject\b`)
)

// known refuses what this door does not know.
func (s *scope) known(expression string) error {
	switch {
	case s.given != nil: // what the test gives is all there is
	case !s.change.Knows.Has(policies.KnowsActor) && asksActor.MatchString(expression):
		return &policies.NeedError{Facts: policies.KnowsActor, What: strings.Join(policies.KnowsActor.Names(), "")}
	case asksRoles.MatchString(expression):
		return &policies.NeedError{Facts: policies.KnowsActor | policies.KnowsCluster, What: "the roles of who makes the change"}
	case s.change.Operation == policies.Update && s.change.Old == nil && asksOld.MatchString(expression):
		return &policies.NeedError{Facts: policies.KnowsOld, What: strings.Join(policies.KnowsOld.Names(), "")}
	}
	return nil
}

// load makes entry i, which sees the entries before it.
func (s *scope) load(i int) error {
	limit := s.limit
	s.limit = i
	defer func() { s.limit = limit }()
	e := s.entries[i].entry
	if e == imagesEntry {
		return s.loadImages()
	}
	value, err := s.value(e)
	if err != nil {
		return fmt.Errorf("context entry %s: %w", e.Name, err)
	}
	data, err := s.vars()
	if err != nil {
		return err
	}
	data[e.Name] = value
	return nil
}

func (s *scope) value(e *entry) (any, error) {
	switch {
	case e.Variable != nil:
		return s.variable(e.Variable)
	case e.ConfigMap != nil:
		return s.configMap(e.ConfigMap)
	case s.given != nil && e.APICall != nil:
		return s.given.call(s, e.APICall)
	case s.given != nil && e.GlobalReference != nil:
		return s.given.global(s, e.GlobalReference)
	}
	what := "the network"
	facts := policies.Online
	switch {
	case e.APICall != nil:
		what, facts = "an API call", policies.KnowsCluster|policies.Online
	case e.GlobalReference != nil:
		what, facts = "a global context entry", policies.KnowsCluster
	case e.ImageRegistry != nil:
		what = "an image registry"
	}
	if s.change.Knows.Has(facts) {
		return nil, fmt.Errorf("%s is not asked: expected variable or configMap", what)
	}
	return nil, &policies.NeedError{Facts: facts, What: what + " (context entry " + e.Name + ")"}
}

func (s *scope) variable(v *variable) (any, error) {
	filled, err := s.fill(v.JMESPath)
	if err != nil {
		return nil, err
	}
	path, ok := filled.(string)
	if !ok {
		return nil, fmt.Errorf("jmesPath %q becomes no text: expected a text that is JMESPath", shorten(v.JMESPath))
	}
	fallback, err := s.substitute(v.Default)
	if err != nil {
		return nil, err
	}
	out := fallback
	switch {
	case v.Value != nil:
		if out, err = s.substitute(v.Value); err != nil {
			return nil, err
		}
		if path != "" {
			out, err = s.queries.search(path, floats(out))
			if err != nil && fallback != nil {
				out, err = fallback, nil
			}
		}
	case path != "":
		found, errQuery := s.query(path)
		switch {
		case errQuery == nil && found != nil:
			out = found
		case errQuery != nil && (fallback == nil || isNeed(errQuery)):
			err = errQuery
		}
	}
	if err != nil {
		return nil, err
	}
	if out == nil {
		return nil, errors.New("it is null: expected a value or a default")
	}
	return floats(out), nil
}

func (s *scope) configMap(ref *configMapReference) (any, error) {
	name, err := s.fillText(ref.Name)
	if err != nil {
		return nil, err
	}
	namespace, err := s.fillText(ref.Namespace)
	if err != nil {
		return nil, err
	}
	if namespace == "" {
		if namespace = s.namespace; namespace == "" {
			namespace = "default"
		}
	}
	if s.namespace != "" && namespace != s.namespace {
		return nil, fmt.Errorf("ConfigMap %s/%s is outside the policy's namespace %s", namespace, name, s.namespace)
	}
	found := s.change.Set.Find(policies.GroupKind{Kind: "ConfigMap"}, namespace, name)
	if found == nil {
		if s.change.Knows.Has(policies.KnowsCluster) {
			return nil, fmt.Errorf("ConfigMap %s/%s not found", namespace, name)
		}
		return nil, &policies.NeedError{Facts: policies.KnowsCluster, What: "ConfigMap " + namespace + "/" + name}
	}
	content := untyped(found)
	out := map[string]any{"metadata": content["metadata"], "data": content["data"]}
	return out, nil
}

func isNeed(err error) bool {
	var need *policies.NeedError
	return errors.As(err, &need)
}
