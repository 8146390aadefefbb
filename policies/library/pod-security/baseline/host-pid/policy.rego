# METADATA
# title: No Pod sees the processes of its node
# description: It could read their environment, and with a capability more end or enter them.
# custom:
#   name: pod-security/baseline/host-pid
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.2.3, NIST SP 800-53 r5 SC-39, "ISO/IEC 27001:2022 A.8.3"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.host_pid

deny contains {
	"msg": "the Pod sees the processes of its node, expected hostPID to be false or not set",
	"path": ["spec", "hostPID"],
	"fix": "remove hostPID; containers of one Pod see each other's processes with shareProcessNamespace",
} if {
	input.spec.hostPID == true
}
