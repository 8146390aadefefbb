# METADATA
# title: No container adds a capability beyond the usual ones
# description: Capabilities such as SYS_ADMIN or NET_RAW give a container parts of its node, or let it pose as others on the network.
# custom:
#   name: pod-security/baseline/capabilities
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.2.8, CIS Kubernetes 1.10 5.2.9, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.capabilities

import data.library.pods

usual := {
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
	"SETPCAP", "SETUID", "SYS_CHROOT",
}

deny contains {
	"msg": sprintf("%s adds the capability %v, expected none or one of %s", [pods.name(c), capability, concat(", ", usual)]),
	"path": array.concat(pods.path(c), ["securityContext", "capabilities", "add", i]),
	"fix": sprintf("remove %v from securityContext.capabilities.add", [capability]),
} if {
	some c in pods.containers
	some i, capability in c.spec.securityContext.capabilities.add
	not capability in usual
}
