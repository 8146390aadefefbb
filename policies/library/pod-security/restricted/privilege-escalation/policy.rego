# METADATA
# title: No process gets more privileges than its parent
# description: Without this, a program with the setuid bit makes a container's user root. From Kubernetes 1.25 on not asked of Windows Pods.
# custom:
#   name: pod-security/restricted/privilege-escalation
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.2.6, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.restricted.privilege_escalation

import data.library.kubernetes
import data.library.pods

deny contains {
	"msg": sprintf("%s may gain privileges, expected securityContext.allowPrivilegeEscalation to be false", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["securityContext", "allowPrivilegeEscalation"]),
	"fix": "set securityContext.allowPrivilegeEscalation: false",
} if {
	kubernetes.minor >= 8
	not excused
	some c in pods.containers
	not c.spec.securityContext.allowPrivilegeEscalation == false
}

excused if {
	kubernetes.minor >= 25
	pods.windows
}
