# METADATA
# title: Images are named by their digest
# description: A tag can be moved to another image by whoever may push; a digest is the image.
# custom:
#   name: best-practices/image-digest
#   severity: low
#   action: warn
#   controls: [NIST SP 800-53 r5 SI-7, NIST SP 800-53 r5 SR-4, "ISO/IEC 27001:2022 A.8.19"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.best_practices.image_digest

import data.library.pods

deny contains {
	"msg": sprintf("image %s of %s is not named by a digest, expected @sha256: and the digest behind the name", [image, pods.name(c)]),
	"path": array.concat(pods.path(c), ["image"]),
	"fix": "add the digest behind the tag: name:tag@sha256:…",
} if {
	some c in pods.containers
	image := c.spec.image
	image != ""
	not regex.match(`@sha256:[0-9a-f]{64}$`, image)
}
