# METADATA
# title: No container starts as root
# description: Root in a container is one fault of the kernel or the runtime away from root on the node. From Kubernetes 1.35 on not asked of Pods with a user namespace.
# custom:
#   name: pod-security/restricted/run-as-non-root
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.2.7, NIST SP 800-53 r5 AC-6, "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.restricted.run_as_non_root

import data.library.kubernetes
import data.library.pods

deny contains {
	"msg": sprintf("%s may run as root, expected runAsNonRoot to be true", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["runAsNonRoot"]),
	"fix": "set securityContext.runAsNonRoot: true",
} if {
	not relaxed
	some c in pods.contexts
	c.spec.runAsNonRoot == false
}

deny contains {
	"msg": sprintf("%s may run as root, expected securityContext.runAsNonRoot to be true for it or for the Pod", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["securityContext", "runAsNonRoot"]),
	"fix": "set securityContext.runAsNonRoot: true for the Pod, and have the image name a user by number",
} if {
	not relaxed
	not input.spec.securityContext.runAsNonRoot == true
	some c in pods.containers
	not says(c)
}

says(c) if is_boolean(c.spec.securityContext.runAsNonRoot)

relaxed if {
	kubernetes.minor >= 35
	pods.user_namespace
}
