package main

import data.lib.workload

# METADATA
# title: Containers cannot gain privileges
# custom:
#   severity: high
deny_privilege_escalation contains msg if {
	some container in workload.containers
	not forbids_escalation(container)
	msg := sprintf("%s: container %s may gain privileges, expected allowPrivilegeEscalation: false", [workload.name, container.name])
}

forbids_escalation(container) if container.securityContext.allowPrivilegeEscalation == false
