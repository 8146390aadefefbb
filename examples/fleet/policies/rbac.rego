# METADATA
# title: Secrets are read by name
# description: >-
#   A role that may list or get every secret of a namespace is as good as an administrator of it.
# custom:
#   severity: high
#   match:
#     kinds: [Role, ClusterRole]
package rbac.secrets

import rego.v1

deny contains {
	"msg": sprintf("%s %s may %s every secret", [input.kind, input.metadata.name, verb]),
	"path": ["rules", i],
	"fix": "list the secrets it needs in resourceNames",
} if {
	some i, rule in input.rules
	"secrets" in rule.resources
	some verb in rule.verbs
	verb in {"get", "list", "watch", "*"}
	not rule.resourceNames
}
