package main

import data.lib.workload

# METADATA
# title: Pods mount nothing of the host
# custom:
#   severity: high
deny_host_path contains msg if {
	some volume in workload.pod.spec.volumes
	volume.hostPath
	msg := sprintf("%s: volume %s mounts %s of the host", [workload.name, volume.name, volume.hostPath.path])
}
