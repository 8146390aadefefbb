# METADATA
# title: No role makes PersistentVolumes
# description: A PersistentVolume may be a path of a node, so that who makes one has the node's files, whatever Pods may mount themselves.
# custom:
#   name: best-practices/rbac-persistent-volumes
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.1.9, NIST SP 800-53 r5 AC-6, "ISO/IEC 27001:2022 A.8.2", "ISO/IEC 27001:2022 A.8.3"]
#   match: {kinds: [ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_persistent_volumes

import data.library.rbac

deny contains {
	"msg": sprintf("%s may %s persistentvolumes, expected no such right", [rbac.name, rbac.said(verbs)]),
	"path": grant.path,
	"fix": "remove the verb create, and have a StorageClass make the volumes",
} if {
	some grant in rbac.grants
	rbac.of(grant, "", "persistentvolumes")
	verbs := rbac.uses(grant, {"create"})
}
