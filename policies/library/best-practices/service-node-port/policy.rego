# METADATA
# title: No Service is of the type NodePort
# description: It is reachable on a port of every node, past Ingresses, their TLS and their logs.
# custom:
#   name: best-practices/service-node-port
#   severity: medium
#   action: warn
#   controls: [NIST SP 800-53 r5 SC-7, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.20"]
#   match: {kinds: [v1/Service]}
package library.best_practices.service_node_port

deny contains {
	"msg": sprintf("service %s is of the type NodePort, expected ClusterIP", [input.metadata.name]),
	"path": ["spec", "type"],
	"fix": "remove the type, and make the Service reachable by an Ingress or a Gateway",
} if {
	input.spec.type == "NodePort"
}
