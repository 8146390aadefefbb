# METADATA
# title: No role reaches the kubelet through the API server
# description: nodes/proxy is the kubelet's own API, which runs commands in every Pod of the node, past admission and the audit log.
# custom:
#   name: best-practices/rbac-nodes-proxy
#   severity: critical
#   controls: [CIS Kubernetes 1.10 5.1.10, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 AU-12, "ISO/IEC 27001:2022 A.8.2", "ISO/IEC 27001:2022 A.8.18"]
#   match: {kinds: [ClusterRole.rbac.authorization.k8s.io]}
package library.best_practices.rbac_nodes_proxy

import data.library.rbac

deny contains {
	"msg": sprintf("%s may %s nodes/proxy, expected no such right", [rbac.name, rbac.said(grant.verbs)]),
	"path": grant.path,
	"fix": "remove nodes/proxy; metrics are read with nodes/metrics and nodes/stats",
} if {
	some grant in rbac.grants
	rbac.of(grant, "", "nodes/proxy")
}
