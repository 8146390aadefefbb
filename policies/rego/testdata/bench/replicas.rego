package main

import data.lib.workload

# METADATA
# title: Deployments have two replicas or more
# custom:
#   severity: low
warn_replicas contains msg if {
	input.kind == "Deployment"
	input.spec.replicas < 2
	msg := sprintf("%s: has %d replica, expected 2 or more", [workload.name, input.spec.replicas])
}
