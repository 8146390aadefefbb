# METADATA
# title: No role makes tokens of service accounts
# description: Who may create a token of an account has the rights of the account.
# custom:
#   name: best-practices/rbac-tokens
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.1.13, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 IA-5, "ISO/IEC 27001:2022 A.5.17", "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [Role.rbac.authorization.k8s.io, ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_tokens

import data.library.rbac

deny contains {
	"msg": sprintf("%s may %s serviceaccounts/token, expected no such right, or resourceNames", [rbac.name, rbac.said(verbs)]),
	"path": grant.path,
	"fix": "remove serviceaccounts/token, or list in resourceNames the accounts whose tokens are needed",
} if {
	some grant in rbac.grants
	not grant.byName
	rbac.of(grant, "", "serviceaccounts/token")
	verbs := rbac.uses(grant, {"create"})
}
