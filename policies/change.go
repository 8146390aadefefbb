package policies

import "iter"

// Operation is what a request does to an object, spelled as in an AdmissionReview.
type Operation string

const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// Facts is the set of things that a door knows about a change. A policy that needs more is deferred there.
type Facts uint

const (
	KnowsOld       Facts = 1 << iota // the object before the change, and so which operation it truly is
	KnowsActor                       // who makes the change
	KnowsNamespace                   // the labels of the object's namespace
	KnowsCluster                     // other objects of the cluster
	Online                           // the network may be asked
)

// Has says whether every fact of want is in f.
func (f Facts) Has(want Facts) bool { return f&want == want }

// Names lists the facts of f as messages name them.
func (f Facts) Names() []string {
	var names []string
	for _, fact := range []struct {
		bit  Facts
		name string
	}{
		{KnowsOld, "the object before the change"},
		{KnowsActor, "who makes the change"},
		{KnowsNamespace, "the namespace's labels"},
		{KnowsCluster, "the cluster's objects"},
		{Online, "the network"},
	} {
		if f.Has(fact.bit) {
			names = append(names, fact.name)
		}
	}
	return names
}

// Resource names what a request is sent to, as an AdmissionReview does: group, version, plural and, mostly empty, subresource.
type Resource struct{ Group, Version, Resource, Subresource string }

// Actor is who makes a change: the userInfo of an AdmissionReview.
type Actor struct {
	User   string
	UID    string
	Groups []string
	Extra  map[string][]string
}

// Change is one write to one object: the input of every policy.
type Change struct {
	Operation  Operation
	Resource   Resource
	Namespaced bool    // the resource is namespaced
	Object     *Object // nil for DELETE
	Old        *Object // nil for CREATE, and where the door does not know it
	Plain      bool    // Object is a document of any sort, which is sent to no API server: see NewDocument
	Workload   *Object // what was written, when Object is the Pod that it would make; nil when Object was written
	Actor      *Actor  // nil unless Knows has KnowsActor
	Namespace  string  // the namespace the request is sent to; "" for a cluster-scoped object
	Holder     *Object // the Namespace object; nil unless Knows has KnowsNamespace
	DryRun     bool
	Options    map[string]any // the request's CreateOptions, UpdateOptions …; nil where the door does not know them
	Knows      Facts
	Set        *Set // the other objects of the change set, as far as a policy refers to them; never nil inside Judge

	memo memo
}

// Subject is the object that the change is about: the new one, or the old one of a DELETE.
func (c *Change) Subject() *Object {
	if c.Object != nil {
		return c.Object
	}
	return c.Old
}

// Derive returns what build makes of c under key, made at most once for the life of c: the answer of one aggregated query of
// which several policies take their part. The key is of a type that only its package has.
func (c *Change) Derive(key any, build func() (any, error)) (any, error) {
	return c.memo.derive(key, build)
}

// Set is the objects of a change set that some policy refers to. It is complete before the first Judge and immutable then.
type Set struct {
	byKind map[GroupKind][]*Object
	memo   memo
}

// NewSet makes a set of objects, kept in the given order.
func NewSet(objects ...*Object) *Set {
	s := &Set{byKind: map[GroupKind][]*Object{}}
	for _, o := range objects {
		gk := o.Kind.GroupKind()
		s.byKind[gk] = append(s.byKind[gk], o)
	}
	return s
}

// Of returns the objects of one kind, in every version.
func (s *Set) Of(gk GroupKind) []*Object { return s.byKind[gk] }

// All visits every object; kinds in no particular order.
func (s *Set) All() iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for _, objects := range s.byKind {
			for _, o := range objects {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// Find returns the object of that kind, namespace and name, or nil.
func (s *Set) Find(gk GroupKind, namespace, name string) *Object {
	for _, o := range s.byKind[gk] {
		if o.Name == name && o.Namespace == namespace {
			return o
		}
	}
	return nil
}

// Derive returns what build makes of s under key, made at most once for the life of s: compiled CRDs, an inventory document.
func (s *Set) Derive(key any, build func() (any, error)) (any, error) {
	return s.memo.derive(key, build)
}
