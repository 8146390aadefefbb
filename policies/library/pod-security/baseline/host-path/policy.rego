# METADATA
# title: No volume is a path of the node
# description: A hostPath volume gives a Pod the node's files, and outlives the Pod.
# custom:
#   name: pod-security/baseline/host-path
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.2.12, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 SC-39, "ISO/IEC 27001:2022 A.8.3"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.host_path

deny contains {
	"msg": sprintf("volume %s is a path of the node, expected a claim, a ConfigMap, a Secret, emptyDir or the like", [object.get(volume, "name", "without a name")]),
	"path": ["spec", "volumes", i, "hostPath"],
	"fix": "use a PersistentVolumeClaim for data that stays, emptyDir for data that does not",
} if {
	some i, volume in input.spec.volumes
	volume.hostPath
}
