# METADATA
# title: Namespaces say which Pod Security Standard holds in them
# description: The API server's own admission then refuses what breaks it, also what did not come by Git and when no webhook answers.
# custom:
#   name: best-practices/namespace-pod-security
#   severity: low
#   action: warn
#   controls: [CIS Kubernetes 1.10 5.2.1, NIST SP 800-53 r5 CM-6, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.9"]
#   match: {kinds: [v1/Namespace]}
package library.best_practices.namespace_pod_security

label := "pod-security.kubernetes.io/enforce"

deny contains {
	"msg": sprintf("namespace %s does not say which Pod Security Standard holds, expected the label %s", [input.metadata.name, label]),
	"path": ["metadata", "labels"],
	"fix": sprintf("set the label %s to restricted or baseline; privileged is an answer, too", [label]),
} if {
	not startswith(input.metadata.name, "kube-")
	not input.metadata.labels[label]
}
