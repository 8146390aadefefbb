// Package breakglass is how a person changes a cluster that only Git may change: for a short time, in a named scope, for a reason
// that stays on record. It reads grants, which are objects of the cluster, says which change one covers, and judges who may make
// one. It knows no client and no door: the objects are handed to it.
package breakglass

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/policies"
)

// Group is the API group of grants, Version its version.
const (
	Group   = "gitgate.dev"
	Version = "v1alpha1"
)

// The kinds of the group: a grant, and another person's word for it.
var (
	GrantKind    = policies.GroupKind{Group: Group, Kind: "BreakGlass"}
	ApprovalKind = policies.GroupKind{Group: Group, Kind: "BreakGlassApproval"}
)

// The resources of the kinds; both are cluster-scoped.
const (
	GrantResource    = "breakglasses"
	ApprovalResource = "breakglassapprovals"
)

// HardMaximum is the longest time that a grant may ask for, whatever gitgate.yaml says; the CustomResourceDefinition holds it too.
const HardMaximum = 8 * time.Hour

// DefaultMaximum is the longest time of a grant when gitgate.yaml names none.
const DefaultMaximum = time.Hour

// Rules are what gitgate.yaml says of grants.
type Rules struct {
	Maximum   time.Duration // the longest time of a grant; 0 for DefaultMaximum
	Approvals int           // how many other people have to agree
}

func (r Rules) maximum() time.Duration {
	if r.Maximum == 0 {
		return DefaultMaximum
	}
	return min(r.Maximum, HardMaximum)
}

// Grant is a BreakGlass object.
type Grant struct {
	Name     string
	UID      string
	Created  time.Time // by the API server's clock
	Person   string    // user name of who made it and may use it
	Reason   string
	Duration time.Duration
	Scope    []Scope
	Closed   bool
}

// Scope is what a grant covers.
type Scope struct {
	Namespace string // "" for cluster-scoped objects
	Kind      string // "Deployment", or "Deployment.apps" for one API group alone; "*" for every kind of a namespace
	Name      string // "*" for every one
}

func (s Scope) String() string { return s.Namespace + "/" + s.Kind + "/" + s.Name }

// ParseScope reads NAMESPACE/KIND/NAME, where the namespace is empty for a cluster-scoped object.
func ParseScope(text string) (Scope, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return Scope{}, fmt.Errorf("scope %q: expected NAMESPACE/KIND/NAME, such as shop/Deployment/web, or /ClusterRole/viewer for a cluster-scoped object", text)
	}
	s := Scope{parts[0], parts[1], parts[2]}
	return s, s.check()
}

func (s Scope) check() error {
	switch {
	case s.Kind == "" || s.Name == "":
		return fmt.Errorf("scope %q: names no kind or no object: * stands for every one", s)
	case strings.ContainsAny(s.Namespace, "*?["):
		return fmt.Errorf("scope %q: a namespace is named in full", s)
	case s.Namespace == "" && s.Kind == "*":
		return fmt.Errorf("scope %q: covers every cluster-scoped object: name a kind", s)
	case s.Kind != "*" && strings.ContainsAny(s.Kind, "*?["), s.Name != "*" && strings.ContainsAny(s.Name, "*?["):
		return fmt.Errorf("scope %q: * stands alone for every one; there are no other patterns", s)
	}
	kind, group, _ := strings.Cut(s.Kind, ".")
	if group == Group || (group == "" && (kind == GrantKind.Kind || kind == ApprovalKind.Kind)) {
		return fmt.Errorf("scope %q: grants are not changed under a grant", s)
	}
	return nil
}

// covers says whether an object lies in the scope. resource is what its request is sent to, for subresources whose body is of
// another kind (Scale, PodExecOptions).
func (s Scope) covers(key policies.Key, resource policies.Resource) bool {
	if key.Group == Group || resource.Group == Group || s.Namespace != key.Namespace || (s.Name != "*" && s.Name != key.Name) {
		return false
	}
	if s.Kind == "*" {
		return true
	}
	kind, group, named := strings.Cut(s.Kind, ".")
	if resource.Subresource == "" {
		return kind == key.Kind && (!named || group == key.Group)
	}
	return plural(kind) == resource.Resource && (!named || group == resource.Group)
}

// plural is the usual resource of a kind: see meta.UnsafeGuessKindToResource of apimachinery.
func plural(kind string) string {
	s := strings.ToLower(kind)
	switch {
	case strings.HasSuffix(s, "s"):
		return s + "es"
	case strings.HasSuffix(s, "y"):
		return strings.TrimSuffix(s, "y") + "ies"
	default:
		return s + "s"
	}
}

