# METADATA
# title: Workloads of several replicas have a PodDisruptionBudget
# description: Without one, the drain of nodes may take all replicas at once. Asked of Deployments and StatefulSets; the budget has to be among the manifests that are judged.
# custom:
#   name: best-practices/pod-disruption-budget
#   severity: low
#   action: warn
#   controls: [NIST SP 800-53 r5 CP-10, NIST SP 800-53 r5 SC-5, "ISO/IEC 27001:2022 A.8.14"]
#   match: {kinds: [Deployment.apps, StatefulSet.apps]}
package library.best_practices.pod_disruption_budget

import data.library.selectors

deny contains {
	"msg": sprintf("%s %s has %v replicas and no PodDisruptionBudget, expected one that selects its Pods", [input.kind, input.metadata.name, input.spec.replicas]),
	"path": ["spec", "replicas"],
	"fix": "add a PodDisruptionBudget with the selector of the workload and maxUnavailable: 1",
} if {
	input.spec.replicas > 1
	not protected
}

protected if {
	some budget in data.inventory.namespace[object.get(input.metadata, "namespace", "default")][_].PodDisruptionBudget
	selectors.selects(budget.spec.selector, object.get(input.spec.template.metadata, "labels", {}))
}
