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

deny contains {
	"msg": sprintf("%s of %s asks the host %v, expected no host: the Pod itself is asked then", [probe, pods.name(c), handler.host]),
	"path": array.concat(pods.path(c), [probe, action, "host"]),
	"fix": sprintf("remove %s.%s.host", [probe, action]),
} if {
	kubernetes.minor >= 34
	some c in pods.containers
	some probe in ["livenessProbe", "readinessProbe", "startupProbe"]
	some action, handler in c.spec[probe]
	asks(action, handler)
}

deny contains {
	"msg": sprintf("lifecycle.%s of %s asks the host %v, expected no host: the Pod itself is asked then", [hook, pods.name(c), handler.host]),
	"path": array.concat(pods.path(c), ["lifecycle", hook, action, "host"]),
	"fix": sprintf("remove lifecycle.%s.%s.host", [hook, action]),
} if {
	kubernetes.minor >= 34
	some c in pods.containers
	some hook in ["postStart", "preStop"]
	some action, handler in c.spec.lifecycle[hook]
	asks(action, handler)
}

asks(action, handler) if {
	action in {"httpGet", "tcpSocket"}
	handler.host != ""
}
