# METADATA
# title: No Windows container is a HostProcess container
# description: A HostProcess container has the whole of its Windows node.
# custom:
#   name: pod-security/baseline/host-process
#   severity: critical
#   controls: [CIS Kubernetes 1.10 5.2.11, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 SC-39, "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.host_process

import data.library.pods

deny contains {
	"msg": sprintf("%s runs as a process of its Windows node, expected windowsOptions.hostProcess to be false or not set", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["windowsOptions", "hostProcess"]),
	"fix": "remove windowsOptions.hostProcess",
} if {
	some c in pods.contexts
	c.spec.windowsOptions.hostProcess == true
}
