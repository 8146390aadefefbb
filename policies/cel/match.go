package cel

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"gitgate.dev/gitgate/policies"
)

// request is a change in the terms of the API server's admission.Attributes.
type request struct {
	change    *policies.Change
	operation policies.Operation
	resource  policies.Resource
	kind      policies.GroupVersionKind
	name      string
	namespace string // of a Namespace its own name, as the API server has it
	isSelf    bool   // the object is a Namespace
	oldKnown  bool   // oldObject is what c.Old says
}

type requestKey struct{}

// requestOf is made once for all policies.
func requestOf(c *policies.Change) (*request, error) {
	v, err := c.Derive(requestKey{}, func() (any, error) { return newRequest(c), nil })
	if err != nil {
		return nil, err
	}
	return v.(*request), nil
}

func newRequest(c *policies.Change) *request {
	subject := c.Subject()
	r := &request{
		change: c, operation: c.Operation, resource: c.Resource, kind: subject.Kind,
		name: subject.Name, namespace: c.Namespace,
		oldKnown: c.Operation != policies.Update || c.Old != nil || c.Knows.Has(policies.KnowsOld),
	}
	if r.namespace == "" && c.Namespaced {
		r.namespace = subject.Namespace
	}
	if subject.Kind == (policies.GroupVersionKind{Version: "v1", Kind: "Namespace"}) {
		r.isSelf = true
		r.namespace = subject.Name
	}
	if r.name == "" && c.Operation == policies.Create {
		metadata, _ := subject.Settled()["metadata"].(map[string]any)
		r.name = generatedName(metadata)
	}
	return r
}

// asUpdate is the request as it would be if the object existed: what a door that does not know it has to reckon with.
func (r *request) asUpdate() *request {
	u := *r
	u.operation, u.oldKnown = policies.Update, false
	return &u
}

// target is the resource and kind as which a policy wants to see the object: those of the request, or equivalent ones.
type target struct {
	resource policies.Resource
	kind     policies.GroupVersionKind
}

// matcher is MatchResources, ready to use (k8s.io/apiserver/pkg/admission/plugin/policy/matching).
type matcher struct {
	rules, excluded     []admissionv1.NamedRuleWithOperations
	exact               bool
	namespaces, objects labels.Selector
	api                 API
}

// newMatcher takes validated and defaulted MatchResources; nil matches everything.
func newMatcher(m *admissionv1.MatchResources, api API) (*matcher, error) {
	if m == nil {
		return nil, nil
	}
	namespaces, err := metav1.LabelSelectorAsSelector(m.NamespaceSelector)
	if err != nil {
		return nil, fmt.Errorf("namespaceSelector: %w", err)
	}
	objects, err := metav1.LabelSelectorAsSelector(m.ObjectSelector)
	if err != nil {
		return nil, fmt.Errorf("objectSelector: %w", err)
	}
	return &matcher{
		rules: m.ResourceRules, excluded: m.ExcludeResourceRules, exact: *m.MatchPolicy == admissionv1.Exact,
		namespaces: namespaces, objects: objects, api: api,
	}, nil
}

// answer is what a matcher says of a request: why it does not match, or as what it does. It matches for certain when no is ""
// and unknown is 0.
type answer struct {
	no      string
	unknown needs
	as      target
}

// match follows matching.Matcher.Matches. Its order does not matter: all has to hold. What needs the namespace is asked last.
func (m *matcher) match(r *request) (answer, error) {
	as := target{r.resource, r.kind}
	if m == nil {
		return answer{as: as}, nil
	}
	var unknown needs
	if len(m.excluded) > 0 {
		excluded, _, need := m.ruled(m.excluded, r)
		if excluded {
			return answer{no: "excludeResourceRules name it"}, nil
		}
		unknown |= need
	}
	if len(m.rules) > 0 {
		matched, found, need := m.ruled(m.rules, r)
		if !matched && need == 0 {
			return answer{no: "no resource rule matches it"}, nil
		}
		if matched {
			as = found
		}
		unknown |= need
	}
	if !m.selectsObject(r) {
		return answer{no: "objectSelector does not match it"}, nil
	}
	selected, need, err := m.selectsNamespace(r)
	if err != nil {
		return answer{}, err
	}
	if !selected && need == 0 {
		return answer{no: "namespaceSelector does not match its namespace"}, nil
	}
	return answer{unknown: unknown | need, as: as}, nil
}

