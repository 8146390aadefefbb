package main

import data.lib.workload

# METADATA
# title: Containers say what they need
# custom:
#   severity: medium
deny_resources contains msg if {
	some container in workload.containers
	some kind in ["requests", "limits"]
	some resource in ["cpu", "memory"]
	not container.resources[kind][resource]
	msg := sprintf("%s: container %s has no resources.%s.%s", [workload.name, container.name, kind, resource])
}
