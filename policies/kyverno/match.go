package kyverno

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kyverno/kyverno/ext/wildcard"
	"github.com/kyverno/kyverno/pkg/engine/wildcards"
	kubeutils "github.com/kyverno/kyverno/pkg/utils/kube"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"gitgate.dev/gitgate/policies"
)

// answer is whether a block matches: no, yes, or that it hangs on what the door does not know.
type answer struct {
	yes  bool
	need *policies.NeedError // what it hangs on; yes is false then
}

var (
	no  = answer{}
	yes = answer{yes: true}
)

func needs(facts policies.Facts, what string) answer {
	return answer{need: &policies.NeedError{Facts: facts, What: what}}
}

func (a answer) no() bool { return !a.yes && a.need == nil }

// both is a and b.
func (a answer) both(b answer) answer {
	switch {
	case a.no() || b.no():
		return no
	case a.need != nil:
		return a
	default:
		return b
	}
}

// either is a or b.
func (a answer) either(b answer) answer {
	switch {
	case a.yes || b.yes:
		return yes
	case a.need != nil:
		return a
	default:
		return b
	}
}

func (a answer) opposite() answer {
	if a.need != nil {
		return a
	}
	return answer{yes: !a.yes}
}

// matcher is a match or exclude block, compiled.
type matcher struct {
	any, all  []*filterMatcher
	exception bool
}

type filterMatcher struct {
	filter
	kinds      []kindPattern
	selector   *selector
	namespaces *selector
	empty      bool
	excludes   bool // of an exclude block
}

type kindPattern struct{ group, version, kind, subresource string }

// selector is a label selector; wild says that its labels have wildcards, which are filled in for each object.
type selector struct {
	spec  *metav1.LabelSelector
	ready labels.Selector
	wild  bool
}

func newSelector(spec *metav1.LabelSelector) (*selector, error) {
	if spec == nil {
		return nil, nil
	}
	s := &selector{spec: spec}
	for k, v := range spec.MatchLabels {
		if wildcard.ContainsWildcard(k) || wildcard.ContainsWildcard(v) {
			s.wild = true
			return s, nil
		}
	}
	var err error
	s.ready, err = metav1.LabelSelectorAsSelector(spec)
	return s, err
}

func (s *selector) matches(set map[string]string) bool {
	if !s.wild {
		return s.ready.Matches(labels.Set(set))
	}
	filled, err := metav1.LabelSelectorAsSelector(wildcards.ReplaceInSelector(s.spec, set))
	return err == nil && filled.Matches(labels.Set(set))
}

// newMatcher compiles a block. Its errors are at their places below at.
func newMatcher(o *policies.Object, at policies.Path, m *matchBlock) (*matcher, []error) {
	if m == nil {
		return nil, nil
	}
	out := &matcher{}
	var errs []error
	one := func(f filter, at policies.Path) *filterMatcher {
		compiled, problems := newFilter(o, at, f)
		errs = append(errs, problems...)
		return compiled
	}
	for i, f := range m.Any {
		out.any = append(out.any, one(f, at.Append("any", i)))
	}
	for i, f := range m.All {
		out.all = append(out.all, one(f, at.Append("all", i)))
	}
	if len(m.Any) > 0 && len(m.All) > 0 {
		errs = append(errs, errorAt(o, at, policies.AtKey, fmt.Errorf("%s has any and all: expected one of them", at)))
	}
	if len(m.Any) == 0 && len(m.All) == 0 {
		out.all = []*filterMatcher{one(m.filter, at)}
	}
	return out, errs
}

func newFilter(o *policies.Object, at policies.Path, f filter) (*filterMatcher, []error) {
	out := &filterMatcher{filter: f}
	r := f.Resources
	out.empty = len(r.Kinds)+len(r.Names)+len(r.Namespaces)+len(r.Annotations)+len(r.Operations)+len(f.Roles)+len(f.ClusterRoles)+len(f.Subjects) == 0 &&
		r.Name == "" && r.Selector == nil && r.NamespaceSelector == nil
	var errs []error
	wrong := func(err error, steps ...any) {
		errs = append(errs, errorAt(o, at.Append(steps...), policies.AtValue, err))
	}
	for i, k := range r.Kinds {
		group, version, kind, sub := kubeutils.ParseKindSelector(k)
		if kind == "" {
			wrong(fmt.Errorf("kind %q: expected Kind, version/Kind, group/version/Kind or one of them with /subresource", k), "resources", "kinds", i)
		}
		out.kinds = append(out.kinds, kindPattern{group, version, kind, sub})
	}
	for i, op := range r.Operations {
		if !slices.Contains([]string{"CREATE", "UPDATE", "DELETE", "CONNECT"}, op) {
			wrong(fmt.Errorf("operation %q: expected CREATE, UPDATE, DELETE or CONNECT", op), "resources", "operations", i)
		}
	}
	for i, s := range f.Subjects {
		if !slices.Contains([]string{rbacv1.UserKind, rbacv1.GroupKind, rbacv1.ServiceAccountKind}, s.Kind) {
			wrong(fmt.Errorf("subject kind %q: expected User, Group or ServiceAccount", s.Kind), "subjects", i, "kind")
		}
	}
	var err error
	if out.selector, err = newSelector(r.Selector); err != nil {
		wrong(err, "resources", "selector")
	}
	if out.namespaces, err = newSelector(r.NamespaceSelector); err != nil {
		wrong(err, "resources", "namespaceSelector")
	}
	return out, errs
}

