# METADATA
# title: Containers cannot change their own files
# description: An intruder cannot put a program where it will be run, and what an application writes is known from its volumes.
# custom:
#   name: best-practices/read-only-root-filesystem
#   severity: low
#   action: warn
#   controls: [CIS Kubernetes 1.10 5.7.3, NIST SP 800-53 r5 SI-7, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Pod]}
package library.best_practices.read_only_root_filesystem

import data.library.pods

deny contains {
	"msg": sprintf("%s can write its root filesystem, expected securityContext.readOnlyRootFilesystem to be true", [pods.name(c)]),
	"path": array.concat(pods.path(c), ["securityContext", "readOnlyRootFilesystem"]),
	"fix": "set securityContext.readOnlyRootFilesystem: true, and mount an emptyDir where it has to write",
} if {
	not pods.windows
	some c in pods.containers
	c.field != "ephemeralContainers"
	not c.spec.securityContext.readOnlyRootFilesystem == true
}
