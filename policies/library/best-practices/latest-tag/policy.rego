# METADATA
# title: Images have a tag, and it is not latest
# description: What latest is changes without a commit, so that Git does not say what runs, and a restart may bring another version.
# custom:
#   name: best-practices/latest-tag
#   severity: medium
#   controls: [NIST SP 800-53 r5 CM-2, NIST SP 800-53 r5 CM-3, "ISO/IEC 27001:2022 A.8.9", "ISO/IEC 27001:2022 A.8.32"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.best_practices.latest_tag

import data.library.pods

deny contains {
	"msg": sprintf("image %s of %s has no tag, expected one that says the version", [image, pods.name(c)]),
	"path": array.concat(pods.path(c), ["image"]),
	"fix": "name the version, or better the digest",
} if {
	some c in pods.containers
	image := c.spec.image
	image != ""
	not contains(image, "@")
	not contains(base(image), ":")
}

deny contains {
	"msg": sprintf("image %s of %s has the tag latest, expected one that says the version", [image, pods.name(c)]),
	"path": array.concat(pods.path(c), ["image"]),
	"fix": "name the version, or better the digest",
} if {
	some c in pods.containers
	image := c.spec.image
	not contains(image, "@")
	endswith(image, ":latest")
}

base(image) := parts[count(parts) - 1] if parts := split(image, "/")
