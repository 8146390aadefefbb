# METADATA
# title: Roles read Secrets by name
# description: Who may get, list or watch every Secret of a namespace has the tokens and passwords of everybody in it. list and watch show values, too.
# custom:
#   name: best-practices/rbac-secrets
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.1.2, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 AC-3, "ISO/IEC 27001:2022 A.8.3"]
#   match: {kinds: [Role.rbac.authorization.k8s.io, ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_secrets

import data.library.rbac

deny contains {
	"msg": sprintf("%s may %s every Secret, expected resourceNames", [rbac.name, rbac.said(verbs)]),
	"path": grant.path,
	"fix": "list the Secrets that are needed in resourceNames, or mount them",
} if {
	some grant in rbac.grants
	not grant.byName
	rbac.of(grant, "", "secrets")
	verbs := rbac.uses(grant, {"get", "list", "watch"})
}
