package cluster

import (
	"context"
	"regexp"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Revisions are the commits that reconcilers say they apply, as their objects tell by watch. They are hints: whoever may write the
// status of such an object can say anything.
type Revisions struct{ watches map[string]*Watch }

// The resources that tell of revisions, by the kind of the unit.
func revisionResources() map[string]policies.Resource {
	return map[string]policies.Resource{
		"Kustomization": {Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"},
		"HelmRelease":   {Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"},
		"Application":   {Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"},
	}
}

// Revisions begins to watch the objects of reconcilers: Flux's, Argo CD's, or both. changed is called behind each change.
func (c *Cluster) Revisions(ctx context.Context, flux, argocd bool, changed func()) (*Revisions, error) {
	r := &Revisions{watches: map[string]*Watch{}}
	for kind, resource := range revisionResources() {
		if wanted := flux; kind == "Application" {
			if !argocd {
				continue
			}
		} else if !wanted {
			continue
		}
		w, err := c.Watch(ctx, resource, changed)
		if err != nil {
			return nil, err
		}
		r.watches[kind] = w
	}
	return r, nil
}

// Ready says that all watches are.
func (r *Revisions) Ready() bool {
	for _, w := range r.watches {
		if !w.Ready() {
			return false
		}
	}
	return true
}

// Of returns the commits that the reconciler of a unit says it applies or has applied, the newest word first.
func (r *Revisions) Of(kind, namespace, name string) []string {
	w := r.watches[kind]
	if w == nil {
		return nil
	}
	o := w.Get(namespace, name)
	if o == nil {
		return nil
	}
	return commitsIn(kind, o.Map())
}

// commitsIn reads where the reconcilers were measured to write a revision before the first request that belongs to it.
func commitsIn(kind string, m map[string]any) []string {
	paths := []policies.Path{{"status", "lastAttemptedRevision"}, {"status", "lastAppliedRevision"}}
	if kind == "Application" {
		paths = []policies.Path{
			{"operation", "sync", "revision"}, {"operation", "sync", "revisions"},
			{"status", "operationState", "operation", "sync", "revision"}, {"status", "operationState", "operation", "sync", "revisions"},
			{"status", "operationState", "syncResult", "revision"}, {"status", "operationState", "syncResult", "revisions"},
		}
	}
	var out []string
	add := func(v any) {
		if s, ok := v.(string); ok {
			if c := commitOf(s); c != "" {
				out = append(out, c)
			}
		}
	}
	// What a person asked for by the name of a branch only the history tells: Argo CD writes it when a sync has ended.
	history, _ := policies.Lookup(m, policies.Path{"status", "history"})
	past, _ := history.([]any)
	for i := len(past) - 1; i >= 0 && kind == "Application"; i-- {
		paths = append(paths, policies.Path{"status", "history", i, "revision"}, policies.Path{"status", "history", i, "revisions"})
	}
	for _, p := range paths {
		v, _ := policies.Lookup(m, p)
		add(v)
		list, _ := v.([]any)
		for _, item := range list {
			add(item)
		}
	}
	return out
}

var commitPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// commitOf is the commit that a revision names: "main@sha1:<commit>", "sha1:<commit>", "main/<commit>", "<commit>"; "" for others,
// such as a branch that a person typed.
func commitOf(revision string) string {
	s := revision
	if i := strings.LastIndexAny(s, ":/"); i >= 0 {
		s = s[i+1:]
	}
	if commitPattern.MatchString(s) {
		return s
	}
	return ""
}
