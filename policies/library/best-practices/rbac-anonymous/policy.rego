# METADATA
# title: No right is given to everybody
# description: >-
#   system:anonymous and system:unauthenticated are whoever reaches the API server; system:authenticated and system:serviceaccounts are every
#   person and every Pod.
# custom:
#   name: best-practices/rbac-anonymous
#   severity: critical
#   controls: [NIST SP 800-53 r5 AC-14, NIST SP 800-53 r5 AC-3, NIST SP 800-53 r5 AC-6, "ISO/IEC 27001:2022 A.5.15", "ISO/IEC 27001:2022 A.8.5"]
#   match: {kinds: [RoleBinding.rbac.authorization.k8s.io, ClusterRoleBinding.rbac.authorization.k8s.io]}
package library.best_practices.rbac_anonymous

deny contains {
	"msg": sprintf("%s %s gives rights to %s, who need not say who they are, expected a user, group or account", [input.kind, input.metadata.name, subject.name]),
	"path": ["subjects", i, "name"],
	"fix": "remove the subject",
} if {
	some i, subject in input.subjects
	[subject.kind, subject.name] in {["User", "system:anonymous"], ["Group", "system:unauthenticated"]}
}

deny contains {
	"msg": sprintf("%s %s gives rights to everybody in %s, expected a user, group or account", [input.kind, input.metadata.name, subject.name]),
	"path": ["subjects", i, "name"],
	"fix": "name who needs the rights",
} if {
	some i, subject in input.subjects
	subject.kind == "Group"
	subject.name in {"system:authenticated", "system:serviceaccounts"}
}