// ParseGrant reads a BreakGlass object. Its error means that the object grants nothing.
func ParseGrant(o *policies.Object) (*Grant, error) {
	m := o.Map()
	g := &Grant{Name: o.Name, UID: text(m, "metadata", "uid"), Person: text(m, "spec", "person"), Reason: strings.TrimSpace(text(m, "spec", "reason"))}
	if closed, ok := policies.Lookup(m, policies.Path{"spec", "closed"}); ok {
		g.Closed = closed != false // anything but a plain false closes
	}
	var errs []error
	if g.Person == "" {
		errs = append(errs, errors.New("spec.person is not given"))
	}
	if g.Reason == "" {
		errs = append(errs, errors.New("spec.reason is not given"))
	}
	var err error
	if g.Duration, err = time.ParseDuration(text(m, "spec", "duration")); err != nil || g.Duration <= 0 || g.Duration > HardMaximum {
		errs = append(errs, fmt.Errorf("spec.duration %q: expected a time of at most %s, such as 30m", text(m, "spec", "duration"), HardMaximum))
	}
	if created := text(m, "metadata", "creationTimestamp"); created != "" {
		if g.Created, err = time.Parse(time.RFC3339, created); err != nil {
			errs = append(errs, fmt.Errorf("metadata.creationTimestamp: %w", err))
		}
	}
	list, _ := policies.Lookup(m, policies.Path{"spec", "scope"})
	items, _ := list.([]any)
	if len(items) == 0 || len(items) > maxScopes {
		errs = append(errs, fmt.Errorf("spec.scope has %d items: expected 1 to %d", len(items), maxScopes))
	}
	for i, item := range items {
		fields, _ := item.(map[string]any)
		s := Scope{text(fields, "namespace"), text(fields, "kind"), text(fields, "name")}
		if err := s.check(); err != nil {
			errs = append(errs, fmt.Errorf("spec.scope[%d]: %w", i, err))
		}
		g.Scope = append(g.Scope, s)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("break-glass %s: %w", o.Name, errors.Join(errs...))
	}
	return g, nil
}

// maxScopes bounds what one grant names; the CustomResourceDefinition holds it too.
const maxScopes = 16

// Approval is a BreakGlassApproval object.
type Approval struct {
	Grant    string // name of the grant
	UID      string // of the grant: one that is made again under the same name is not approved
	Approver string // user name of who made it
}

// ParseApproval reads a BreakGlassApproval object.
func ParseApproval(o *policies.Object) (*Approval, error) {
	m := o.Map()
	a := &Approval{text(m, "spec", "breakGlass"), text(m, "spec", "uid"), text(m, "spec", "approver")}
	if a.Grant == "" || a.UID == "" || a.Approver == "" {
		return nil, fmt.Errorf("approval %s: expected spec.breakGlass, spec.uid and spec.approver", o.Name)
	}
	return a, nil
}

// Until is when the grant ends by time.
func (g *Grant) Until(r Rules) time.Time { return g.Created.Add(min(g.Duration, r.maximum())) }

// State says in a word, and for one that is not open why, whether a grant can be used at a time.
func (g *Grant) State(r Rules, approvals []Approval, now time.Time) (State, string) {
	switch {
	case isSystem(g.Person):
		return Closed, "of who is no person"
	case g.Closed:
		return Closed, "closed"
	case !now.Before(g.Until(r)):
		return Expired, "expired " + g.Until(r).Format(time.RFC3339)
	case g.Created.After(now.Add(maxSkew)):
		return Expired, "made in the future, by the clock of the gate"
	}
	if n := g.approvers(approvals); n < r.Approvals {
		return Waiting, fmt.Sprintf("waits for %d more to approve", r.Approvals-n)
	}
	return Open, "open until " + g.Until(r).Format(time.RFC3339)
}

// maxSkew is how far the clocks of the API server and of the gate may be apart.
const maxSkew = time.Minute

// approvers counts the people other than the grant's own who approve it.
func (g *Grant) approvers(approvals []Approval) int {
	var who []string
	for _, a := range approvals {
		if a.Grant == g.Name && a.UID == g.UID && a.Approver != g.Person && !isSystem(a.Approver) && !slices.Contains(who, a.Approver) {
			who = append(who, a.Approver)
		}
	}
	return len(who)
}

// State is what a grant is worth at a time. The zero value is worth nothing.
type State string

const (
	Open    State = "open"
	Waiting State = "waiting"
	Expired State = "expired"
	Closed  State = "closed"
)

func text(m map[string]any, path ...any) string {
	v, _ := policies.Lookup(m, path)
	s, _ := v.(string)
	return s
}
