# METADATA
# title: Namespaces with workloads have network policies
# description: >-
#   Without any, every Pod of the cluster reaches every Pod of the namespace, and these reach everything. Told at the Namespace, when it and its
#   workloads are among the manifests that are judged, and no NetworkPolicy is.
# custom:
#   name: best-practices/network-policy
#   severity: medium
#   action: warn
#   controls: [CIS Kubernetes 1.10 5.3.2, NIST SP 800-53 r5 SC-7, NIST SP 800-53 r5 AC-4, "ISO/IEC 27001:2022 A.8.20", "ISO/IEC 27001:2022 A.8.22"]
#   match: {kinds: [v1/Namespace]}
package library.best_practices.network_policy

deny contains {
	"msg": sprintf("namespace %s has workloads and no NetworkPolicy, expected one", [input.metadata.name]),
	"path": ["metadata", "name"],
	"fix": "add a NetworkPolicy that denies all ingress to all Pods of the namespace, and one for each way that is needed",
} if {
	not startswith(input.metadata.name, "kube-")
	has_workloads
	not has_policies
}

here := data.inventory.namespace[input.metadata.name]

has_workloads if here[_].Deployment[_]

has_workloads if here[_].StatefulSet[_]

has_workloads if here[_].DaemonSet[_]

has_workloads if here[_].CronJob[_]

has_workloads if here[_].Job[_]

has_workloads if here[_].Pod[_]

has_policies if here[_].NetworkPolicy[_]

has_policies if here[_].CiliumNetworkPolicy[_]

# Those that hold in every namespace.
has_policies if data.inventory.cluster[_].CiliumClusterwideNetworkPolicy[_]

has_policies if data.inventory.cluster[_].GlobalNetworkPolicy[_]

has_policies if data.inventory.cluster[_].AdminNetworkPolicy[_]

has_policies if data.inventory.cluster[_].ClusterNetworkPolicy[_]
