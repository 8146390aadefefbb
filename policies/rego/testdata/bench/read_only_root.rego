package main

import data.lib.workload

# METADATA
# title: The root file system is read only
# custom:
#   severity: medium
deny_read_only_root contains msg if {
	some container in workload.containers
	not container.securityContext.readOnlyRootFilesystem
	msg := sprintf("%s: container %s can write its root file system", [workload.name, container.name])
}
