# METADATA
# title: No Pod uses the network of its node
# description: It could listen to the node's own traffic and reach what listens on the node alone; network policies do not hold for it.
# custom:
#   name: pod-security/baseline/host-network
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.2.5, NIST SP 800-53 r5 SC-7, NIST SP 800-53 r5 SC-39, "ISO/IEC 27001:2022 A.8.22"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.host_network

deny contains {
	"msg": "the Pod uses the network of its node, expected hostNetwork to be false or not set",
	"path": ["spec", "hostNetwork"],
	"fix": "remove hostNetwork, and make what listens reachable by a Service",
} if {
	input.spec.hostNetwork == true
}
