package main

import data.lib.workload

# METADATA
# title: No container asks for user 0
# custom:
#   severity: high
deny_root_user contains msg if {
	some container in workload.containers
	container.securityContext.runAsUser == 0
	msg := sprintf("%s: container %s runs as user 0", [workload.name, container.name])
}

deny_root_user contains msg if {
	workload.pod.spec.securityContext.runAsUser == 0
	msg := sprintf("%s: its Pod runs as user 0", [workload.name])
}
