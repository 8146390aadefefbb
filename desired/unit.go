package desired

import (
	"gitgate.dev/gitgate/policies"
)

// Unit is what a reconciler applies as one, at one revision.
type Unit struct {
	policies.Unit
	Source    string            // name of the source whose files it renders
	Path      string            // folder, file or chart in the repository that it renders; "" for one that renders none
	Declared  policies.Position // where the object that declares it is written; zero for the root of a source
	Suspended bool              // its reconciler is told to leave it alone
	Actor     string            // user name of the identity that writes its objects
	Cascades  bool              // what it applied is deleted with it
	Elsewhere string            // the other cluster that it is applied to, as Git names it; "" for the cluster of the sources

	Problems []policies.Violation // why it cannot be rendered, or not in full: its reconciler would fail too
	Opaque   []Opaque             // what only a network or a key could tell

	result *result
	state  *State
}

// Declared is an object that a unit declares, as its reconciler will send it.
type Declared struct {
	Key    policies.Key     // of a hook that has only a generateName: that and a *
	Object *policies.Object // Stored has the API server's defaults; Origin and Locate lead to the file that a person edits
	Unit   *Unit
	// Hook says that the reconciler makes the object for a moment and deletes it: a Helm hook, an Argo CD sync hook.
	Hook bool
	// Opaque are fields whose values only a key or the cluster could tell: SOPS-encrypted ones. That they are there is declared;
	// their values are not known.
	Opaque []policies.Path

	entry *entry
}

// Opaque is something that a unit declares and that cannot be rendered offline. It is named, never guessed.
type Opaque struct {
	What   string // "chart podinfo from https://charts.example.com", "plugin cue"
	Reason string // what would be needed
	Pos    policies.Position
}

// Objects returns what the unit declares, in the order in which it is rendered. A unit with problems may declare nothing.
func (u *Unit) Objects() []*Declared {
	out := make([]*Declared, 0, u.result.size())
	for _, e := range u.result.all() {
		out = append(out, u.state.declared(u, e))
	}
	return out
}

// The rules that problems of units carry.
const (
	RuleNotRendered  = "not-rendered"      // a unit cannot be rendered
	RuleTwice        = "declared-twice"    // two units declare one object
	RuleDependency   = "unknown-unit"      // a unit waits for one that Git does not declare
	RuleCycle        = "cycle"             // units that need each other
	RuleNoNamespace  = "no-namespace"      // a namespaced object whose namespace nothing says
	RuleTooMany      = "too-many"          // more units or objects than are rendered
	RuleUntrusted    = "untrusted-commit"  // a commit of a source that its rules do not trust
	RuleRewritten    = "rewritten-branch"  // a branch that moved to a commit that does not descend from the accepted one
	RuleUnavailable  = "unavailable"       // a source that cannot be fetched or read
	RuleNotConverted = "not-a-known-shape" // an object that the API server could not read
)

// RuleIDs lists every rule that a problem can carry.
func RuleIDs() []string {
	return []string{
		RuleNotRendered, RuleTwice, RuleDependency, RuleCycle, RuleNoNamespace, RuleTooMany, RuleUntrusted, RuleRewritten, RuleUnavailable, RuleNotConverted,
	}
}
