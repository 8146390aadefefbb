package main

import data.lib.workload

# METADATA
# title: Memory limits stay below 8Gi
# custom:
#   severity: low
warn_memory_limit contains msg if {
	some container in workload.containers
	limit := units.parse_bytes(container.resources.limits.memory)
	limit > 8 * 1024 * 1024 * 1024
	msg := sprintf("%s: container %s may use %s of memory", [workload.name, container.name, container.resources.limits.memory])
}
