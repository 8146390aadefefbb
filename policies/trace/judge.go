package trace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/policies"
)

// Class says who writes. Each change falls in the first that fits.
type Class string

const (
	NotGoverned    Class = "not governed"
	Derived        Class = "derived"
	DeclaredWriter Class = "declared writer"
	BreakGlass     Class = "break-glass"
	Reconciled     Class = "reconciler"
	Untraced       Class = "untraced"
)

// The rules that a violation of the policy names.
const (
	RuleObject      = "object"      // no accepted commit declares the object
	RuleField       = "field"       // a field is not what Git declares
	RuleWriter      = "writer"      // who writes is not who applies what Git declares
	RuleDelete      = "delete"      // Git still declares what is deleted, or never did
	RuleReplay      = "replay"      // what is written was declared by a commit older than what was applied since
	RuleDerived     = "derived"     // a controller does what such a controller does not do
	RuleSubresource = "subresource" // a subresource that nobody writes without being let
)

// Rules lists the rules that a violation can name.
func Rules() []string {
	return []string{RuleObject, RuleField, RuleWriter, RuleDelete, RuleReplay, RuleDerived, RuleSubresource}
}

// identity is a controller of a reconciler's installation.
type identity struct {
	sort    Sort
	account string
}

// applies says whether the controller applies what Git declares.
func (id identity) applies() bool {
	switch id.account {
	case "kustomize-controller", "helm-controller", "argocd-application-controller", "argocd-applicationset-controller":
		return true
	}
	return false
}

type judge struct {
	Options
	reconcilers map[string]identity // by user name
	duties      map[string][]duty   // by user name
	kubelet     []duty              // of every node
	writers     []writer
	now         func() time.Time
}

// review is one change that is looked at.
type review struct {
	j        *judge
	c        *policies.Change
	key      policies.Key       // of the object, or of the one that a subresource belongs to
	governed policies.GroupKind // its kind
	node     string             // the name of the node whose kubelet writes; "" for others
	changed  []edit
	differed bool
	fetched  bool           // Git was asked whether it has something newer
	unasked  error          // why it could not be asked then
	by       *policies.Form // what the verdict goes by; nil when it goes by no form
	cached   bool           // a live object was taken from the cache
	fresh    bool           // no live object is taken from the cache
}

func (j *judge) review(c *policies.Change) *review {
	r := &review{j: j, c: c, governed: c.Subject().Kind.GroupKind()}
	if c.Resource.Subresource != "" {
		r.governed = kindOf(c)
	}
	r.key = policies.Key{GroupKind: r.governed, Namespace: c.Namespace, Name: c.Subject().Name}
	if !c.Namespaced || r.governed == namespaceKind {
		r.key.Namespace = ""
	}
	if name, ok := strings.CutPrefix(c.Actor.User, "system:node:"); ok && name != "" && slices.Contains(c.Actor.Groups, "system:nodes") {
		r.node = name
	}
	return r
}

var (
	namespaceKind = policies.GroupKind{Kind: "Namespace"}
	podKind       = policies.GroupKind{Kind: "Pod"}
)

// edits are what the request changes; of the whole object on CREATE and DELETE.
func (r *review) edits() []edit {
	if !r.differed {
		r.changed, r.differed = edits(content(r.c.Old), content(r.c.Object), r.lists()), true
	}
	return r.changed
}

func (r *review) lists() func(policies.Path) List { return r.j.Lists(r.c.Subject().Kind) }

func content(o *policies.Object) map[string]any {
	if o == nil {
		return nil
	}
	return o.Map()
}

// judge says which commit declared c, or why none did.
func (j *judge) judge(ctx context.Context, c *policies.Change) (policies.Finding, error) {
	if c.Actor == nil || c.Subject() == nil || (c.Operation == policies.Update && (c.Old == nil || c.Object == nil)) || (c.Operation == policies.Delete && c.Old == nil) {
		return policies.Finding{}, errors.New("request is incomplete: who makes the change, and the object before it, are not known")
	}
	r := j.review(c)
	if why := r.notGoverned(); why != "" {
		return policies.Finding{Skipped: string(NotGoverned) + ": " + why}, nil
	}
	refused, derivedErr := r.derived(ctx)
	if refused == nil && derivedErr == nil {
		return pass(Derived, evidence("controller", c.Actor.User)), nil
	}
	if w := r.byWriter(); w != nil {
		return pass(DeclaredWriter, evidence("writer", w.Name)), nil
	}
	if j.Grants != nil {
		if g, ok := j.Grants.Covering(c); ok {
			return pass(BreakGlass, evidence("grant", fmt.Sprintf("%s of %s until %s: %s", g.Name, g.Person, g.Until, g.Reason))), nil
		}
	}
	if derivedErr != nil {
		return policies.Finding{}, derivedErr
	}
	if r.applies() {
		return r.reconciled(ctx, refused)
	}
	if len(refused) > 0 {
		return policies.Finding{Violations: refused, Evidence: evidence("class", string(Untraced))}, nil
	}
	if !r.mayApply() {
		return r.untraced(ctx), nil
	}
	_, err := r.freshen(ctx)
	if r.applies() {
		return r.reconciled(ctx, nil)
	}
	f := r.withHeld(r.untraced(ctx))
	if err != nil {
		// That no accepted commit lets this account write is known. What Git has beside them lets nobody in before it is accepted.
		f.Violations[0].Message += fmt.Sprintf("; whether Git has newer commits could not be asked: %v", err)
	}
	return f, nil
}

