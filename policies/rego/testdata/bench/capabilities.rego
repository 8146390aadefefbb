package main

import data.lib.workload

# METADATA
# title: Containers drop all capabilities
# custom:
#   severity: high
deny_capabilities contains msg if {
	some container in workload.containers
	not drops_all(container)
	msg := sprintf("%s: container %s keeps capabilities, expected drop: [ALL]", [workload.name, container.name])
}

drops_all(container) if {
	some capability in container.securityContext.capabilities.drop
	upper(capability) == "ALL"
}

deny_capabilities contains msg if {
	some container in workload.containers
	some capability in container.securityContext.capabilities.add
	not capability in {"NET_BIND_SERVICE"}
	msg := sprintf("%s: container %s adds capability %s", [workload.name, container.name, capability])
}
