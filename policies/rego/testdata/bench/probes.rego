package main

import data.lib.workload

# METADATA
# title: Long-running containers have probes
# custom:
#   severity: medium
deny_probes contains msg if {
	input.kind in {"Deployment", "StatefulSet", "DaemonSet"}
	some container in input.spec.template.spec.containers
	some probe in ["livenessProbe", "readinessProbe"]
	not container[probe]
	msg := sprintf("%s: container %s has no %s", [workload.name, container.name, probe])
}
