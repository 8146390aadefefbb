# METADATA
# title: Every container has a seccomp profile
# description: The runtime's profile holds back system calls that no application needs. From Kubernetes 1.19 on; from 1.25 on not asked of Windows Pods.
# custom:
#   name: pod-security/restricted/seccomp
#   severity: medium
#   controls: [CIS Kubernetes 1.10 5.7.2, NIST SP 800-53 r5 SC-39, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.restricted.seccomp

import data.library.kubernetes
import data.library.pods

profiles := {"RuntimeDefault", "Localhost"}

deny contains {
	"msg": sprintf("the seccomp profile of %s is %v, expected RuntimeDefault or Localhost", [pods.name(c), object.get(profile, "type", "not named")]),
	"path": array.concat(pods.path(c), ["seccompProfile", "type"]),
	"fix": "set seccompProfile.type to RuntimeDefault",
} if {
	asked
	some c in pods.contexts
	profile := c.spec.seccompProfile
	not object.get(profile, "type", "") in profiles
}

deny contains {
	"msg": sprintf("%s has no seccomp profile, expected securityContext.seccompProfile.type to be RuntimeDefault or Localhost for it or for the Pod", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["securityContext", "seccompProfile"]),
	"fix": "set securityContext.seccompProfile: {type: RuntimeDefault} for the Pod",
} if {
	asked
	not of_pod
	some c in pods.containers
	not c.spec.securityContext.seccompProfile
}

of_pod if input.spec.securityContext.seccompProfile.type in profiles

asked if {
	kubernetes.minor >= 19
	not excused
}

excused if {
	kubernetes.minor >= 25
	pods.windows
}
