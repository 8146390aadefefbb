# METADATA
# title: Roles name what they allow
# description: A wildcard also allows what is added later, by a new version or a new CustomResourceDefinition, and nobody will have decided it.
# custom:
#   name: best-practices/rbac-wildcards
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.1.3, NIST SP 800-53 r5 AC-6, "ISO/IEC 27001:2022 A.5.15", "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [Role.rbac.authorization.k8s.io, ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_wildcards

import data.library.rbac

words := {"verbs": "every verb", "resources": "every resource", "apiGroups": "every API group", "nonResourceURLs": "every URL"}

deny contains {
	"msg": sprintf("%s is for %s, expected them by name", [rbac.name, word]),
	"path": ["rules", i, field, j],
	"fix": sprintf("list the %s that are needed", [field]),
} if {
	some i, rule in input.rules
	some field, word in words
	some j, value in rule[field]
	value == "*"
}
