package main

import data.lib.workload

# METADATA
# title: Containers run as another user than root
# custom:
#   severity: high
deny_run_as_non_root contains msg if {
	some container in workload.containers
	not non_root(container)
	msg := sprintf("%s: container %s may run as root, expected runAsNonRoot: true", [workload.name, container.name])
}

non_root(container) if container.securityContext.runAsNonRoot

non_root(container) if {
	not "runAsNonRoot" in object.keys(object.get(container, "securityContext", {}))
	workload.pod.spec.securityContext.runAsNonRoot
}
