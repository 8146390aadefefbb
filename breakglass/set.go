package breakglass

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gitgate.dev/gitgate/policies"
)

// Set is the grants of a cluster. It is safe for concurrent use; the zero value has none.
type Set struct {
	rules Rules
	now   func() time.Time
	kept  atomic.Pointer[snapshot]
}

type snapshot struct {
	grants    []*Grant
	approvals []Approval
}

// NewSet makes an empty set. now is nil for the clock.
func NewSet(r Rules, now func() time.Time) *Set {
	if now == nil {
		now = time.Now
	}
	return &Set{rules: r, now: now}
}

// Replace takes all grants and approvals that the cluster has. What cannot be read grants nothing, and is in the error list; nor does what
// the policy for grants would not have let in: it may have been made while nobody judged it, or while the policy only recorded.
func (s *Set) Replace(grants, approvals []*policies.Object) []error {
	next := &snapshot{}
	var errs []error
	for _, o := range grants {
		g, err := ParseGrant(o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if isSystem(g.Person) {
			errs = append(errs, fmt.Errorf("break-glass %s: %q is no person", g.Name, g.Person))
			continue
		}
		next.grants = append(next.grants, g)
	}
	for _, o := range approvals {
		a, err := ParseApproval(o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if isSystem(a.Approver) {
			errs = append(errs, fmt.Errorf("approval %s: %q is no person", o.Name, a.Approver))
			continue
		}
		next.approvals = append(next.approvals, *a)
	}
	slices.SortFunc(next.grants, func(a, b *Grant) int { return strings.Compare(a.Name, b.Name) })
	s.kept.Store(next)
	return errs
}

// Covering returns an open grant of the change's actor that covers the change. A grant covers an object with all its
// subresources, and neither grants nor anything of another person.
func (s *Set) Covering(c *policies.Change) (g *Grant, until time.Time, ok bool) {
	if c.Actor == nil || c.Subject() == nil {
		return nil, time.Time{}, false
	}
	key := keyOf(c)
	return s.find(func(g *Grant) bool {
		return g.Person == c.Actor.User && slices.ContainsFunc(g.Scope, func(x Scope) bool { return x.covers(key, c.Resource) })
	})
}

// Over returns an open grant of anybody that covers an object.
func (s *Set) Over(key policies.Key) (g *Grant, until time.Time, ok bool) {
	return s.find(func(g *Grant) bool {
		return slices.ContainsFunc(g.Scope, func(x Scope) bool { return x.covers(key, policies.Resource{}) })
	})
}

func (s *Set) find(wanted func(*Grant) bool) (*Grant, time.Time, bool) {
	kept := s.kept.Load()
	if kept == nil {
		return nil, time.Time{}, false
	}
	now := s.now()
	for _, g := range kept.grants {
		if !wanted(g) {
			continue
		}
		if state, _ := g.State(s.rules, kept.approvals, now); state == Open {
			return g, g.Until(s.rules), true
		}
	}
	return nil, time.Time{}, false
}

// keyOf is what a change is about. A Namespace lies in no namespace, although its request says that it lies in itself, and the
// body of a subresource may have no name of its own.
func keyOf(c *policies.Change) policies.Key {
	o := c.Subject()
	key := policies.Key{GroupKind: o.Kind.GroupKind(), Name: o.Name}
	if c.Namespaced {
		key.Namespace = c.Namespace
	}
	return key
}