// ruled says whether one of rules matches, as itself or as an equivalent resource.
func (m *matcher) ruled(rules []admissionv1.NamedRuleWithOperations, r *request) (bool, target, needs) {
	for i := range rules {
		if ruleMatches(&rules[i], r, r.resource) && namesMatch(&rules[i], r) {
			return true, target{r.resource, r.kind}, 0
		}
	}
	if m.exact {
		return false, target{}, 0
	}
	var unknown needs
	for i := range rules {
		rule := &rules[i]
		if !namesMatch(rule, r) {
			continue
		}
		for _, group := range equivalentGroups(r) {
			for _, version := range rule.APIVersions {
				other := r.resource
				other.Group, other.Version = group, version
				if version == "*" {
					other.Version = r.resource.Version
				}
				if other == r.resource || !ruleMatches(rule, r, other) {
					continue
				}
				kind := policies.GroupVersionKind{Group: group, Version: other.Version, Kind: r.kind.Kind}
				if r.kind.Group != r.resource.Group {
					// The kind of a subresource, as Scale is, is in a group of its own and the same in every version.
					kind = r.kind
				}
				served, need := m.serves(r, kind, other)
				unknown |= need
				if served {
					return true, target{other, kind}, 0
				}
			}
		}
	}
	return false, target{}, unknown
}

// equivalentGroups lists the API groups that hold the resource of r: its own, and for events the other one.
func equivalentGroups(r *request) []string {
	if r.resource.Resource == "events" {
		switch r.resource.Group {
		case "":
			return []string{"", "events.k8s.io"}
		case "events.k8s.io":
			return []string{"events.k8s.io", ""}
		}
	}
	return []string{r.resource.Group}
}

// serves says whether the API server serves res as kind.
func (m *matcher) serves(r *request, kind policies.GroupVersionKind, res policies.Resource) (bool, needs) {
	if m.api == nil {
		return false, needVersions
	}
	if found, _, known := m.api.Resource(r.change.Set, kind); known {
		return found.Resource == res.Resource, 0
	}
	if _, _, known := m.api.Resource(r.change.Set, r.kind); known {
		return false, 0
	}
	return false, needVersions
}

// ruleMatches follows rules.Matcher.Matches (k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules).
func ruleMatches(rule *admissionv1.NamedRuleWithOperations, r *request, res policies.Resource) bool {
	return inScope(rule.Scope, r) &&
		(slices.Contains(rule.Operations, admissionv1.OperationAll) || slices.Contains(rule.Operations, admissionv1.OperationType(r.operation))) &&
		wild(rule.APIGroups, res.Group) && wild(rule.APIVersions, res.Version) &&
		slices.ContainsFunc(rule.Resources, func(pattern string) bool {
			name, sub, _ := strings.Cut(pattern, "/")
			return (name == "*" || name == res.Resource) && (sub == "*" || sub == res.Subresource)
		})
}

func inScope(scope *admissionv1.ScopeType, r *request) bool {
	if scope == nil || *scope == admissionv1.AllScopes {
		return true
	}
	namespaced := !isNamespaces(r.resource) && (r.namespace != "" || r.change.Namespaced)
	return namespaced == (*scope == admissionv1.NamespacedScope)
}

// isNamespaces leaves the subresource aside, as the API server does: namespaces/finalize is cluster-scoped too.
func isNamespaces(res policies.Resource) bool {
	return res.Group == "" && res.Version == "v1" && res.Resource == "namespaces"
}

