# METADATA
# title: Containers drop all capabilities
# description: An application needs none, but for NET_BIND_SERVICE when it listens below port 1024. From Kubernetes 1.22 on; from 1.25 on not asked of Windows Pods.
# custom:
#   name: pod-security/restricted/capabilities
#   severity: medium
#   controls: [CIS Kubernetes 1.10 5.2.8, CIS Kubernetes 1.10 5.2.9, CIS Kubernetes 1.10 5.2.10, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.restricted.capabilities

import data.library.kubernetes
import data.library.pods

deny contains {
	"msg": sprintf("%s keeps capabilities, expected securityContext.capabilities.drop to have ALL", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["securityContext", "capabilities", "drop"]),
	"fix": "set securityContext.capabilities.drop: [ALL]",
} if {
	asked
	some c in pods.containers
	not drops_all(c)
}

deny contains {
	"msg": sprintf("%s adds the capability %v, expected none but NET_BIND_SERVICE", [pods.name(c), capability]),
	"path": array.concat(pods.path(c), ["securityContext", "capabilities", "add", i]),
	"fix": sprintf("remove %v from securityContext.capabilities.add", [capability]),
} if {
	asked
	some c in pods.containers
	some i, capability in c.spec.securityContext.capabilities.add
	capability != "NET_BIND_SERVICE"
}

drops_all(c) if "ALL" in c.spec.securityContext.capabilities.drop

asked if {
	kubernetes.minor >= 22
	not excused
}

excused if {
	kubernetes.minor >= 25
	pods.windows
}