func pass(class Class, more []policies.Evidence) policies.Finding {
	return policies.Finding{Evidence: append(evidence("class", string(class)), more...)}
}

// evidence makes evidence of pairs of kinds and values, without those that have no value.
func evidence(pairs ...string) []policies.Evidence {
	var out []policies.Evidence
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, policies.Evidence{Kind: pairs[i], Value: pairs[i+1]})
		}
	}
	return out
}

// ungoverned are kinds that declare nothing: records, locks and questions.
var ungoverned = map[policies.GroupKind]string{
	{Kind: "Event"}:                                                   "events",
	{Group: "events.k8s.io", Kind: "Event"}:                           "events",
	{Group: "coordination.k8s.io", Kind: "Lease"}:                     "leases",
	{Group: "coordination.k8s.io", Kind: "LeaseCandidate"}:            "leases",
	{Group: "authentication.k8s.io", Kind: "TokenReview"}:             "questions to the API server",
	{Group: "authentication.k8s.io", Kind: "SelfSubjectReview"}:       "questions to the API server",
	{Group: "authentication.k8s.io", Kind: "TokenRequest"}:            "token requests",
	{Group: "authorization.k8s.io", Kind: "SubjectAccessReview"}:      "questions to the API server",
	{Group: "authorization.k8s.io", Kind: "LocalSubjectAccessReview"}: "questions to the API server",
	{Group: "authorization.k8s.io", Kind: "SelfSubjectAccessReview"}:  "questions to the API server",
	{Group: "authorization.k8s.io", Kind: "SelfSubjectRulesReview"}:   "questions to the API server",
}

// Grants are made by people and not by Git: see package breakglass.
var (
	grantKind    = policies.GroupKind{Group: "gitgate.dev", Kind: "BreakGlass"}
	approvalKind = policies.GroupKind{Group: "gitgate.dev", Kind: "BreakGlassApproval"}
)

func (r *review) notGoverned() string {
	gk := r.c.Subject().Kind.GroupKind()
	if why := ungoverned[gk]; why != "" {
		return why
	}
	if r.j.Grants != nil && r.c.Resource.Subresource == "" && (gk == grantKind || gk == approvalKind) {
		return "a break-glass grant, which a policy of its own judges"
	}
	return r.j.exempt(r.governed, r.key.Namespace, r.key.Name)
}

// exempt returns the reason for which an object is not traced; "" when it is.
func (j *judge) exempt(gk policies.GroupKind, namespace, name string) string {
	for i := range j.Exempt {
		x := &j.Exempt[i]
		if (len(x.Namespaces) == 0 || namespace != "" && matchesAny(x.Namespaces, namespace, 0)) &&
			(len(x.Kinds) == 0 || matchesKind(x.Kinds, gk)) &&
			(len(x.Names) == 0 || matchesAny(x.Names, name, 0)) {
			return "exempt: " + x.Reason
		}
	}
	return ""
}

// kindOf is the kind of the object that the subresource in c belongs to; of a resource whose kind is not known, its plural.
func kindOf(c *policies.Change) policies.GroupKind {
	if kind := kindsOfResources[c.Resource.Group+"/"+c.Resource.Resource]; kind != "" {
		return policies.GroupKind{Group: c.Resource.Group, Kind: kind}
	}
	switch c.Resource.Subresource {
	case "status", "approval", "finalize":
		return c.Subject().Kind.GroupKind()
	}
	return policies.GroupKind{Group: c.Resource.Group, Kind: c.Resource.Resource}
}

var kindsOfResources = map[string]string{
	"/pods": "Pod", "/services": "Service", "/nodes": "Node", "/namespaces": "Namespace", "/serviceaccounts": "ServiceAccount",
	"/replicationcontrollers": "ReplicationController", "apps/deployments": "Deployment", "apps/replicasets": "ReplicaSet",
	"apps/statefulsets": "StatefulSet", "apps/daemonsets": "DaemonSet",
}
