package main

import data.lib.workload

# METADATA
# title: Objects carry the labels that say what they belong to
# custom:
#   severity: low
required := {"app.kubernetes.io/name", "app.kubernetes.io/part-of", "team"}

deny_labels contains msg if {
	input.kind in workload.kinds | {"Service", "ConfigMap", "Ingress", "CronJob"}
	missing := required - object.keys(object.get(input.metadata, "labels", {}))
	count(missing) > 0
	msg := sprintf("%s: labels %s are missing", [workload.name, concat(", ", sort(missing))])
}
