package trace

import (
	"maps"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// replicasOf is how many Pods a workload asks for; one when it does not say.
func replicasOf(o map[string]any) int64 {
	if n, ok := lookup(o, "spec")["replicas"].(int64); ok {
		return n
	}
	return 1
}

// mostReplicas is the most that one ReplicaSet of a Deployment has: during a rollout the Deployment may have more Pods than it asks for. See
// NewRSNewReplicas and GetReplicaSetProportion in k8s.io/kubernetes/pkg/controller/deployment/util.
func mostReplicas(deployment *policies.Object) int64 {
	n := replicasOf(deployment.Map())
	if text(deployment, "spec", "strategy", "type") == "Recreate" {
		return n
	}
	switch surge := lookup(deployment.Map(), "spec", "strategy", "rollingUpdate")["maxSurge"].(type) {
	case int64:
		return n + surge
	case string:
		if percent, err := strconv.ParseInt(strings.TrimSuffix(surge, "%"), 10, 32); err == nil {
			return n + (n*percent+99)/100
		}
	}
	return n + (n*25+99)/100 // the default
}

// ofTemplate says whether a ReplicaSet is of a Deployment's present template.
func ofTemplate(replicaSet, deployment *policies.Object) bool {
	bare := func(o *policies.Object) map[string]any {
		template := copied(lookup(o.Map(), "spec", "template"))
		meta := copied(asMap(template["metadata"]))
		labels := maps.Clone(asMap(meta["labels"]))
		delete(labels, templateHash)
		template["metadata"], meta["labels"] = meta, labels
		return template
	}
	return Equal(bare(replicaSet), bare(deployment))
}

// ordinals are the first number of a StatefulSet's Pods and how many there are.
func ordinals(statefulSet *policies.Object) (from, n int64) {
	from, _ = lookup(statefulSet.Map(), "spec", "ordinals")["start"].(int64)
	return from, replicasOf(statefulSet.Map())
}

// within says whether a number in a name is one of n from the given one on.
func within(ordinal string, from, n int64) bool {
	i, err := strconv.ParseInt(ordinal, 10, 64)
	return err == nil && i >= from && i-from < n
}
