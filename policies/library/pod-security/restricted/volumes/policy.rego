# METADATA
# title: Volumes are of the kinds that are safe for any Pod
# description: Volumes that name a disk or a file server go past StorageClasses and claims, where access is decided.
# custom:
#   name: pod-security/restricted/volumes
#   severity: medium
#   controls: [CIS Kubernetes 1.10 5.2.12, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.3"]
#   match: {kinds: [v1/Pod, {group: "", kind: Pod, subresource: ephemeralcontainers}]}
package library.pod_security.restricted.volumes

safe := {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}

deny contains {
	"msg": sprintf("volume %s is of the kind %s, expected one of %s", [object.get(volume, "name", "without a name"), kind, concat(", ", safe)]),
	"path": array.concat(["spec", "volumes", i], [k | some k in kinds]),
	"fix": "use a PersistentVolumeClaim for data that stays, emptyDir for data that does not",
} if {
	some i, volume in input.spec.volumes
	kinds := object.keys(volume) - {"name"}
	count(kinds & safe) == 0
	kind := concat(", ", kinds)
}
