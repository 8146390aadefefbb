# METADATA
# title: No container switches AppArmor off
# description: The runtime's profile keeps a container from what no application needs of the kernel.
# custom:
#   name: pod-security/baseline/apparmor
#   severity: medium
#   controls: [CIS Kubernetes 1.10 5.7.3, NIST SP 800-53 r5 SC-39, NIST SP 800-53 r5 CM-6, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.apparmor

import data.library.pods

deny contains {
	"msg": sprintf("AppArmor's profile of %s is %v, expected RuntimeDefault or Localhost", [pods.name(c), profile.type]),
	"path": array.concat(pods.path(c), ["appArmorProfile", "type"]),
	"fix": "remove appArmorProfile, or set its type to RuntimeDefault",
} if {
	some c in pods.contexts
	profile := c.spec.appArmorProfile
	not object.get(profile, "type", "") in {"RuntimeDefault", "Localhost"}
}

deny contains {
	"msg": sprintf("annotation %s is %v, expected runtime/default or localhost/ and a profile", [key, value]),
	"path": ["metadata", "annotations", key],
	"fix": "remove the annotation, or set it to runtime/default",
} if {
	some key, value in input.metadata.annotations
	startswith(key, "container.apparmor.security.beta.kubernetes.io/")
	not value in {"", "runtime/default"}
	not startswith(value, "localhost/")
}
