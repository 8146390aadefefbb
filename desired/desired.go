// Package desired says what a Git revision declares: which objects a reconciler that follows it will apply, each with the place
// in Git that says so; which changes a merge would send; and, over the accepted commits of a branch, which commit declared what.
// It reads Git and renders; it knows no cluster, no policy language and no door. Nothing that a repository holds is executed, and
// nothing outside the repository is read.
package desired

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"gitgate.dev/gitgate/desired/argocd"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/packed"
	"gitgate.dev/gitgate/desired/trust"
	"gitgate.dev/gitgate/policies"
)

// Source is a folder of a Git repository that reconcilers apply.
type Source struct {
	Name   string
	URL    string    // how Git's objects name the repository; "" when that is not known
	Branch string    // "" when that is not known: then it is any
	Path   string    // slash-separated, from the repository's root; "" for the root itself
	Repo   *git.Repo // where its commits are read
	// Referenced says that the source declares nothing by itself: only what units of other sources take from it. Without it a source
	// declares its root path, unless a unit of another source renders that.
	Referenced bool
	Label      string // stands before the names of its files in places; "" for the repository that a person works in

	// Trust says whose signatures count; nil asks for none. It is looked at by Index alone.
	Trust *trust.Rules
	// Anchor is a commit that a person vouches for: signatures are asked of the commits after it. Without one, they are asked of
	// all of history.
	Anchor git.Hash
}

// Rules is what has to be known of the API server: see package apiserver.
type Rules interface {
	// Version is the version of Kubernetes, such as "1.36".
	Version() string
	// Stored is o as the API server would store it.
	Stored(set *policies.Set, o *policies.Object) (map[string]any, error)
	// Resource is the resource that objects of a kind are sent to, and whether it is namespaced.
	Resource(set *policies.Set, gvk policies.GroupVersionKind) (res policies.Resource, namespaced, known bool)
}

// Options say what is followed.
type Options struct {
	Sources []Source
	Rules   Rules

	// Cluster is what charts are told of the cluster; empty fields are filled from Rules.
	Cluster helm.Cluster
	// Clusters are other names of the cluster in the destinations of Argo CD's Applications: a server's address, a name.
	Clusters []string
	// Tracking, InstanceLabel and InstallationID are Argo CD's settings of the same names; empty for its defaults.
	Tracking                      argocd.Tracking
	InstanceLabel, InstallationID string

	// FluxNamespace and ArgoCDNamespace are where those controllers run: "flux-system" and "argocd" when empty.
	FluxNamespace, ArgoCDNamespace string
	// FluxAccount is the name of the service account that writes what a Flux object declares which names none, in the namespace of
	// that object; "" for the controller's own.
	FluxAccount string

	Version string // of gitgate: what another one rendered is rendered again
	Cache   *Cache // what was rendered before, on disk; nil for none
	Workers int    // units that are rendered at once; 0 for one a processor
	History History
}

// History bounds how far an Index looks back.
type History struct {
	Commits int           // accepted commits a source; 0 for DefaultCommits
	Age     time.Duration // how long ago a commit may have been left behind; 0 for ever
}

// DefaultCommits is how many accepted commits an Index keeps of a source.
const DefaultCommits = 200

// Renderer renders revisions of the sources. It is safe for concurrent use.
type Renderer struct {
	o       Options
	sources map[string]*Source
	words   *packed.Words
}

// New makes a renderer. The error says what is wrong with the options.
func New(o Options) (*Renderer, error) {
	if o.Rules == nil {
		return nil, errors.New("renderer: no rules of an API server")
	}
	if len(o.Sources) == 0 {
		return nil, errors.New("renderer: no sources")
	}
	if o.FluxNamespace == "" {
		o.FluxNamespace = "flux-system"
	}
	if o.ArgoCDNamespace == "" {
		o.ArgoCDNamespace = "argocd"
	}
	if o.History.Commits <= 0 {
		o.History.Commits = DefaultCommits
	}
	o.Cluster.Kubernetes = orElse(o.Cluster.Kubernetes, o.Rules.Version())
	if o.Cluster.Namespaced == nil {
		o.Cluster.Namespaced = func(gvk policies.GroupVersionKind) (namespaced, known bool) {
			_, namespaced, known = o.Rules.Resource(noDefinitions, gvk)
			return namespaced, known
		}
	}
	r := &Renderer{o: o, sources: map[string]*Source{}, words: packed.NewWords()}
	for i := range o.Sources {
		s := o.Sources[i]
		clean := strings.TrimPrefix(path.Clean("/"+s.Path), "/")
		switch {
		case s.Name == "":
			return nil, fmt.Errorf("source %d: no name", i+1)
		case r.sources[s.Name] != nil:
			return nil, fmt.Errorf("source %s: named twice", s.Name)
		case s.Repo == nil:
			return nil, fmt.Errorf("source %s: no repository", s.Name)
		case strings.Contains("/"+s.Path+"/", "/../"):
			return nil, fmt.Errorf("source %s: path %q leads out of the repository", s.Name, s.Path)
		}
		s.Path = clean
		r.sources[s.Name] = &s
	}
	return r, nil
}
