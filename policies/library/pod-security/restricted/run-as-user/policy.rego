# METADATA
# title: No container is made to run as user 0
# description: It would start as root whatever its image says. From Kubernetes 1.23 on; from 1.35 on not asked of Pods with a user namespace.
# custom:
#   name: pod-security/restricted/run-as-user
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.2.7, NIST SP 800-53 r5 AC-6, "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.restricted.run_as_user

import data.library.kubernetes
import data.library.pods

deny contains {
	"msg": sprintf("%s runs as user 0, expected another user or none", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["runAsUser"]),
	"fix": "remove runAsUser, or set it to a user that is not root",
} if {
	kubernetes.minor >= 23
	not relaxed
	some c in pods.contexts
	c.spec.runAsUser == 0
}

relaxed if {
	kubernetes.minor >= 35
	pods.user_namespace
}
