# METADATA
# title: No role changes admission webhooks
# description: Who may change them sees every object that is written, Secrets too, and can let in or change what they like.
# custom:
#   name: best-practices/rbac-webhooks
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.1.12, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 CM-5, "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_webhooks

import data.library.rbac

deny contains {
	"msg": sprintf("%s may %s %s, expected no such right, or resourceNames", [rbac.name, rbac.said(verbs), grant.resource]),
	"path": grant.path,
	"fix": "list in resourceNames the configurations that are the application's own",
} if {
	some grant in rbac.grants
	not grant.byName
	some resource in {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
	rbac.of(grant, "admissionregistration.k8s.io", resource)
	verbs := rbac.uses(grant, {"create", "update", "patch", "delete", "deletecollection"})
}
