# METADATA
# title: No role lets its holder get more rights
# description: Who may escalate or bind roles can give themselves every right, and who may impersonate is whoever they name.
# custom:
#   name: best-practices/rbac-escalation
#   severity: critical
#   controls: [CIS Kubernetes 1.10 5.1.8, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 AC-5, "ISO/IEC 27001:2022 A.8.2", "ISO/IEC 27001:2022 A.5.18"]
#   match: {kinds: [Role.rbac.authorization.k8s.io, ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_escalation

import data.library.rbac

deny contains {
	"msg": sprintf("%s may %s %s, expected no such right", [rbac.name, concat(", ", verbs), grant.resource]),
	"path": grant.path,
	"fix": "remove the verbs, or list in resourceNames the roles that may be bound",
} if {
	some grant in rbac.grants
	not grant.byName
	grant.resource in {"roles", "clusterroles"}
	some group in grant.groups
	group in {"rbac.authorization.k8s.io", "*"}
	verbs := grant.verbs & {"escalate", "bind"}
	count(verbs) > 0
}

deny contains {
	"msg": sprintf("%s may impersonate %s, expected no such right", [rbac.name, grant.resource]),
	"path": grant.path,
	"fix": "remove the verb impersonate, or list in resourceNames who may be impersonated",
} if {
	some grant in rbac.grants
	not grant.byName
	"impersonate" in grant.verbs
}
