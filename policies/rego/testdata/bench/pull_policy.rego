package main

import data.lib.workload

# METADATA
# title: Images without a digest are pulled always
# custom:
#   severity: low
warn_pull_policy contains msg if {
	some container in workload.containers
	not contains(container.image, "@sha256:")
	container.imagePullPolicy == "Never"
	msg := sprintf("%s: container %s never pulls its image", [workload.name, container.name])
}
