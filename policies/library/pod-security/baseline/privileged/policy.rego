# METADATA
# title: No container is privileged
# description: A privileged container is root on its node, with every device and every capability.
# custom:
#   name: pod-security/baseline/privileged
#   severity: critical
#   controls: [CIS Kubernetes 1.10 5.2.2, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 SC-39, "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.privileged

import data.library.pods

deny contains {
	"msg": sprintf("%s is privileged, expected securityContext.privileged to be false or not set", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["securityContext", "privileged"]),
	"fix": "remove securityContext.privileged, and add the capabilities that are needed one by one",
} if {
	some c in pods.containers
	c.spec.securityContext.privileged == true
}
