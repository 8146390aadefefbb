# METADATA
# title: No probe or lifecycle hook names a host
# description: The kubelet makes the request, so that a host lets a Pod ask what only the node can reach. From Kubernetes 1.34 on.
# custom:
#   name: pod-security/baseline/host-probes
#   severity: medium
#   controls: [NIST SP 800-53 r5 SC-7, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.22"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.host_probes

import data.library.kubernetes
import data.library.pods

handlers := [["livenessProbe"], ["readinessProbe"], ["startupProbe"], ["lifecycle", "postStart"], ["lifecycle", "preStop"]]

deny contains {
	"msg": sprintf("%s of %s asks the host %v, expected no host: the Pod itself is asked then", [concat(".", handler), c.name, host]),
	"path": array.concat(c.path, array.concat(handler, [action, "host"])),
	"fix": sprintf("remove %s.%s.host", [concat(".", handler), action]),
} if {
	kubernetes.minor >= 34
	some c in pods.containers
	some handler in handlers
	some action in ["httpGet", "tcpSocket"]
	host := object.get(c.spec, array.concat(handler, [action, "host"]), "")
	host != ""
}
