package main

import data.lib.workload

# METADATA
# title: Pods do not share namespaces of the host
# custom:
#   severity: critical
deny_host_namespaces contains msg if {
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	workload.pod.spec[field]
	msg := sprintf("%s: %s is set", [workload.name, field])
}