// subject is what a block is asked about.
type subject struct {
	change *policies.Change
	object *policies.Object
	trial  *Trial          // nil outside tests
	by     *policies.Actor // who makes the change, if not the change's own actor; nil otherwise
}

func (m *matcher) matches(s subject) answer {
	if len(m.any) > 0 {
		out := no
		for _, f := range m.any {
			if out = out.either(f.matches(s, m.exception)); out.yes {
				break
			}
		}
		return out
	}
	out := answer{yes: len(m.all) > 0}
	for _, f := range m.all {
		if out = out.both(f.matches(s, m.exception)); out.no() {
			break
		}
	}
	return out
}

// matches follows Kyverno's pkg/engine/utils, match.go: all that is written has to hold, and of each list one.
func (f *filterMatcher) matches(s subject, exception bool) answer {
	if f.empty {
		return no
	}
	r, c, o := &f.Resources, s.change, s.object
	if len(f.kinds) > 0 && !slices.ContainsFunc(f.kinds, func(k kindPattern) bool { return k.matches(c, o) }) {
		return no
	}
	name := o.Name
	if name == "" {
		name = metaText(o, "generateName")
	}
	if r.Name != "" && !wildcard.Match(r.Name, name) {
		return no
	}
	if len(r.Names) > 0 && !wildcard.CheckPatterns(r.Names, name) {
		return no
	}
	if len(r.Namespaces) > 0 && !wildcard.CheckPatterns(r.Namespaces, namespaceOf(c)) {
		return no
	}
	if len(r.Annotations) > 0 && !annotated(r.Annotations, metaMap(o, "annotations")) {
		return no
	}
	if f.selector != nil && !f.selector.matches(metaMap(o, "labels")) {
		return no
	}
	out := f.operation(c)
	return out.both(f.holder(c, o, exception)).both(f.actor(s))
}

func (f *filterMatcher) operation(c *policies.Change) answer {
	ops := f.Resources.Operations
	switch {
	case len(ops) == 0 || slices.Contains(ops, string(c.Operation)):
		return yes
	case c.Operation == policies.Create && !c.Knows.Has(policies.KnowsOld) && slices.Contains(ops, string(policies.Update)):
		return needs(policies.KnowsOld, strings.Join(policies.KnowsOld.Names(), ""))
	default:
		return no
	}
}

func (f *filterMatcher) holder(c *policies.Change, o *policies.Object, exception bool) answer {
	if f.namespaces == nil {
		return yes
	}
	switch {
	case o.Kind.Kind == "Namespace":
		return answer{yes: exception}
	case c.Holder != nil:
		return answer{yes: f.namespaces.matches(metaMap(c.Holder, "labels"))}
	case namespaceOf(c) == "" || c.Knows.Has(policies.KnowsNamespace):
		return answer{yes: f.namespaces.matches(nil)}
	default:
		return needs(policies.KnowsNamespace, "the labels of namespace "+namespaceOf(c))
	}
}

func (f *filterMatcher) actor(s subject) answer {
	if len(f.Roles)+len(f.ClusterRoles)+len(f.Subjects) == 0 {
		return yes
	}
	actor := s.change.Actor
	switch {
	case s.by != nil:
		actor = s.by
	case actor == nil && s.trial != nil:
		// A test that does not say who asks: match looks at nobody's name, exclude finds nobody's.
		if !f.excludes {
			return yes
		}
		actor = &policies.Actor{}
	case actor == nil:
		return needs(policies.KnowsActor, strings.Join(policies.KnowsActor.Names(), ""))
	}
	if len(f.Subjects) > 0 && !slices.ContainsFunc(f.Subjects, func(s rbacv1.Subject) bool { return isSubject(s, actor) }) {
		return no
	}
	if len(f.Roles)+len(f.ClusterRoles) == 0 {
		return yes
	}
	switch {
	case s.by != nil:
		return no
	case s.trial != nil:
		return answer{yes: meets(f.Roles, s.trial.Roles) && meets(f.ClusterRoles, s.trial.ClusterRoles)}
	}
	return needs(policies.KnowsActor|policies.KnowsCluster, "the roles of "+actor.User)
}

