# METADATA
# title: Replicas are spread over nodes or zones
# description: The scheduler spreads by default where it easily can. Said, it also does so when that is harder, and the loss of a node or zone is not that of the application.
# custom:
#   name: best-practices/topology-spread
#   severity: info
#   action: audit
#   controls: [NIST SP 800-53 r5 CP-10, NIST SP 800-53 r5 SC-36, "ISO/IEC 27001:2022 A.8.14"]
#   match: {kinds: [Deployment.apps, StatefulSet.apps]}
package library.best_practices.topology_spread

deny contains {
	"msg": sprintf("%s %s does not say how its %v replicas are spread, expected topologySpreadConstraints or podAntiAffinity", [input.kind, input.metadata.name, input.spec.replicas]),
	"path": ["spec", "template", "spec"],
	"fix": "add topologySpreadConstraints with topologyKey: topology.kubernetes.io/zone",
} if {
	input.spec.replicas > 1
	not spread
}

spread if count(input.spec.template.spec.topologySpreadConstraints) > 0

spread if input.spec.template.spec.affinity.podAntiAffinity
