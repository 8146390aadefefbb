# What policies about Pods share. The input is a Pod, or the Pod that a workload would make.
package library.pods

words := {"containers": "container", "initContainers": "init container", "ephemeralContainers": "ephemeral container"}

# containers are all containers of the Pod: where each stands, what messages call it, and what it says.
containers := [{"path": ["spec", field, i], "name": sprintf("%s %s", [word, object.get(c, "name", "without a name")]), "spec": c} |
	some field, word in words
	some i, c in input.spec[field]
]

# contexts are the security contexts that are written: the Pod's and those of its containers.
contexts := array.concat(
	[{"path": ["spec", "securityContext"], "name": "the Pod", "spec": c} | c := input.spec.securityContext],
	[{"path": array.concat(c.path, ["securityContext"]), "name": c.name, "spec": c.spec.securityContext} |
		some c in containers
		c.spec.securityContext
	],
)

# windows holds for a Pod that says it runs on Windows, where Linux's security contexts mean nothing.
windows if input.spec.os.name == "windows"

# user_namespace holds for a Pod whose root is no root on the node.
user_namespace if input.spec.hostUsers == false
