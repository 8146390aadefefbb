package main

import data.lib.workload

# METADATA
# title: Images come from known registries
# custom:
#   severity: high
registries := ["registry.example.com/", "ghcr.io/example/", "quay.io/example/"]

deny_registries contains msg if {
	some container in workload.containers
	not known(container.image)
	msg := sprintf("%s: image %s comes from a registry that is not known", [workload.name, container.image])
}

known(image) if {
	some registry in registries
	startswith(image, registry)
}
