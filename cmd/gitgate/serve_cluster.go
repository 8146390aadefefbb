package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

// crdWatch are the cluster's CustomResourceDefinitions, and how often they have changed.
type crdWatch struct {
	*cluster.Watch
	changes atomic.Uint64
}

// selfTimeout bounds the question who the gate is to the API server, without whose answer it could not read its Secret either.
const selfTimeout = 10 * time.Second

// openCluster connects to the cluster, if there is one, and begins to watch what requests are judged by.
func (g *gate) openCluster(ctx context.Context) error {
	if g.flags.noCluster {
		return nil
	}
	config, err := cluster.Config(g.flags.kubeconfig, "gitgate/"+buildVersion())
	if errors.Is(err, cluster.ErrNoCluster) {
		g.log.Warn("no cluster: what needs one is deferred, and the trace of what controllers write is unsure")
		return nil
	}
	if err != nil {
		return usage("--kubeconfig: %v", err)
	}
	c, err := cluster.Connect(config, g.log)
	if err != nil {
		return usage("--kubeconfig: %v", err)
	}
	g.cluster, g.crds = c, &crdWatch{}
	if g.flags.tls.webhook != "" || g.flags.stateSecret != "" {
		asking, cancel := context.WithTimeout(ctx, selfTimeout)
		defer cancel()
		if g.self, err = c.Self(asking); err != nil {
			return exitWith(exitUnjudged, err)
		}
	}
	if g.namespaces, err = c.Watch(ctx, policies.Resource{Version: "v1", Resource: "namespaces"}, nil); err != nil {
		return exitWith(exitUnjudged, err)
	}
	definitions := policies.Resource{Group: definitionKind.Group, Version: "v1", Resource: "customresourcedefinitions"}
	if g.crds.Watch, err = c.Watch(ctx, definitions, func() { g.crds.changes.Add(1) }); err != nil {
		return exitWith(exitUnjudged, err)
	}
	if g.grants, err = watchGrants(ctx, c); err != nil {
		return exitWith(exitUnjudged, err)
	}
	if g.revisions, err = c.Revisions(ctx, true, true, nil); err != nil {
		return exitWith(exitUnjudged, err)
	}
	return nil
}

// compareVersions warns when the configuration is for another version of Kubernetes than the cluster's: what that adds to objects by default
// would be taken for what nobody declared.
func (g *gate) compareVersions(ctx context.Context, configured string) {
	if g.cluster == nil {
		return
	}
	asking, cancel := context.WithTimeout(ctx, selfTimeout)
	defer cancel()
	switch live, err := g.cluster.Version(asking); {
	case err != nil:
		g.log.Warn("the cluster's version of Kubernetes cannot be compared", "error", err.Error())
	case live != configured:
		g.log.Warn("gitgate.yaml is for another version of Kubernetes than the cluster's: set kubernetes to the cluster's", "kubernetes", configured, "cluster", live)
	}
}

// ownWriter lets the gate write the authority of its certificate into its own webhook configuration, which manifests of the API server itself
// (gitgate install --static) have it judge too, and what its own Secrets hold; and nothing else. What they hold is the gate's alone by that: a
// reconciler that applies them, as the chart declares them, may not empty them.
func (g *gate) ownWriter() []trace.Writer {
	var writes []trace.Write
	if g.flags.tls.webhook != "" {
		writes = append(writes, trace.Write{
			Kinds: []string{"ValidatingWebhookConfiguration.admissionregistration.k8s.io"}, Names: []string{g.flags.tls.webhook},
			Fields: []string{"webhooks[*].clientConfig.caBundle"},
		})
	}
	for _, secret := range []string{g.flags.tls.secret, g.flags.stateSecret} {
		if namespace, name, ok := strings.Cut(secret, "/"); ok {
			writes = append(writes, trace.Write{Kinds: []string{"Secret"}, Namespaces: []string{namespace}, Names: []string{name}, Fields: []string{"data"}})
		}
	}
	if g.self == "" || len(writes) == 0 {
		return nil
	}
	return []trace.Writer{{Name: "gitgate itself", Users: []string{g.self}, Writes: writes}}
}

// namespace is webhook.Options.Namespace: from the watch, and for one that it has not seen yet from the API server.
func (g *gate) namespace() func(context.Context, string) (*policies.Object, error) {
	if g.cluster == nil {
		return nil
	}
	kind := policies.GroupVersionKind{Version: "v1", Kind: "Namespace"}
	return func(ctx context.Context, name string) (*policies.Object, error) {
		if o := g.namespaces.Get("", name); o != nil {
			return o, nil
		}
		return g.cluster.Get(ctx, kind, "", name, false)
	}
}

// seen measures how long a commit took until its first request was admitted.
func (g *gate) seen(c *policies.Change, d *policies.Decision) {
	if c.DryRun || d.Verdict() > policies.AllowWarn {
		return
	}
	for i := range d.Results {
		if d.Results[i].Policy.Kind != "trace" {
			continue
		}
		for _, e := range d.Results[i].Finding.Evidence {
			if e.Kind == "commit" {
				g.metrics.admitted(e.Value, time.Now())
			}
		}
	}
}
