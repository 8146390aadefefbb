# METADATA
# title: The namespace default stays empty
# description: Rights, quotas and network policies are given by namespace. What lies in default belongs to nobody, and is mixed with what was put there by mistake.
# custom:
#   name: best-practices/default-namespace
#   severity: low
#   action: warn
#   controls: [CIS Kubernetes 1.10 5.7.4, CIS Kubernetes 1.10 5.7.1, NIST SP 800-53 r5 SC-2, NIST SP 800-53 r5 CM-6, "ISO/IEC 27001:2022 A.8.22"]
package library.best_practices.default_namespace

# What the cluster itself keeps there.
own := {"Event", "Lease", "Endpoints", "EndpointSlice"}

deny contains {
	"msg": sprintf("%s %s is in the namespace default, expected one of its application", [input.kind, input.metadata.name]),
	"path": ["metadata", "namespace"],
	"fix": "make a namespace for the application",
} if {
	input.metadata.namespace == "default"
	not input.kind in own
	not [input.kind, input.metadata.name] in {["Service", "kubernetes"], ["ConfigMap", "kube-root-ca.crt"], ["ServiceAccount", "default"]}
}
