# METADATA
# title: Containers say what they need of their node
# description: >-
#   Without requests the scheduler overfills nodes, and without a limit of memory one leak takes its neighbours along. A limit of CPU is
#   not asked for. What a LimitRange of the cluster fills in is not known here.
# custom:
#   name: best-practices/requests-limits
#   severity: medium
#   action: warn
#   controls: [NIST SP 800-53 r5 SC-5, NIST SP 800-53 r5 SC-6, "ISO/IEC 27001:2022 A.8.6"]
#   match: {kinds: [v1/Pod]}
package library.best_practices.requests_limits

import data.library.pods

needed := [["requests", "cpu"], ["requests", "memory"], ["limits", "memory"]]

deny contains {
	"msg": sprintf("%s has no resources.%s, expected requests of CPU and memory and a limit of memory", [pods.name(c), concat(" and no resources.", missing)]),
	"path": array.concat(pods.path(c), ["resources"]),
	"fix": "set resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 128Mi}}, with what the container uses",
} if {
	some c in pods.containers
	c.field != "ephemeralContainers"
	missing := [concat(".", n) | some n in needed; not given(c.spec, n); not given(input.spec, n)]
	count(missing) > 0
}

given(of, n) if of.resources[n[0]][n[1]]

# A limit is the request, where none is said.
given(of, n) if of.resources.limits[n[1]]
