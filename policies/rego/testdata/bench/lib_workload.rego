# METADATA
# title: Where workloads keep their Pod
# description: What all policies of this folder share.
package lib.workload

kinds := {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"}

pod := input if input.kind == "Pod"

pod := input.spec.template if input.kind in kinds

pod := input.spec.jobTemplate.spec.template if input.kind == "CronJob"

containers contains container if some container in pod.spec.containers

containers contains container if some container in pod.spec.initContainers

name := sprintf("%s %s", [input.kind, input.metadata.name])

image(container) := {"name": container.image, "tag": ""} if {
	not contains(container.image, "@")
	not contains(path(container.image), ":")
}

image(container) := {"name": substring(container.image, 0, cut), "tag": substring(container.image, cut + 1, -1)} if {
	not contains(container.image, "@")
	contains(path(container.image), ":")
	positions := indexof_n(container.image, ":")
	cut := positions[count(positions) - 1]
}

image(container) := {"name": parts[0], "tag": parts[1]} if {
	contains(container.image, "@")
	parts := split(container.image, "@")
}

path(reference) := steps[count(steps) - 1] if steps := split(reference, "/")
