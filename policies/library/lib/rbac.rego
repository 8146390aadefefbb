# What policies about roles share. The input is a Role or a ClusterRole.
package library.rbac

# grants are what the rules of a role name one by one: which resource of which rule, in which API groups, and the verbs.
# A rule for every resource names none.
grants := [{"path": ["rules", i, "resources", j], "resource": resource, "groups": object.get(rule, "apiGroups", []), "verbs": {v | some v in rule.verbs}, "byName": count(object.get(rule, "resourceNames", [])) > 0} |
	some i, rule in input.rules
	some j, resource in rule.resources
	resource != "*"
]

# of says whether a grant is for a resource of an API group.
of(grant, group, resource) if {
	some g in grant.groups
	g in {group, "*"}
	covers(grant.resource, resource)
}

covers(pattern, resource) if pattern == resource

covers(pattern, resource) if {
	contains(resource, "/")
	[_, sub] := split(resource, "/")
	pattern == concat("/", ["*", sub])
}

covers(pattern, resource) if {
	contains(resource, "/")
	[main, _] := split(resource, "/")
	pattern == concat("/", [main, "*"])
}

# uses are those of verbs that a grant has, named or by the wildcard.
uses(grant, verbs) := found if {
	found := {v | some v in grant.verbs; v in verbs | {"*"}}
	count(found) > 0
}

# said is how messages tell of verbs.
said(verbs) := concat(", ", [word | some v in verbs; word := object.get({"*": "do anything with"}, v, v)])

# name is what messages call the role.
name := sprintf("%s %s", [input.kind, input.metadata.name])
