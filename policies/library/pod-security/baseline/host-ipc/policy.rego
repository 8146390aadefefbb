# METADATA
# title: No Pod shares memory with its node
# description: It could read and write the shared memory of the node's processes.
# custom:
#   name: pod-security/baseline/host-ipc
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.2.4, NIST SP 800-53 r5 SC-39, NIST SP 800-53 r5 SC-4, "ISO/IEC 27001:2022 A.8.3"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.host_ipc

deny contains {
	"msg": "the Pod uses the inter-process communication of its node, expected hostIPC to be false or not set",
	"path": ["spec", "hostIPC"],
	"fix": "remove hostIPC; containers of one Pod share theirs already",
} if {
	input.spec.hostIPC == true
}
