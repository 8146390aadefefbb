# METADATA
# title: Nobody is bound to cluster-admin
# description: It allows everything in the whole cluster, now and after every update.
# custom:
#   name: best-practices/rbac-cluster-admin
#   severity: critical
#   controls: [CIS Kubernetes 1.10 5.1.1, NIST SP 800-53 r5 AC-6, "ISO/IEC 27001:2022 A.8.2", "ISO/IEC 27001:2022 A.5.18"]
#   match: {kinds: [RoleBinding.rbac.authorization.k8s.io, ClusterRoleBinding.rbac.authorization.k8s.io]}
package library.best_practices.rbac_cluster_admin

deny contains {
	"msg": sprintf("%s %s gives every right, expected a role that says what is needed instead of cluster-admin", [input.kind, input.metadata.name]),
	"path": ["roleRef", "name"],
	"fix": "bind a role with the rights that are needed",
} if {
	input.roleRef.kind == "ClusterRole"
	input.roleRef.name == "cluster-admin"
}

deny contains {
	"msg": sprintf("%s %s names the group system:masters, which cannot lose its rights, expected another group", [input.kind, input.metadata.name]),
	"path": ["subjects", i, "name"],
	"fix": "remove the subject",
} if {
	some i, subject in input.subjects
	subject.kind == "Group"
	subject.name == "system:masters"
}