// meets says whether one of the roles that are asked for, if any are, is among those that are there.
func meets(wanted, have []string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(have, func(r string) bool { return slices.Contains(wanted, r) })
}

func isSubject(s rbacv1.Subject, a *policies.Actor) bool {
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		return wildcard.Match("system:serviceaccount:"+s.Namespace+":"+s.Name, a.User)
	case rbacv1.GroupKind:
		return slices.ContainsFunc(a.Groups, func(g string) bool { return wildcard.Match(s.Name, g) })
	default:
		return wildcard.Match(s.Name, a.User)
	}
}

func (k kindPattern) matches(c *policies.Change, o *policies.Object) bool {
	gvk, sub := o.Kind, c.Resource.Subresource
	if sub != "" && !wildcard.Match(k.kind, gvk.Kind) && isPlural(c.Resource.Resource, k.kind) {
		// The object of a subresource may be of another kind, as Scale is: Kyverno names the resource's own.
		gvk = policies.GroupVersionKind{Group: c.Resource.Group, Version: c.Resource.Version, Kind: k.kind}
	}
	if !wildcard.Match(k.group, gvk.Group) || !wildcard.Match(k.version, gvk.Version) || !wildcard.Match(k.kind, gvk.Kind) {
		return false
	}
	return wildcard.Match(k.subresource, sub) || sub == "ephemeralcontainers" && gvk == policies.GroupVersionKind{Version: "v1", Kind: "Pod"}
}

// isPlural says whether resource is the plural of kind, as English and Kubernetes form it.
func isPlural(resource, kind string) bool {
	lower := strings.ToLower(kind)
	return resource == lower+"s" || resource == lower+"es" || resource == strings.TrimSuffix(lower, "y")+"ies" || resource == lower
}

func annotated(want, have map[string]string) bool {
	for k, v := range want {
		found := false
		for hk, hv := range have {
			if wildcard.Match(k, hk) && wildcard.Match(v, hv) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func metaText(o *policies.Object, key string) string {
	v, _ := policies.Lookup(o.Settled(), policies.Path{"metadata", key})
	s, _ := v.(string)
	return s
}

func metaMap(o *policies.Object, key string) map[string]string {
	v, _ := policies.Lookup(o.Settled(), policies.Path{"metadata", key})
	m, _ := v.(map[string]any)
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

// coarse adds what the engine may decide by before any request is looked at: all that m can match, and more.
func (m *matcher) coarse(out *policies.Match) {
	filters := m.any
	if len(filters) == 0 {
		filters = m.all
	}
	add := func(k policies.KindRule) {
		if !slices.Contains(out.Kinds, k) {
			out.Kinds = append(out.Kinds, k)
		}
	}
	for _, f := range filters {
		if len(f.kinds) == 0 {
			add(policies.KindRule{Group: "*", Kind: "*", Subresource: "*"})
		}
		for _, k := range f.kinds {
			if k.subresource != "" {
				sub := exactOr(k.subresource)
				add(policies.KindRule{Group: "*", Kind: "*", Subresource: sub})
				continue
			}
			add(policies.KindRule{Group: exactOr(k.group), Version: exactOr(k.version), Kind: exactOr(k.kind)})
			if wildcard.Match(k.kind, "Pod") {
				add(policies.KindRule{Version: "v1", Kind: "Pod", Subresource: "ephemeralcontainers"})
			}
		}
	}
}

func exactOr(pattern string) string {
	if wildcard.ContainsWildcard(pattern) {
		return "*"
	}
	return pattern
}

// operations lists what m can match; nil for every operation.
func (m *matcher) operations() []policies.Operation {
	var out []policies.Operation
	filters := m.any
	if len(filters) == 0 {
		filters = m.all
	}
	for _, f := range filters {
		if len(f.Resources.Operations) == 0 {
			return nil
		}
		for _, op := range f.Resources.Operations {
			out = append(out, policies.Operation(op))
		}
	}
	return out
}

func matchesName(pattern, name string) bool { return wildcard.Match(pattern, name) }
