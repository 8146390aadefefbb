package main

import data.lib.workload

# METADATA
# title: Secrets are not written into the environment
# custom:
#   severity: high
deny_secrets_in_env contains msg if {
	some container in workload.containers
	some variable in container.env
	regex.match(`(?i)(password|passwd|secret|token|api_?key)$`, variable.name)
	variable.value != ""
	msg := sprintf("%s: container %s has the value of %s in its manifest", [workload.name, container.name, variable.name])
}
