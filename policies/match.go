package policies

import (
	"slices"
	"strings"
)

// Match says which requests a policy is asked about, as far as that depends on nothing but the request's kind, resource and
// operation: the engine answers it once for each such combination, not once a request. What depends on names, labels or
// content is for Judge, which answers Finding.Skipped. Kinds and Resources are alternatives; both empty match everything.
type Match struct {
	Kinds      []KindRule
	Resources  []ResourceRule
	Operations []Operation // empty: CREATE and UPDATE
	NoPods     bool        // never ask it of the Pod that a workload would make, because its kind does so by itself
	PodsToo    bool        // part of it is written for Pods: ask it of a workload's Pod even when it matches the workload; see Change.Workload
	Plain      Plain       // whether it is asked about documents that are no Kubernetes objects; see Change.Plain
}

// Plain says how a policy stands to documents that are no Kubernetes objects. The zero value is asked about Kubernetes objects alone.
type Plain int

const (
	NotPlain  Plain = iota // asked about Kubernetes objects
	AlsoPlain              // asked about both
	OnlyPlain              // asked about documents that are none
)

// KindRule matches requests by the kind of their object. "" matches every version or only the main resource; "*" everything.
type KindRule struct{ Group, Version, Kind, Subresource string }

// ResourceRule matches requests by resource, as admissionregistration.k8s.io/v1 Rule does: "*", "pods", "pods/*", "*/scale", "*/*".
type ResourceRule struct{ Groups, Versions, Resources []string }

// target is what a Match depends on.
type target struct {
	kind      GroupVersionKind
	resource  Resource
	operation Operation
	plain     bool
}

func (m *Match) matches(t target) bool {
	return m.takes(t.plain) && m.covers(t.operation) && m.names(t)
}

func (m *Match) takes(plain bool) bool {
	if plain {
		return m.Plain != NotPlain
	}
	return m.Plain != OnlyPlain
}

func (m *Match) covers(op Operation) bool {
	if len(m.Operations) == 0 {
		return op == Create || op == Update
	}
	return slices.Contains(m.Operations, op)
}

func (m *Match) names(t target) bool {
	if len(m.Kinds) == 0 && len(m.Resources) == 0 {
		return t.resource.Subresource == ""
	}
	for _, r := range m.Kinds {
		if r.matches(t) {
			return true
		}
	}
	for _, r := range m.Resources {
		if r.matches(t.resource) {
			return true
		}
	}
	return false
}

func (r *KindRule) matches(t target) bool {
	return (r.Kind == "*" || r.Kind == t.kind.Kind) &&
		(r.Group == "*" || r.Group == t.kind.Group) &&
		(r.Version == "" || r.Version == "*" || r.Version == t.kind.Version) &&
		(r.Subresource == "*" || r.Subresource == t.resource.Subresource)
}

func (r *ResourceRule) matches(res Resource) bool {
	if !has(r.Groups, res.Group) || !has(r.Versions, res.Version) {
		return false
	}
	for _, pattern := range r.Resources {
		name, sub, _ := strings.Cut(pattern, "/")
		if (name == "*" || name == res.Resource) && (pattern == "*" && res.Subresource == "" || sub == "*" || pattern != "*" && sub == res.Subresource) {
			return true
		}
	}
	return false
}

func has(patterns []string, s string) bool {
	return slices.Contains(patterns, "*") || slices.Contains(patterns, s)
}

// namesPods says that m is written for Pods: it names them, rather than matching them among everything.
func (m *Match) namesPods() bool {
	for _, r := range m.Kinds {
		if r.Kind == "Pod" && (r.Group == "" || r.Group == "*") {
			return true
		}
	}
	for _, r := range m.Resources {
		if has(r.Groups, "") && slices.Contains(r.Resources, "pods") {
			return true
		}
	}
	return false
}
