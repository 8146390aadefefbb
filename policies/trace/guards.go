package trace

import (
	"context"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// kubeletSigner admits requests for the client certificates of kubelets.
func kubeletSigner(_ context.Context, r *review) ([]policies.Violation, error) {
	signer := text(r.c.Object, "spec", "signerName")
	if signer != "kubernetes.io/kube-apiserver-client-kubelet" && signer != "kubernetes.io/kubelet-serving" {
		return because("%s is for the signer %s, which is not approved by a controller", r.name(), signer), nil
	}
	return nil, nil
}

// secretOf admits Secrets of a type, and not those that Git declares.
func secretOf(kind string) rule {
	return func(ctx context.Context, r *review) ([]policies.Violation, error) {
		if text(r.c.Subject(), "type") != kind || r.c.Old != nil && text(r.c.Old, "type") != kind {
			return because("%s is not of the type %s", r.name(), kind), nil
		}
		return nil, nil
	}
}

func tokenSecret(ctx context.Context, r *review) ([]policies.Violation, error) {
	return secretOf("kubernetes.io/service-account-token")(ctx, r)
}

// bareAccount admits a service account that says nothing but its name.
func bareAccount(_ context.Context, r *review) ([]policies.Violation, error) {
	return r.outside(func(e edit) bool {
		return len(e.steps) == 2 && e.steps[0] == "metadata" && (e.steps[1] == "name" || e.steps[1] == "namespace")
	}), nil
}

// nodeConditionsOnly admits taints that say a node's condition, labels of its machine, and its ranges of addresses for Pods.
func nodeConditionsOnly(_ context.Context, r *review) ([]policies.Violation, error) {
	allowed := mustFields("metadata.labels[beta.kubernetes.io/*]", "metadata.labels[kubernetes.io/*]", "metadata.labels[node.kubernetes.io/*]", "metadata.labels[topology.kubernetes.io/*]",
		"metadata.labels[failure-domain.beta.kubernetes.io/*]", "spec.podCIDR", "spec.podCIDRs", "spec.providerID")
	return r.outside(func(e edit) bool {
		if len(e.steps) == 2 && e.steps[0] == "spec" && e.steps[1] == "taints" {
			return conditionTaints(asList(e.was), asList(e.now))
		}
		return covered(allowed, e)
	}), nil
}

// conditionTaints says whether two lists of taints differ only in taints that say a node's condition.
func conditionTaints(was, now []any) bool {
	rest := func(list []any) []any {
		var out []any
		for _, t := range list {
			key, _ := asMap(t)["key"].(string)
			if !strings.HasPrefix(key, "node.kubernetes.io/") && !strings.HasPrefix(key, "node.cloudprovider.kubernetes.io/") {
				out = append(out, t)
			}
		}
		return out
	}
	return Equal(rest(was), rest(now))
}

// reclaimed admits the deletion of a volume that is to be deleted when its claim is.
func reclaimed(ctx context.Context, r *review) ([]policies.Violation, error) {
	if text(r.c.Old, "spec", "persistentVolumeReclaimPolicy") != "Delete" {
		return because("%s is to be kept when its claim goes", r.name()), nil
	}
	return computed(ctx, r)
}

// lostPod admits the deletion of Pods that have finished, are being deleted, or whose node is gone.
func lostPod(ctx context.Context, r *review) ([]policies.Violation, error) {
	phase := text(r.c.Old, "status", "phase")
	if phase == "Succeeded" || phase == "Failed" || text(r.c.Old, "metadata", "deletionTimestamp") != "" {
		return nil, nil
	}
	node := text(r.c.Old, "spec", "nodeName")
	if node == "" {
		return because("%s has not run yet", r.name()), nil
	}
	gone := func(o *policies.Object) bool { return o == nil }
	o, err := r.live(ctx, Ref{Kind: policies.GroupVersionKind{Version: "v1", Kind: "Node"}, Name: node}, gone)
	if err != nil || gone(o) {
		return nil, err
	}
	return because("%s runs on node %s, which is there", r.name(), node), nil
}

// expired admits the deletion of a Job that has finished and has a time to live.
func expired(_ context.Context, r *review) ([]policies.Violation, error) {
	_, ttl := policies.Lookup(r.c.Old.Map(), policies.Path{"spec", "ttlSecondsAfterFinished"})
	if !ttl || !finished(r.c.Old) {
		return because("%s has not finished, or is to stay when it has", r.name()), nil
	}
	return nil, nil
}

// finished says whether a Job has ended, well or not.
func finished(job *policies.Object) bool {
	conditions, _ := policies.Lookup(job.Map(), policies.Path{"status", "conditions"})
	return slices.ContainsFunc(asList(conditions), func(c any) bool {
		kind := asMap(c)["type"]
		return (kind == "Complete" || kind == "Failed") && asMap(c)["status"] == "True"
	})
}

// toNode admits a binding to a node.
func toNode(_ context.Context, r *review) ([]policies.Violation, error) {
	if text(r.c.Object, "target", "kind") != "Node" || text(r.c.Object, "target", "name") == "" {
		return because("%s is bound to what is no node", r.name()), nil
	}
	return nil, nil
}

// bootstrapRole admits the roles that the API server makes at its start, and does not let go: each has the label and a name of its own.
func bootstrapRole(_ context.Context, r *review) ([]policies.Violation, error) {
	names := []string{"system:*", "admin", "edit", "view", "cluster-admin", "extension-apiserver-authentication-reader"}
	for _, o := range []*policies.Object{r.c.Object, r.c.Old} {
		if o != nil && (text(o, "metadata", "labels", "kubernetes.io/bootstrapping") != "rbac-defaults" || !matchesAny(names, o.Name, 0)) {
			return because("%s is not one of the API server's own roles", r.name()), nil
		}
	}
	return nil, nil
}

// labelled admits objects that carry a label, before and after.
func labelled(key string) rule { return carrying("labels", key) }

// annotated admits objects that carry an annotation, before and after.
func annotated(key string) rule { return carrying("annotations", key) }

func carrying(section, key string) rule {
	return func(_ context.Context, r *review) ([]policies.Violation, error) {
		for _, o := range []*policies.Object{r.c.Object, r.c.Old} {
			if o != nil && text(o, "metadata", section, key) == "" {
				return because("%s does not carry %s", r.name(), key), nil
			}
		}
		return nil, nil
	}
}

// ownNode admits the node of the kubelet that writes.
func ownNode(_ context.Context, r *review) ([]policies.Violation, error) {
	if r.node == "" || r.key.Name != r.node {
		return because("%s is not the node of %s", r.name(), r.c.Actor.User), nil
	}
	return nil, nil
}

// ownPod admits Pods that are bound to the node of the kubelet that writes.
func ownPod(_ context.Context, r *review) ([]policies.Violation, error) {
	if r.node == "" || text(r.c.Old, "spec", "nodeName") != r.node {
		return because("%s is not bound to the node of %s", r.name(), r.c.Actor.User), nil
	}
	return nil, nil
}

const mirrorMark = "kubernetes.io/config.mirror"

// mirrorPod admits the Pod that shows a static Pod of the node.
func mirrorPod(_ context.Context, r *review) ([]policies.Violation, error) {
	x, owned := controllerOf(r.c.Object)
	if r.node == "" || text(r.c.Object, "metadata", "annotations", mirrorMark) == "" || text(r.c.Object, "spec", "nodeName") != r.node ||
		!owned || x.kind.GroupKind() != (policies.GroupKind{Kind: "Node"}) || x.name != r.node {
		return because("%s is no mirror of a static Pod of node %s", r.name(), r.node), nil
	}
	return nil, nil
}

// endedPod admits the removal of Pods that are being deleted, have ended, or are mirrors.
func endedPod(_ context.Context, r *review) ([]policies.Violation, error) {
	phase := text(r.c.Old, "status", "phase")
	if text(r.c.Old, "metadata", "deletionTimestamp") == "" && text(r.c.Old, "metadata", "annotations", mirrorMark) == "" && phase != "Failed" && phase != "Succeeded" {
		return because("%s is not being deleted", r.name()), nil
	}
	return nil, nil
}

// ownCertificate admits requests for certificates of the node.
func ownCertificate(_ context.Context, r *review) ([]policies.Violation, error) {
	signer := text(r.c.Object, "spec", "signerName")
	if text(r.c.Object, "spec", "username") != r.c.Actor.User || signer != "kubernetes.io/kube-apiserver-client-kubelet" && signer != "kubernetes.io/kubelet-serving" {
		return because("%s is not a request for a certificate of the node", r.name()), nil
	}
	return nil, nil
}

// ownSlice admits lists of devices of the node.
func ownSlice(_ context.Context, r *review) ([]policies.Violation, error) {
	for _, o := range []*policies.Object{r.c.Object, r.c.Old} {
		if o != nil && text(o, "spec", "nodeName") != r.node {
			return because("%s is not of the node of %s", r.name(), r.c.Actor.User), nil
		}
	}
	return nil, nil
}

// autoscaled admits a scale within the bounds of a declared HorizontalPodAutoscaler for the object.
func autoscaled(_ context.Context, r *review) ([]policies.Violation, error) {
	if found := r.outside(func(e edit) bool {
		return e.steps[0] == "status" || len(e.steps) == 2 && e.steps[0] == "spec" && e.steps[1] == "replicas"
	}); len(found) > 0 {
		return found, nil
	}
	replicas := func(o *policies.Object) int64 {
		v, _ := policies.Lookup(o.Map(), policies.Path{"spec", "replicas"})
		n, _ := v.(int64)
		return n
	}
	was, now := replicas(r.c.Old), replicas(r.c.Object)
	for _, f := range r.declaredHere(policies.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}) {
		kind := policies.GroupKind{Kind: text(f.Object, "spec", "scaleTargetRef", "kind")}
		kind.Group, _ = policies.ParseAPIVersion(text(f.Object, "spec", "scaleTargetRef", "apiVersion"))
		if text(f.Object, "spec", "scaleTargetRef", "name") != r.key.Name || kind != r.governed && !plural(kind.Kind+"."+kind.Group, r.governed) {
			continue
		}
		least, most := int64(1), int64(0)
		if v, ok := policies.Lookup(f.Object.Map(), policies.Path{"spec", "minReplicas"}); ok {
			least, _ = v.(int64)
		}
		if v, ok := policies.Lookup(f.Object.Map(), policies.Path{"spec", "maxReplicas"}); ok {
			most, _ = v.(int64)
		}
		// One step towards the bounds from outside of them is what the autoscaler does too.
		if now >= least && now <= most || now > was && now <= most || now < was && now >= least {
			return nil, nil
		}
		return because("%s is scaled to %d, and %s at %s lets it be %d to %d", r.name(), now, f.Object, place(f, nil), least, most), nil
	}
	return because("%s is scaled by an autoscaler, and Git declares none for it", r.name()), nil
}
