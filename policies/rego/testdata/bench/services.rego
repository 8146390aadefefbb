package main

import data.lib.workload

# METADATA
# title: Services are not opened to the world
# custom:
#   severity: medium
deny_services contains msg if {
	input.kind == "Service"
	input.spec.type in {"LoadBalancer", "NodePort"}
	not input.metadata.annotations["example.com/exposed"] == "yes"
	msg := sprintf("%s: has type %s", [workload.name, input.spec.type])
}
