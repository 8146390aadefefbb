# METADATA
# title: Every object says who owns it
# description: >-
#   Alerts and costs are routed by the label "team". An object without it belongs to nobody.
# related_resources:
#   - ref: https://git.example.com/platform/handbook/labels.md
# custom:
#   severity: medium
package labels

import rego.v1

# Objects that are shared by all teams.
shared := {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}

deny contains {
	"msg": sprintf("%s %s has no label \"team\"", [input.kind, input.metadata.name]),
	"path": ["metadata", "labels"],
	"fix": "add metadata.labels.team with the name of the team that is on call for it",
} if {
	not input.kind in shared
	not input.metadata.labels.team
}

warn contains {
	"msg": sprintf("team %q is not in data.teams", [team]),
	"path": ["metadata", "labels", "team"],
} if {
	team := input.metadata.labels.team
	not team in data.teams
}
