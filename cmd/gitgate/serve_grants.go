package main

import (
	"context"
	"sync"
	"time"

	"gitgate.dev/gitgate/breakglass"
	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

// grantWatch are the break-glass grants of the cluster and what others have said of them.
type grantWatch struct {
	grants, approvals *cluster.Watch
	now               func() time.Time // no earlier than the API server's clock, by which grants begin

	mu  sync.Mutex
	set *breakglass.Set // by the rules of the configuration that is in force; nil before the first
}

func watchGrants(ctx context.Context, c *cluster.Cluster) (*grantWatch, error) {
	w := &grantWatch{now: c.Now}
	var err error
	of := func(resource string) policies.Resource {
		return policies.Resource{Group: breakglass.Group, Version: breakglass.Version, Resource: resource}
	}
	w.mu.Lock() // changes are told before both watches are there
	defer w.mu.Unlock()
	if w.grants, err = c.Watch(ctx, of(breakglass.GrantResource), w.changed); err != nil {
		return nil, err
	}
	w.approvals, err = c.Watch(ctx, of(breakglass.ApprovalResource), w.changed)
	return w, err
}

func (w *grantWatch) ready() bool { return w.grants.Ready() && w.approvals.Ready() }

func (w *grantWatch) changed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fill()
}

// fill puts what the cluster has into the set. A grant that cannot be read grants nothing.
func (w *grantWatch) fill() {
	if w.set != nil {
		w.set.Replace(w.grants.List(), w.approvals.List())
	}
}

// under is the set of grants by rules, as they are now: use keeps it up to date.
func (w *grantWatch) under(rules breakglass.Rules) *breakglass.Set {
	set := breakglass.NewSet(rules, w.now)
	set.Replace(w.grants.List(), w.approvals.List())
	return set
}

// use keeps a set up to date from now on, in place of the one of before; nil for none.
func (w *grantWatch) use(set *breakglass.Set) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set = set
	w.fill()
}

func (w *grantWatch) find(name string) (*breakglass.Grant, bool) {
	o := w.grants.Get("", name)
	if o == nil {
		return nil, false
	}
	g, err := breakglass.ParseGrant(o)
	return g, err == nil
}

// grants are those that the trace asks for.
type grants struct{ set *breakglass.Set }

func (g grants) Covering(c *policies.Change) (trace.Grant, bool) { return granted(g.set.Covering(c)) }
func (g grants) Over(key policies.Key) (trace.Grant, bool)       { return granted(g.set.Over(key)) }

func granted(g *breakglass.Grant, until time.Time, ok bool) (trace.Grant, bool) {
	if !ok {
		return trace.Grant{}, false
	}
	return trace.Grant{Name: g.Name, Person: g.Person, Reason: g.Reason, Until: until.UTC().Format(time.RFC3339)}, true
}