func namesMatch(rule *admissionv1.NamedRuleWithOperations, r *request) bool {
	return len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.name)
}

func wild(items []string, s string) bool {
	return slices.Contains(items, "*") || slices.Contains(items, s)
}

// selectsObject asks the new and the old object. One that is not known is taken to have the labels of the other: an update that
// takes a label away is told where both are known.
func (m *matcher) selectsObject(r *request) bool {
	if m.objects.Empty() {
		return true
	}
	if r.operation == policies.Connect {
		return false // what is connected to is told by options, which have no labels
	}
	for _, o := range []*policies.Object{r.change.Object, r.change.Old} {
		if o != nil && m.objects.Matches(labelsOf(o)) {
			return true
		}
	}
	return false
}

func (m *matcher) selectsNamespace(r *request) (bool, needs, error) {
	if m.namespaces.Empty() || r.namespace == "" && r.resource.Resource != "namespaces" {
		return true, 0, nil
	}
	if r.resource.Resource == "namespaces" && r.resource.Subresource == "" && r.change.Object != nil {
		return m.namespaces.Matches(labelsOf(r.change.Object)), 0, nil
	}
	holder := r.change.Holder
	if holder == nil && r.isSelf {
		if holder = r.change.Old; holder == nil {
			holder = r.change.Object
		}
	}
	switch {
	case holder != nil:
		return m.namespaces.Matches(labelsOf(holder)), 0, nil
	case r.change.Knows.Has(policies.KnowsNamespace):
		return false, 0, fmt.Errorf("namespaces %q not found", r.namespace)
	default:
		return false, needNamespace, nil
	}
}

// labelsOf reads the labels of the stored object.
func labelsOf(o *policies.Object) labels.Set {
	v, _ := policies.Lookup(o.Settled(), policies.Path{"metadata", "labels"})
	m, _ := v.(map[string]any)
	set := make(labels.Set, len(m))
	for k, v := range m {
		if s, ok := v.(string); ok {
			set[k] = s
		}
	}
	return set
}

// coarse is what the engine may decide by before any request is looked at. It covers all that match does, and more.
func coarse(m *admissionv1.MatchResources) policies.Match {
	var out policies.Match
	for _, rule := range m.ResourceRules {
		versions := rule.APIVersions
		groups := slices.Clone(rule.APIGroups)
		if *m.MatchPolicy == admissionv1.Equivalent {
			versions = []string{"*"}
			for _, pair := range [][2]string{{"", "events.k8s.io"}, {"events.k8s.io", ""}} {
				if slices.Contains(rule.APIGroups, pair[0]) && slices.ContainsFunc(rule.Resources, isEvents) {
					groups = append(groups, pair[1])
				}
			}
		}
		out.Resources = append(out.Resources, policies.ResourceRule{Groups: groups, Versions: versions, Resources: rule.Resources})
		for _, op := range rule.Operations {
			if op == admissionv1.OperationAll {
				out.Operations = []policies.Operation{policies.Create, policies.Update, policies.Delete, policies.Connect}
			} else if !slices.Contains(out.Operations, policies.Operation(op)) {
				out.Operations = append(out.Operations, policies.Operation(op))
			}
		}
	}
	return out
}

func isEvents(pattern string) bool {
	return pattern == "events" || strings.HasPrefix(pattern, "events/")
}

// unasked says why the API server asks no admission policy about a resource at all (k8s.io/kubernetes
// pkg/kubeapiserver/admission/exclusion, and pkg/admission/plugin/policy/generic, plugin.go); "" when it does.
func unasked(res policies.Resource) string {
	switch res.Group {
	case "authentication.k8s.io", "authorization.k8s.io":
		switch res.Resource {
		case "selfsubjectreviews", "tokenreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews":
			return "the API server asks no admission policy about reviews"
		}
	case group:
		switch res.Resource {
		case "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings":
			return "the API server asks no admission policy about admission policies"
		}
	}
	return ""
}
