# METADATA
# title: No container sees /proc unmasked, user namespace or not
# description: What baseline allows to Pods with a user namespace from Kubernetes 1.35 on, restricted does not.
# custom:
#   name: pod-security/restricted/proc-mount
#   severity: medium
#   controls: [NIST SP 800-53 r5 SC-39, NIST SP 800-53 r5 CM-6, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.restricted.proc_mount

import data.library.kubernetes
import data.library.pods

deny contains {
	"msg": sprintf("%s mounts /proc as %v, expected Default", [pods.name(c), mount]),
	"path": array.concat(pods.path(c), ["securityContext", "procMount"]),
	"fix": "remove securityContext.procMount",
} if {
	kubernetes.minor >= 35
	some c in pods.containers
	mount := c.spec.securityContext.procMount
	mount != "Default"
}
