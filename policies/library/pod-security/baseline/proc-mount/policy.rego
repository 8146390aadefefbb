# METADATA
# title: No container sees /proc unmasked
# description: What the runtime masks of /proc tells of the node and can change it. From Kubernetes 1.35 on a Pod with a user namespace may.
# custom:
#   name: pod-security/baseline/proc-mount
#   severity: medium
#   controls: [NIST SP 800-53 r5 SC-39, NIST SP 800-53 r5 CM-6, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.proc_mount

import data.library.kubernetes
import data.library.pods

deny contains {
	"msg": sprintf("%s mounts /proc as %v, expected Default", [pods.name(c), mount]),
	"path": array.concat(pods.path(c), ["securityContext", "procMount"]),
	"fix": "remove securityContext.procMount",
} if {
	not relaxed
	some c in pods.containers
	mount := c.spec.securityContext.procMount
	mount != "Default"
}

relaxed if {
	kubernetes.minor >= 35
	pods.user_namespace
}
