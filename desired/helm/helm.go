// Package helm renders charts that lie in a Git revision, as Helm does before it sends anything to a cluster. It knows how Helm
// loads a chart, merges values and executes templates, and nothing of Flux, Argo CD, units or policies. Nothing outside the
// chart's files is read, no address is asked and no program is started; what a hostile chart can cost is bounded.
package helm

import (
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

// Cluster is what is known of a cluster without asking it.
type Cluster struct {
	Kubernetes  string   // "1.36"
	APIVersions []string // group/version and group/version/Kind that it serves besides those of Kubernetes itself
	// Namespaced says whether objects of a kind live in a namespace; known is false for a kind that nobody declares.
	Namespaced func(policies.GroupVersionKind) (namespaced, known bool)
}

// Release says how a chart is installed.
type Release struct {
	Name, Namespace string
	Values          map[string]any // over the chart's own
	Written         []Written      // finds Values where they are written: those that are merged last come last
	Cluster         Cluster
	CRDs            bool // objects of crds/ are wanted too
	SkipTests       bool
	SkipSchema      bool // values.schema.json is not asked
	// Live says that whoever installs asks the cluster while it renders (lookup) and upgrades what it installed
	// (.Release.IsUpgrade, .Release.Revision). What depends on that is opaque. `helm template` is not live.
	Live bool
}

// Object is one object of a rendered chart.
type Object struct {
	Content map[string]any
	Origin  policies.Origin // the template, and the line of it that the object begins on
	Source  Source          // finds fields in the template
	Hooks   []string        // when Helm makes it (pre-install, post-upgrade, test); none for an object of the release itself
	CRD     bool            // from crds/: Helm installs it once and never upgrades or deletes it
	Opaque  []policies.Path // fields whose values Git does not say: chance, the time, the state of the cluster
}

// Source finds the fields of an object in the template that wrote it, and in the values that they come from.
type Source interface {
	policies.Source
	// Written is the value of a field as the template wrote it: what a reconciler adds afterwards is not there.
	Written(p policies.Path) (any, bool)
	// Value is where the value is written that a field comes from: a file of values, or what a reconciler's object says. ok is
	// false when the template says the field itself, or computes it.
	Value(p policies.Path) (place Place, ok bool)
}

// Result is a rendered chart.
type Result struct {
	Objects []Object // in the order of their files
	Opaque  []*kustomize.OpaqueError
}

// Chart is a chart as it lies in a revision.
type Chart struct {
	Name     string
	path     string // in the repository
	commit   string // of the revision
	files    []file
	replaced []Written // what stands for its values.yaml; none for the file itself
}
