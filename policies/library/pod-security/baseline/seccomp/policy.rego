# METADATA
# title: No container switches seccomp off
# description: Unconfined, a container may make every system call, also those that the runtime's profile holds back. Before Kubernetes 1.19 annotations said so.
# custom:
#   name: pod-security/baseline/seccomp
#   severity: medium
#   controls: [CIS Kubernetes 1.10 5.7.2, NIST SP 800-53 r5 SC-39, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.seccomp

import data.library.kubernetes
import data.library.pods

deny contains {
	"msg": sprintf("the seccomp profile of %s is %v, expected RuntimeDefault or Localhost", [pods.name(c), object.get(profile, "type", "not named")]),
	"path": array.concat(pods.path(c), ["seccompProfile", "type"]),
	"fix": "set seccompProfile.type to RuntimeDefault",
} if {
	kubernetes.minor >= 19
	some c in pods.contexts
	profile := c.spec.seccompProfile
	not object.get(profile, "type", "") in {"RuntimeDefault", "Localhost"}
}

deny contains {
	"msg": sprintf("annotation %s is %v, expected runtime/default, docker/default or localhost/ and a profile", [key, value]),
	"path": ["metadata", "annotations", key],
	"fix": "remove the annotation, or set it to runtime/default",
} if {
	kubernetes.minor < 19
	some key in annotations
	value := input.metadata.annotations[key]
	not value in {"runtime/default", "docker/default"}
	not startswith(value, "localhost/")
}

annotations := {"seccomp.security.alpha.kubernetes.io/pod"} | {key |
	some c in pods.containers
	key := concat("/", ["container.seccomp.security.alpha.kubernetes.io", c.spec.name])
}
