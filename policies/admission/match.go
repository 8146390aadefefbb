package admission

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"gitgate.dev/gitgate/policies"
)

// Request is a change in the terms of the API server's admission.Attributes.
type Request struct {
	Change    *policies.Change
	Operation policies.Operation
	Resource  policies.Resource
	Kind      policies.GroupVersionKind
	Name      string
	Namespace string // of a Namespace its own name, as the API server has it
	Self      bool   // the object is a Namespace
	OldKnown  bool   // oldObject is what Change.Old says
}

type requestKey struct{}

// RequestOf is made once for all policies.
func RequestOf(c *policies.Change) (*Request, error) {
	v, err := c.Derive(requestKey{}, func() (any, error) { return newRequest(c), nil })
	if err != nil {
		return nil, err
	}
	return v.(*Request), nil
}

// NamespaceMissing says that the namespace of r is known not to exist.
func (r *Request) NamespaceMissing() bool {
	return r.Change.Holder == nil && r.Change.Knows.Has(policies.KnowsNamespace) && r.Namespace != "" && !r.Self
}

func newRequest(c *policies.Change) *Request {
	subject := c.Subject()
	r := &Request{
		Change: c, Operation: c.Operation, Resource: c.Resource, Kind: subject.Kind,
		Name: subject.Name, Namespace: c.Namespace,
		OldKnown: c.Operation != policies.Update || c.Old != nil || c.Knows.Has(policies.KnowsOld),
	}
	if r.Namespace == "" && c.Namespaced {
		r.Namespace = subject.Namespace
	}
	if subject.Kind == (policies.GroupVersionKind{Version: "v1", Kind: "Namespace"}) {
		r.Self = true
		r.Namespace = subject.Name
	}
	if r.Name == "" && c.Operation == policies.Create {
		metadata, _ := subject.Settled()["metadata"].(map[string]any)
		r.Name = generatedName(metadata)
	}
	return r
}

// AsUpdate is the request as it would be if the object existed: what a door that does not know it has to reckon with.
func (r *Request) AsUpdate() *Request {
	u := *r
	u.Operation, u.OldKnown = policies.Update, false
	return &u
}

// Target is the resource and kind as which a policy wants to see the object: those of the request, or equivalent ones.
type Target struct {
	Resource policies.Resource
	Kind     policies.GroupVersionKind
}

// Matcher is MatchResources, ready to use (k8s.io/apiserver/pkg/admission/plugin/policy/matching).
type Matcher struct {
	rules, excluded     []admissionv1.NamedRuleWithOperations
	exact               bool
	namespaces, objects labels.Selector
	api                 API
}

// NewMatcher takes validated and defaulted MatchResources; nil matches everything.
func NewMatcher(m *admissionv1.MatchResources, api API) (*Matcher, error) {
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
	return &Matcher{
		rules: m.ResourceRules, excluded: m.ExcludeResourceRules, exact: *m.MatchPolicy == admissionv1.Exact,
		namespaces: namespaces, objects: objects, api: api,
	}, nil
}

// Answer is what a Matcher says of a request: why it does not match, or as what it does. It matches for certain when No is ""
// and Unknown is 0.
type Answer struct {
	No      string
	Unknown Needs
	As      Target
}

// Match follows matching.Matcher.Matches. Its order does not matter: all has to hold. What needs the namespace is asked last.
func (m *Matcher) Match(r *Request) (Answer, error) {
	as := Target{r.Resource, r.Kind}
	if m == nil {
		return Answer{As: as}, nil
	}
	var unknown Needs
	if len(m.excluded) > 0 {
		excluded, _, need := m.ruled(m.excluded, r)
		if excluded {
			return Answer{No: "excludeResourceRules name it"}, nil
		}
		unknown |= need
	}
	if len(m.rules) > 0 {
		matched, found, need := m.ruled(m.rules, r)
		if !matched && need == 0 {
			return Answer{No: "no resource rule matches it"}, nil
		}
		if matched {
			as = found
		}
		unknown |= need
	}
	if !m.selectsObject(r) {
		return Answer{No: "objectSelector does not match it"}, nil
	}
	selected, need, err := m.selectsNamespace(r)
	if err != nil {
		return Answer{}, err
	}
	if !selected && need == 0 {
		return Answer{No: "namespaceSelector does not match its namespace"}, nil
	}
	return Answer{Unknown: unknown | need, As: as}, nil
}

