package main

import data.lib.workload

# METADATA
# title: Containers take no port of the host
# custom:
#   severity: medium
deny_host_ports contains msg if {
	some container in workload.containers
	some port in container.ports
	port.hostPort > 0
	msg := sprintf("%s: container %s takes port %d of the host", [workload.name, container.name, port.hostPort])
}
