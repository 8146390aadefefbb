# METADATA
# title: No container chooses an SELinux user, role or foreign type
# description: Types other than those for containers, and any user or role, take away what SELinux keeps apart.
# custom:
#   name: pod-security/baseline/selinux
#   severity: medium
#   controls: [CIS Kubernetes 1.10 5.7.3, NIST SP 800-53 r5 SC-39, NIST SP 800-53 r5 AC-6, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.selinux

import data.library.kubernetes
import data.library.pods

types := {"container_t", "container_init_t", "container_kvm_t"} | {"container_engine_t" | kubernetes.minor >= 31}

deny contains {
	"msg": sprintf("the SELinux type of %s is %v, expected none or one of %s", [pods.name(c), type, concat(", ", types)]),
	"path": array.concat(pods.path(c), ["seLinuxOptions", "type"]),
	"fix": "remove seLinuxOptions.type",
} if {
	some c in pods.contexts
	type := object.get(c.spec.seLinuxOptions, "type", "")
	type != ""
	not type in types
}

deny contains {
	"msg": sprintf("%s sets the SELinux %s, expected none", [pods.name(c), field]),
	"path": array.concat(pods.path(c), ["seLinuxOptions", field]),
	"fix": sprintf("remove seLinuxOptions.%s", [field]),
} if {
	some c in pods.contexts
	some field in ["user", "role"]
	object.get(c.spec.seLinuxOptions, field, "") != ""
}
