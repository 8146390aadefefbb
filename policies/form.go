package policies

import "time"

// Key names an object in every version of its kind.
type Key struct {
	GroupKind
	Namespace, Name string
}

// KeyOf is the key of o in the given namespace: "" for a cluster-scoped object.
func KeyOf(o *Object, namespace string) Key {
	return Key{GroupKind: o.Kind.GroupKind(), Namespace: namespace, Name: o.Name}
}

// Commit is what is told of a commit that declares something.
type Commit struct {
	Hash    string // in full
	Author  string // name <address>
	Time    time.Time
	Subject string // first line of the message, bounded; foreign text
	Signer  string // who signed it, by the source's rules; "" when the source asks for no signature
}

// Form is one form in which accepted commits declare an object: what its reconciler would apply at each of them.
type Form struct {
	// Object is what the reconciler applies: Map as it is rendered, Stored with the API server's defaults. Its Origin and Locate
	// lead to the file that a person edits, not to the rendered text.
	Object *Object

	Source  string // name of the source in gitgate.yaml
	Unit    Unit
	Since   Commit // the oldest accepted commit with this form: the one that declared it
	Until   Commit // the newest one
	Current bool   // Until is the tip: Git declares it now
	Opaque  []Path // fields whose declared values only a key or a cluster could tell
}

// Unit is what one reconciler applies as one: a Flux Kustomization, a HelmRelease, an Argo CD Application, or the root path that
// a person applied when the cluster was set up.
type Unit struct {
	Kind      string // "Kustomization", "HelmRelease", "Application"; "" for the root path of the source
	Namespace string
	Name      string // the source's path for the root
	// ServiceAccount is the account that the reconciler takes to write, as Git declares it: "namespace:name"; "" for its own.
	ServiceAccount string
	Prune          bool // the reconciler deletes what the unit no longer declares
}

func (u Unit) String() string {
	switch {
	case u.Kind == "":
		return "path " + u.Name
	case u.Namespace == "":
		return u.Kind + " " + u.Name
	default:
		return u.Kind + " " + u.Namespace + "/" + u.Name
	}
}
