# What policies about Pods share. The input is a Pod, or the Pod that a workload would make.
package library.pods

words := {"containers": "container", "initContainers": "init container", "ephemeralContainers": "ephemeral container"}

# containers are all containers of the Pod. Where one stands and what messages call it, path and name tell, once there is something to tell.
containers := [{"field": field, "index": i, "below": [], "container": c, "spec": c} |
	some field, _ in words
	some i, c in input.spec[field]
]

# contexts are the security contexts that are written: the Pod's and those of its containers.
contexts := array.concat(
	[{"field": "", "spec": c} | c := input.spec.securityContext],
	[{"field": c.field, "index": c.index, "below": ["securityContext"], "container": c.spec, "spec": c.spec.securityContext} |
		some c in containers
		c.spec.securityContext
	],
)

# name is what messages call a container, or whose security context it is.
name(c) := "the Pod" if c.field == ""

name(c) := sprintf("%s %s", [words[c.field], object.get(c.container, "name", "without a name")]) if c.field != ""

# path is where it stands.
path(c) := ["spec", "securityContext"] if c.field == ""

path(c) := array.concat(["spec", c.field, c.index], c.below) if c.field != ""

# windows holds for a Pod that says it runs on Windows, where Linux's security contexts mean nothing.
windows if input.spec.os.name == "windows"

# user_namespace holds for a Pod whose root is no root on the node.
user_namespace if input.spec.hostUsers == false
