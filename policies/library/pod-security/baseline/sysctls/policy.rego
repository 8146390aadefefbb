# METADATA
# title: No Pod sets a sysctl that reaches beyond it
# description: Sysctls that the kernel does not keep apart by namespace change the node for all. Newer versions of Kubernetes know more safe ones.
# custom:
#   name: pod-security/baseline/sysctls
#   severity: medium
#   controls: [NIST SP 800-53 r5 SC-39, NIST SP 800-53 r5 CM-6, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.baseline.sysctls

import data.library.kubernetes

# The safe ones, with the minor version of Kubernetes that took each in.
since := {
	"kernel.shm_rmid_forced": 0,
	"net.ipv4.ip_local_port_range": 0,
	"net.ipv4.ip_unprivileged_port_start": 0,
	"net.ipv4.tcp_syncookies": 0,
	"net.ipv4.ping_group_range": 0,
	"net.ipv4.ip_local_reserved_ports": 27,
	"net.ipv4.tcp_keepalive_time": 29,
	"net.ipv4.tcp_fin_timeout": 29,
	"net.ipv4.tcp_keepalive_intvl": 29,
	"net.ipv4.tcp_keepalive_probes": 29,
	"net.ipv4.tcp_rmem": 32,
	"net.ipv4.tcp_wmem": 32,
}

safe := {name | some name, minor in since; minor <= kubernetes.minor}

deny contains {
	"msg": sprintf("the Pod sets the sysctl %v, expected one of %s", [name, concat(", ", safe)]),
	"path": ["spec", "securityContext", "sysctls", i, "name"],
	"fix": "remove the sysctl, or have the node's owner set it",
} if {
	some i, sysctl in input.spec.securityContext.sysctls
	name := object.get(sysctl, "name", "")
	not name in safe
}
