package main

import data.lib.workload

# METADATA
# title: Images have a tag that stays
# custom:
#   severity: medium
deny_latest_tag contains msg if {
	some container in workload.containers
	workload.image(container).tag in {"", "latest"}
	msg := sprintf("%s: image %s of container %s has no fixed tag", [workload.name, container.image, container.name])
}
