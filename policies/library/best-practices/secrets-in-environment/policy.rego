# METADATA
# title: Secrets are mounted as files
# description: An environment is inherited by every child process and ends up in logs and crash reports; a file can be read where it is needed.
# custom:
#   name: best-practices/secrets-in-environment
#   severity: info
#   action: audit
#   controls: [CIS Kubernetes 1.10 5.4.1, NIST SP 800-53 r5 SC-28, NIST SP 800-53 r5 IA-5, "ISO/IEC 27001:2022 A.5.17"]
#   match: {kinds: [v1/Pod]}
package library.best_practices.secrets_in_environment

import data.library.pods

deny contains {
	"msg": sprintf("%s has the Secret %s in the environment variable %s, expected a file", [pods.name(c), e.valueFrom.secretKeyRef.name, e.name]),
	"path": array.concat(pods.path(c), ["env", i, "valueFrom", "secretKeyRef"]),
	"fix": "mount the Secret as a volume, and have the application read the file",
} if {
	some c in pods.containers
	some i, e in c.spec.env
	e.valueFrom.secretKeyRef
}

deny contains {
	"msg": sprintf("%s has every key of the Secret %s in its environment, expected files", [pods.name(c), from.secretRef.name]),
	"path": array.concat(pods.path(c), ["envFrom", i, "secretRef"]),
	"fix": "mount the Secret as a volume, and have the application read the files",
} if {
	some c in pods.containers
	some i, from in c.spec.envFrom
	from.secretRef
}
