# METADATA
# title: No role runs commands in Pods
# description: Who may exec or attach has what the Pod has, its Secrets and its token, and leaves no commit behind.
# custom:
#   name: best-practices/rbac-pods-exec
#   severity: high
#   controls: [NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 CM-5, "ISO/IEC 27001:2022 A.8.2", "ISO/IEC 27001:2022 A.8.18"]
#   match: {kinds: [Role.rbac.authorization.k8s.io, ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_pods_exec

import data.library.rbac

ways := {"pods/exec": {"create", "get"}, "pods/attach": {"create", "get"}, "pods/ephemeralcontainers": {"update", "patch"}}

deny contains {
	"msg": sprintf("%s may %s %s, expected no way into running Pods", [rbac.name, rbac.said(verbs), way]),
	"path": grant.path,
	"fix": sprintf("remove %s; give it to people for a time, when they need it", [way]),
} if {
	some grant in rbac.grants
	some way, used in ways
	rbac.of(grant, "", way)
	verbs := rbac.uses(grant, used)
}
