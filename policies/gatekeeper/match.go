package gatekeeper

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"gitgate.dev/gitgate/policies"
)

// matcher is spec.match of a constraint (gatekeeper pkg/mutation/match). The zero matcher matches everything.
type matcher struct {
	matchDocument
	objects, namespaces labels.Selector // nil: not asked
}

// wildcardPattern is what Gatekeeper's API takes for a name with stars at its ends.
var wildcardPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\*?[-:a-z0-9]*\*?$`) })

// newMatcher reads a match; nil matches everything.
func newMatcher(o *policies.Object, d *matchDocument) (matcher, []error) {
	if d == nil {
		return matcher{}, nil
	}
	m := matcher{matchDocument: *d}
	at := policies.Path{"spec", "match"}
	var errs []error
	fail := func(path policies.Path, format string, args ...any) {
		errs = append(errs, errorAt(o, path, policies.AtValue, &SchemaError{fmt.Errorf(format, args...)}))
	}
	if !slices.Contains([]string{"", "*", "Cluster", "Namespaced"}, d.Scope) {
		fail(at.Append("scope"), "scope %q does not exist: expected Cluster, Namespaced or *", d.Scope)
	}
	if !slices.Contains([]string{"", "All", "Generated", "Original"}, d.Source) {
		fail(at.Append("source"), "source %q does not exist: expected All, Generated or Original", d.Source)
	}
	wildcard := func(path policies.Path, s string) {
		if !wildcardPattern().MatchString(s) {
			fail(path, "%q is no pattern: expected a name of lower-case letters, digits, hyphens and colons, with * at its begin or end", s)
		}
	}
	wildcard(at.Append("name"), d.Name)
	for i, s := range d.Namespaces {
		wildcard(at.Append("namespaces", i), s)
	}
	for i, s := range d.ExcludedNamespaces {
		wildcard(at.Append("excludedNamespaces", i), s)
	}
	selector := func(name string, s *metav1.LabelSelector) labels.Selector {
		if s == nil {
			return nil
		}
		out, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			errs = append(errs, errorAt(o, at.Append(name), policies.AtValue, fmt.Errorf("%s cannot be used: %s", name, lowered(err.Error()))))
		}
		return out
	}
	m.objects = selector("labelSelector", d.LabelSelector)
	m.namespaces = selector("namespaceSelector", d.NamespaceSelector)
	return m, errs
}

// subresources are the writes to subresources that Gatekeeper's webhook is asked about by default, by the kind that they carry (its
// chart's validatingWebhookSubResources); those that only connect are asked about by no operation that it has.
var subresources = []struct{ group, kind, name string }{
	{"", "Pod", "ephemeralcontainers"},
	{"", "Binding", "binding"},
	{"policy", "Eviction", "eviction"},
	{"autoscaling", "Scale", "scale"},
}

// coarse is what the engine may decide by before any request is looked at.
func (m *matcher) coarse(operations []policies.Operation) policies.Match {
	out := policies.Match{Operations: operations}
	add := func(group, kind string) {
		rules := []policies.KindRule{{Group: group, Kind: kind}}
		for _, sub := range subresources {
			if (group == "*" || group == sub.group) && (kind == "*" || kind == sub.kind) {
				rules = append(rules, policies.KindRule{Group: sub.group, Kind: sub.kind, Subresource: sub.name})
			}
		}
		for _, r := range rules {
			if !slices.Contains(out.Kinds, r) {
				out.Kinds = append(out.Kinds, r)
			}
		}
	}
	if len(m.Kinds) == 0 {
		add("*", "*")
	}
	for _, rule := range m.Kinds {
		for _, group := range orAll(rule.APIGroups) {
			for _, kind := range orAll(rule.Kinds) {
				add(group, kind)
			}
		}
	}
	return out
}

func orAll(list []string) []string {
	if len(list) == 0 || slices.Contains(list, "*") {
		return []string{"*"}
	}
	return list
}

// matches says why c is none of the constraint's, or "" when it is. It is when the new or the old object is. Its error is a
// *policies.NeedError when that depends on what the door does not know.
func (m *matcher) matches(c *policies.Change) (no string, err error) {
	for _, o := range []*policies.Object{c.Object, c.Old} {
		if o == nil {
			continue
		}
		why, wrong := m.matchesObject(c, o)
		if why == "" && wrong == nil {
			return "", nil
		}
		if no == "" {
			no = why
		}
		if err == nil {
			err = wrong
		}
	}
	return no, err
}

func (m *matcher) matchesObject(c *policies.Change, o *policies.Object) (no string, err error) {
	isNamespace := o.Kind.GroupKind() == policies.GroupKind{Kind: "Namespace"}
	namespace := c.Namespace
	if namespace == "" {
		namespace = o.Namespace
	}
	namespaced := !isNamespace && namespace != ""
	if isNamespace {
		namespace = o.Name
	}
	within := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return wild(p, namespace) })
	}
	switch {
	case !m.hasKind(o.Kind):
		return "match.kinds does not name it", nil
	case m.Scope == "Cluster" && namespaced, m.Scope == "Namespaced" && !namespaced:
		return "match.scope is " + m.Scope, nil
	case len(m.Namespaces) > 0 && (namespaced || isNamespace) && !within(m.Namespaces):
		return "match.namespaces does not name its namespace", nil
	case (namespaced || isNamespace) && within(m.ExcludedNamespaces):
		return "match.excludedNamespaces names its namespace", nil
	case m.objects != nil && !m.objects.Matches(labelsOf(o)):
		return "match.labelSelector does not match it", nil
	case m.Name != "" && !wild(m.Name, o.Name) && !wildGenerated(m.Name, generateName(o)):
		return "match.name does not match it", nil
	case m.Source == "Generated" && c.Workload == nil:
		return "match.source is Generated, and it was written", nil
	case m.namespaces == nil || !namespaced && !isNamespace:
		return "", nil
	case isNamespace:
		if !m.namespaces.Matches(labelsOf(o)) {
			return "match.namespaceSelector does not match it", nil
		}
		return "", nil
	case c.Holder != nil:
		if !m.namespaces.Matches(labelsOf(c.Holder)) {
			return "match.namespaceSelector does not match its namespace", nil
		}
		return "", nil
	case c.Knows.Has(policies.KnowsNamespace):
		return "", fmt.Errorf("match.namespaceSelector: namespace %s not found", namespace)
	default:
		return "", &policies.NeedError{Facts: policies.KnowsNamespace, What: "labels of namespace " + namespace}
	}
}

func (m *matcher) hasKind(kind policies.GroupVersionKind) bool {
	if len(m.Kinds) == 0 {
		return true
	}
	for _, rule := range m.Kinds {
		groups, kinds := orAll(rule.APIGroups), orAll(rule.Kinds)
		if (groups[0] == "*" || slices.Contains(groups, kind.Group)) && (kinds[0] == "*" || slices.Contains(kinds, kind.Kind)) {
			return true
		}
	}
	return false
}

// wild matches a name against a pattern with stars at its ends.
func wild(pattern, name string) bool {
	front, end := strings.HasPrefix(pattern, "*"), strings.HasSuffix(pattern, "*")
	switch {
	case front && end:
		return strings.Contains(name, strings.TrimSuffix(strings.TrimPrefix(pattern, "*"), "*"))
	case front:
		return strings.HasSuffix(name, pattern[1:])
	case end:
		return strings.HasPrefix(name, pattern[:len(pattern)-1])
	}
	return pattern == name
}

// wildGenerated matches what a name will begin with: only a pattern that leaves the end open can.
func wildGenerated(pattern, prefix string) bool {
	return strings.HasSuffix(pattern, "*") && wild(pattern, prefix)
}

func generateName(o *policies.Object) string {
	v, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "generateName"})
	s, _ := v.(string)
	return s
}

func labelsOf(o *policies.Object) labels.Set {
	v, _ := policies.Lookup(o.Settled(), policies.Path{"metadata", "labels"})
	m, _ := v.(map[string]any)
	set := make(labels.Set, len(m))
	for key, value := range m {
		if s, ok := value.(string); ok {
			set[key] = s
		}
	}
	return set
}
