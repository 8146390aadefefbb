// Package argocd renders what Argo CD applies, from its Applications and ApplicationSets and the files of revisions. It knows how
// Argo CD detects tools, calls them and marks what is its own, and nothing of clusters, Flux or policies. Which revision an
// address stands for is the caller's to say; no other is read, and no plugin is started.
package argocd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// Application is the part of argoproj.io/v1alpha1 Application that says what is applied.
type Application struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Project     string   `json:"project"`
		Source      *Source  `json:"source"`
		Sources     []Source `json:"sources"`
		Hydrator    any      `json:"sourceHydrator"`
		Destination struct {
			Server    string `json:"server"`
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"destination"`
		SyncPolicy struct {
			Automated *struct {
				Enabled  *bool `json:"enabled"`
				Prune    bool  `json:"prune"`
				SelfHeal bool  `json:"selfHeal"`
			} `json:"automated"`
			SyncOptions              []string        `json:"syncOptions"`
			ManagedNamespaceMetadata *CommonMetadata `json:"managedNamespaceMetadata"`
		} `json:"syncPolicy"`
	} `json:"spec"`

	object *policies.Object
}

// CommonMetadata is put on the namespace that a sync creates.
type CommonMetadata struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Parse reads an Application.
func Parse(o *policies.Object) (*Application, error) {
	text, err := json.Marshal(o.Map())
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o, err)
	}
	a := &Application{object: o}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, policies.ErrorAt(o.Locate(policies.Path{"spec"}, policies.AtKey), fmt.Errorf("%s cannot be read: %w", o, err))
	}
	if a.Spec.Hydrator == nil && a.Spec.Source == nil && len(a.Spec.Sources) == 0 {
		return nil, a.at(policies.Path{"spec"}, errors.New("application has no source: expected spec.source or spec.sources"))
	}
	return a, nil
}

func (a *Application) at(field policies.Path, err error) error {
	return policies.ErrorAt(a.object.Locate(field, policies.AtValue), err)
}

// Resolve returns the revision that a repository's address and a target revision (a branch, a tag, a commit, "" or HEAD) stand
// for. A *kustomize.OpaqueError says that it is none of those that are read.
type Resolve func(ctx context.Context, repoURL, targetRevision string) (*tree.View, error)

// Tracking is how Argo CD marks what is its own (application.resourceTrackingMethod of ConfigMap argocd-cm).
type Tracking string

const (
	TrackAnnotation Tracking = "annotation" // the default
	TrackLabel      Tracking = "label"
	TrackBoth       Tracking = "annotation+label"
)

// Config is what of Argo CD's own configuration says what is applied.
type Config struct {
	Namespace      string   // where Argo CD runs; "" is argocd
	Tracking       Tracking // "" is TrackAnnotation
	InstanceLabel  string   // "" is app.kubernetes.io/instance
	InstallationID string
	// Servers are the addresses and names of destinations that are this cluster, besides https://kubernetes.default.svc and in-cluster.
	Servers []string
	Cluster helm.Cluster
}

// Object is one object as Argo CD applies it.
type Object struct {
	Content map[string]any
	Origin  policies.Origin // File "" when it is not known
	Source  policies.Source // finds its fields in Origin.File; nil when that is to be found out by its name
	Hooks   []string        // sync phases that make it: PreSync, Sync, PostSync, SyncFail, PostDelete; none for an object of the application itself
	Keeps   string          // why it is not deleted when it is no longer declared; "" for one that is
	Opaque  []policies.Path // fields whose values Git does not say
}

// Prunes says whether Argo CD deletes by itself what a no longer declares.
func (a *Application) Prunes() bool {
	auto := a.Spec.SyncPolicy.Automated
	return auto != nil && auto.Prune && (auto.Enabled == nil || *auto.Enabled)
}