// ruled says whether one of rules matches, as itself or as an equivalent resource.
func (m *Matcher) ruled(rules []admissionv1.NamedRuleWithOperations, r *Request) (bool, Target, Needs) {
	for i := range rules {
		if ruleMatches(&rules[i], r, r.Resource) && namesMatch(&rules[i], r) {
			return true, Target{r.Resource, r.Kind}, 0
		}
	}
	if m.exact {
		return false, Target{}, 0
	}
	var unknown Needs
	for i := range rules {
		rule := &rules[i]
		if !namesMatch(rule, r) {
			continue
		}
		for _, group := range equivalentGroups(r) {
			for _, version := range rule.APIVersions {
				other := r.Resource
				other.Group, other.Version = group, version
				if version == "*" {
					other.Version = r.Resource.Version
				}
				if other == r.Resource || !ruleMatches(rule, r, other) {
					continue
				}
				kind := policies.GroupVersionKind{Group: group, Version: other.Version, Kind: r.Kind.Kind}
				if r.Kind.Group != r.Resource.Group {
					// The kind of a subresource, as Scale is, is in a group of its own and the same in every version.
					kind = r.Kind
				}
				served, need := m.serves(r, kind, other)
				unknown |= need
				if served {
					return true, Target{other, kind}, 0
				}
			}
		}
	}
	return false, Target{}, unknown
}

// equivalentGroups lists the API groups that hold the resource of r: its own, and for events the other one.
func equivalentGroups(r *Request) []string {
	if r.Resource.Resource == "events" {
		switch r.Resource.Group {
		case "":
			return []string{"", "events.k8s.io"}
		case "events.k8s.io":
			return []string{"events.k8s.io", ""}
		}
	}
	return []string{r.Resource.Group}
}

// serves says whether the API server serves res as kind.
func (m *Matcher) serves(r *Request, kind policies.GroupVersionKind, res policies.Resource) (bool, Needs) {
	if m.api == nil {
		return false, NeedVersions
	}
	if found, _, known := m.api.Resource(r.Change.Set, kind); known {
		return found.Resource == res.Resource, 0
	}
	if _, _, known := m.api.Resource(r.Change.Set, r.Kind); known {
		return false, 0
	}
	return false, NeedVersions
}

// ruleMatches follows rules.Matcher.Matches (k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules).
func ruleMatches(rule *admissionv1.NamedRuleWithOperations, r *Request, res policies.Resource) bool {
	return inScope(rule.Scope, r) &&
		(slices.Contains(rule.Operations, admissionv1.OperationAll) || slices.Contains(rule.Operations, admissionv1.OperationType(r.Operation))) &&
		wild(rule.APIGroups, res.Group) && wild(rule.APIVersions, res.Version) &&
		slices.ContainsFunc(rule.Resources, func(pattern string) bool {
			name, sub, _ := strings.Cut(pattern, "/")
			return (name == "*" || name == res.Resource) && (sub == "*" || sub == res.Subresource)
		})
}

func inScope(scope *admissionv1.ScopeType, r *Request) bool {
	if scope == nil || *scope == admissionv1.AllScopes {
		return true
	}
	namespaced := !isNamespaces(r.Resource) && (r.Namespace != "" || r.Change.Namespaced)
	return namespaced == (*scope == admissionv1.NamespacedScope)
}

// isNamespaces leaves the subresource aside, as the API server does: namespaces/finalize is cluster-scoped too.
func isNamespaces(res policies.Resource) bool {
	return res.Group == "" && res.Version == "v1" && res.Resource == "namespaces"
}

