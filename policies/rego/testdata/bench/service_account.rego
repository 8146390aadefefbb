package main

import data.lib.workload

# METADATA
# title: Pods have a service account of their own
# custom:
#   severity: medium
deny_service_account contains msg if {
	workload.pod
	object.get(workload.pod.spec, "serviceAccountName", "default") == "default"
	not workload.pod.spec.automountServiceAccountToken == false
	msg := sprintf("%s: runs with the token of the default service account", [workload.name])
}
