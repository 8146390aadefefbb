# METADATA
# title: No container takes a port of its node
# description: What listens on a node's port is reachable past Services and network policies, and can take another's place.
# custom:
#   name: pod-security/baseline/host-ports
#   severity: medium
#   controls: [CIS Kubernetes 1.10 5.2.13, NIST SP 800-53 r5 CM-7, NIST SP 800-53 r5 SC-7, "ISO/IEC 27001:2022 A.8.20"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.host_ports

import data.library.pods

deny contains {
	"msg": sprintf("%s takes port %v of its node, expected no hostPort", [pods.name(c), port.hostPort]),
	"path": array.concat(pods.path(c), ["ports", i, "hostPort"]),
	"fix": "remove hostPort, and make the port reachable by a Service",
} if {
	some c in pods.containers
	some i, port in c.spec.ports
	port.hostPort != 0
}