func namesMatch(rule *admissionv1.NamedRuleWithOperations, r *Request) bool {
	return len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.Name)
}

func wild(items []string, s string) bool {
	return slices.Contains(items, "*") || slices.Contains(items, s)
}

// selectsObject asks the new and the old object. One that is not known is taken to have the labels of the other: an update that
// takes a label away is told where both are known.
func (m *Matcher) selectsObject(r *Request) bool {
	if m.objects.Empty() {
		return true
	}
	if r.Operation == policies.Connect {
		return false // what is connected to is told by options, which have no labels
	}
	for _, o := range []*policies.Object{r.Change.Object, r.Change.Old} {
		if o != nil && m.objects.Matches(LabelsOf(o)) {
			return true
		}
	}
	return false
}

func (m *Matcher) selectsNamespace(r *Request) (bool, Needs, error) {
	if m.namespaces.Empty() || r.Namespace == "" && r.Resource.Resource != "namespaces" {
		return true, 0, nil
	}
	if r.Resource.Resource == "namespaces" && r.Resource.Subresource == "" && r.Change.Object != nil {
		return m.namespaces.Matches(LabelsOf(r.Change.Object)), 0, nil
	}
	holder := r.Change.Holder
	if holder == nil && r.Self {
		if holder = r.Change.Old; holder == nil {
			holder = r.Change.Object
		}
	}
	switch {
	case holder != nil:
		return m.namespaces.Matches(LabelsOf(holder)), 0, nil
	case r.Change.Knows.Has(policies.KnowsNamespace):
		return false, 0, fmt.Errorf("namespaces %q not found", r.Namespace)
	default:
		matches, known := byName(m.namespaces, r.Namespace)
		if known {
			return matches, 0, nil
		}
		return false, NeedNamespace, nil
	}
}

// nameLabel is the label with a namespace's name.
const nameLabel = "kubernetes.io/metadata.name"

// byName asks a selector of namespaces for the one label that the API server gives to each. known says
// that the selector hangs on nothing else.
func byName(s labels.Selector, namespace string) (matches, known bool) {
	requirements, _ := s.Requirements()
	known = true
	for i := range requirements {
		if requirements[i].Key() != nameLabel {
			known = false
		} else if !requirements[i].Matches(labels.Set{nameLabel: namespace}) {
			return false, true
		}
	}
	return known, known
}

// LabelsOf reads the labels of the stored object.
func LabelsOf(o *policies.Object) labels.Set {
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

// Coarse is what the engine may decide by before any request is looked at. It covers all that match does, and more.
func Coarse(m *admissionv1.MatchResources) policies.Match {
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

// WatchesUpdates says whether m may match a creation and not the update of the same object, or the other way round.
func (m *Matcher) WatchesUpdates() bool {
	return slices.ContainsFunc(slices.Concat(m.rules, m.excluded), func(rule admissionv1.NamedRuleWithOperations) bool {
		all := slices.Contains(rule.Operations, admissionv1.OperationAll)
		create := all || slices.Contains(rule.Operations, admissionv1.Create)
		update := all || slices.Contains(rule.Operations, admissionv1.Update)
		return create != update
	})
}

func isEvents(pattern string) bool {
	return pattern == "events" || strings.HasPrefix(pattern, "events/")
}

// Unasked says why the API server asks no admission policy about a resource at all (k8s.io/kubernetes
// pkg/kubeapiserver/admission/exclusion, and pkg/admission/plugin/policy/generic, plugin.go); "" when it does.
func Unasked(res policies.Resource) string {
	switch res.Group {
	case "authentication.k8s.io", "authorization.k8s.io":
		switch res.Resource {
		case "selfsubjectreviews", "tokenreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews":
			return "the API server asks no admission policy about reviews"
		}
	case admissionv1.GroupName:
		switch res.Resource {
		case "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings":
			return "the API server asks no admission policy about admission policies"
		}
	}
	return ""
}
