package trace

import (
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// apiAccess is where the token of a Pod's service account is mounted.
const apiAccess = "/var/run/secrets/kubernetes.io/serviceaccount"

// pod adds what admission and defaulting add to the spec of a Pod. spec is a copy of the declared one; w is what is written.
func (b *builder) pod(spec, w map[string]any) {
	if spec["serviceAccountName"] == nil && w["serviceAccountName"] == "default" {
		spec["serviceAccountName"] = "default"
	}
	if spec["serviceAccount"] == nil && w["serviceAccount"] == spec["serviceAccountName"] {
		b.fill(spec, w, "serviceAccount")
	}
	// Admission computes these, and refuses what it did not: the values cannot be other than the class's.
	b.fill(spec, w, "priority", "preemptionPolicy")
	if name, _ := w["priorityClassName"].(string); spec["priorityClassName"] == nil && name != "" {
		byDefault := func(o *policies.Object) bool { return o != nil && o.Map()["globalDefault"] == true }
		if b.lives(Ref{Kind: policies.GroupVersionKind{Group: "scheduling.k8s.io", Version: "v1", Kind: "PriorityClass"}, Name: name}, byDefault) {
			spec["priorityClassName"] = name
		}
	}
	if spec["enableServiceLinks"] == nil && w["enableServiceLinks"] == true {
		spec["enableServiceLinks"] = true
	}
	b.fill(spec, w, "imagePullSecrets") // the service account's
	runtimeClass := spec["runtimeClassName"] != nil
	if runtimeClass {
		b.fill(spec, w, "overhead")
		spec["nodeSelector"] = union(asMap(spec["nodeSelector"]), asMap(w["nodeSelector"]))
	}
	if extra := tolerations(asList(spec["tolerations"]), asList(w["tolerations"]), runtimeClass); extra {
		spec["tolerations"] = w["tolerations"]
	}
	access := map[string]bool{}
	for _, v := range asList(w["volumes"]) {
		name, _ := asMap(v)["name"].(string)
		if spec["automountServiceAccountToken"] != false && isAPIAccess(asMap(v)) && !named(asList(spec["volumes"]), name) {
			access[name] = true
			spec["volumes"] = append(slices.Clone(asList(spec["volumes"])), v)
		}
	}
	for _, key := range []string{"initContainers", "containers"} {
		if spec[key] == nil {
			continue
		}
		spec[key] = paired(asList(spec[key]), asList(w[key]), []string{"name"}, func(c, written map[string]any) {
			b.container(c, written, access, spec["hostNetwork"] == true)
		})
	}
	if limits, ok := asMap(b.writtenMeta["annotations"])["kubernetes.io/limit-ranger"].(string); ok {
		b.annotations()["kubernetes.io/limit-ranger"] = limits
	}
}

func (b *builder) container(c, w map[string]any, access map[string]bool, hostNetwork bool) {
	if w["imagePullPolicy"] == "Always" {
		c["imagePullPolicy"] = "Always"
	}
	for _, m := range asList(w["volumeMounts"]) {
		mount := asMap(m)
		name, _ := mount["name"].(string)
		if access[name] && Equal(mount, map[string]any{"name": name, "readOnly": true, "mountPath": apiAccess}) {
			c["volumeMounts"] = append(slices.Clone(asList(c["volumeMounts"])), m)
		}
	}
	// Limits that a LimitRange gives, and requests that follow from limits.
	resources := maps.Clone(asMap(c["resources"]))
	for _, key := range []string{"limits", "requests"} {
		if both := union(asMap(resources[key]), asMap(asMap(w["resources"])[key])); len(both) > 0 {
			if resources == nil {
				resources = map[string]any{}
			}
			resources[key] = both
		}
	}
	if resources != nil {
		c["resources"] = resources
	}
	if hostNetwork {
		c["ports"] = paired(asList(c["ports"]), asList(w["ports"]), []string{"containerPort", "protocol"}, func(port, written map[string]any) {
			if written["hostPort"] != nil && Equal(written["hostPort"], port["containerPort"]) {
				b.fill(port, written, "hostPort")
			}
		})
	}
}

// union is a with what only b has.
func union(a, b map[string]any) map[string]any {
	out := maps.Clone(b)
	if out == nil {
		return a
	}
	maps.Copy(out, a)
	return out
}

func named(list []any, name string) bool {
	return slices.ContainsFunc(list, func(v any) bool { return asMap(v)["name"] == name })
}

// isAPIAccess says whether a volume is exactly the one that the ServiceAccount admission adds.
func isAPIAccess(v map[string]any) bool {
	name, _ := v["name"].(string)
	if !strings.HasPrefix(name, "kube-api-access-") || len(v) != 2 {
		return false
	}
	projected := asMap(v["projected"])
	seconds, _ := policies.Lookup(projected, policies.Path{"sources", 0, "serviceAccountToken", "expirationSeconds"})
	if seconds != int64(3600) && seconds != int64(3607) { // an hour, or an hour that clients are warned of when it is over
		return false
	}
	return Equal(projected, map[string]any{
		"defaultMode": int64(420),
		"sources": []any{
			map[string]any{"serviceAccountToken": map[string]any{"expirationSeconds": seconds, "path": "token"}},
			map[string]any{"configMap": map[string]any{"name": "kube-root-ca.crt", "items": []any{map[string]any{"key": "ca.crt", "path": "ca.crt"}}}},
			map[string]any{"downwardAPI": map[string]any{"items": []any{map[string]any{
				"path": "namespace", "fieldRef": map[string]any{"apiVersion": "v1", "fieldPath": "metadata.namespace"},
			}}}},
		},
	})
}

// tolerations says whether all that is declared is written and the rest is what the control plane adds.
func tolerations(declared, written []any, runtimeClass bool) bool {
	for _, d := range declared {
		if !slices.ContainsFunc(written, func(w any) bool { return Equal(w, d) }) {
			return false
		}
	}
	for _, w := range written {
		if slices.ContainsFunc(declared, func(d any) bool { return Equal(w, d) }) || runtimeClass {
			continue
		}
		key, _ := asMap(w)["key"].(string)
		if !slices.Contains(nodeConditions, key) || asMap(w)["operator"] != "Exists" {
			return false
		}
	}
	return true
}

// nodeConditions are the taints for which admission and the DaemonSet controller give tolerations.
var nodeConditions = []string{
	"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/disk-pressure", "node.kubernetes.io/memory-pressure",
	"node.kubernetes.io/pid-pressure", "node.kubernetes.io/unschedulable", "node.kubernetes.io/network-unavailable",
}
