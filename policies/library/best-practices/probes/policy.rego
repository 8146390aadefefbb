# METADATA
# title: Containers that listen are asked whether they are ready and alive
# description: >-
#   Without a readiness probe a Pod gets traffic before it can serve it, and an update goes on past versions that never will; without a
#   liveness probe a Pod that hangs stays. Asked of containers with ports, of Deployments, StatefulSets, DaemonSets and ReplicaSets.
# custom:
#   name: best-practices/probes
#   severity: medium
#   action: warn
#   controls: [NIST SP 800-53 r5 CP-10, NIST SP 800-53 r5 SI-13, "ISO/IEC 27001:2022 A.8.14", "ISO/IEC 27001:2022 A.8.16"]
#   match: {kinds: [v1/Pod]}
package library.best_practices.probes

import data.library.pods

deny contains {
	"msg": sprintf("%s listens and has no readiness probe, expected readinessProbe", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["readinessProbe"]),
	"fix": "set readinessProbe to a request that succeeds once the container can serve",
} if {
	some c in listening
	not c.spec.readinessProbe
}

deny contains {
	"msg": sprintf("%s listens and has no liveness probe, expected livenessProbe", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["livenessProbe"]),
	"fix": "set livenessProbe to a request that fails only when a new start would help",
} if {
	some c in listening
	not c.spec.livenessProbe
}

listening := [c |
	lasting
	some c in pods.containers
	c.field == "containers"
	count(object.get(c.spec, "ports", [])) > 0
]

lasting if {
	some owner in input.metadata.ownerReferences
	owner.kind in {"ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"}
}
