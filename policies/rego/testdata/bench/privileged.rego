package main

import data.lib.workload

# METADATA
# title: Containers are not privileged
# custom:
#   severity: critical
deny_privileged contains msg if {
	some container in workload.containers
	container.securityContext.privileged
	msg := sprintf("%s: container %s is privileged", [workload.name, container.name])
}
