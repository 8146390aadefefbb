# METADATA
# title: No role approves certificates
# description: Who may approve a certificate request of the API server's own signers can be any user, also an administrator.
# custom:
#   name: best-practices/rbac-certificates
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.1.11, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 SC-17, "ISO/IEC 27001:2022 A.5.17", "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_certificates

import data.library.rbac

deny contains {
	"msg": sprintf("%s may %s certificatesigningrequests/approval, expected no such right", [rbac.name, rbac.said(verbs)]),
	"path": grant.path,
	"fix": "remove certificatesigningrequests/approval, or list in resourceNames the signers of a verb approve",
} if {
	some grant in rbac.grants
	rbac.of(grant, "certificates.k8s.io", "certificatesigningrequests/approval")
	verbs := rbac.uses(grant, {"update", "patch"})
}
