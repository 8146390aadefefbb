# METADATA
# title: No key or password stands in ConfigMaps, arguments and environments
# description: >-
#   They are read by far more people than Secrets, and shown by every tool. Found are private keys, tokens of well-known services by their
#   form, addresses with a password, and variables that are named after a password and have a value.
# custom:
#   name: best-practices/plaintext-credentials
#   severity: high
#   controls: [CIS Kubernetes 1.10 5.4.2, NIST SP 800-53 r5 IA-5, NIST SP 800-53 r5 SC-28, "ISO/IEC 27001:2022 A.5.17", "ISO/IEC 27001:2022 A.8.12"]
#   match: {kinds: [v1/Pod, v1/ConfigMap]}
package library.best_practices.plaintext_credentials

import data.library.pods

forms := {
	"a private key": `-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----\s+[A-Za-z0-9+/=]{16}`,
	"an access key of AWS": `\b(AKIA|ASIA)[0-9A-Z]{16}\b`,
	"a token of GitHub": `\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})\b`,
	"a token of GitLab": `\bgl(pat|dt|rt|cbt|ptt|agent)-[A-Za-z0-9_-]{20,}`,
	"a token of Slack": `\bxox[abeprs]-[0-9A-Za-z-]{20,}`,
	"an API key of Google": `\bAIza[0-9A-Za-z_-]{35}\b`,
	"a key of Stripe": `\b[sr]k_live_[0-9A-Za-z]{20,}\b`,
	"a token of npm": `\bnpm_[A-Za-z0-9]{36}\b`,
	"a token of Docker Hub": `\bdckr_pat_[A-Za-z0-9_-]{20,}`,
	"a signed web token": `\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}`,
	"an address with a password": `\b[a-z][a-z0-9+.-]*://[^\s:/@$<{(]+:[^\s:/@$<{(*][^\s/@$<{(]*@[A-Za-z0-9]`,
}

# holds says what of it a text holds.
holds(value) := {what |
	some what, form in forms
	some found in regex.find_n(form, value, -1)
	not regex.match(`(?i)example|placeholder|changeme|x{6}|:(pass|passwd|password|pwd|secret)@`, found)
}

deny contains {
	"msg": sprintf("ConfigMap %s has %s under %s, expected it in a Secret that Git does not show", [input.metadata.name, what, key]),
	"path": ["data", key],
	"fix": "move it to a Secret that is encrypted or kept elsewhere; and change it, since it is known now",
} if {
	input.kind == "ConfigMap"
	some key, value in input.data
	some what in holds(value)
}

deny contains {
	"msg": sprintf("%s has %s in the environment variable %s, expected a reference to a Secret", [pods.name(c), what, e.name]),
	"path": array.concat(pods.path(c), ["env", i, "name"]),
	"fix": "move it to a Secret that is encrypted or kept elsewhere, and refer to that; and change it, since it is known now",
} if {
	some c in pods.containers
	some i, e in c.spec.env
	some what in holds(e.value)
}

deny contains {
	"msg": sprintf("%s has %s in its %s, expected a reference to a Secret", [pods.name(c), what, field]),
	"path": array.concat(pods.path(c), [field]),
	"fix": "move it to a Secret that is encrypted or kept elsewhere, and refer to that; and change it, since it is known now",
} if {
	some c in pods.containers
	some field in ["args", "command"]
	some arg in c.spec[field]
	some what in holds(arg)
}

deny contains {
	"msg": sprintf("%s has a value in the environment variable %s, expected a reference to a Secret", [pods.name(c), e.name]),
	"path": array.concat(pods.path(c), ["env", i, "name"]),
	"fix": "move it to a Secret that is encrypted or kept elsewhere, and refer to that with valueFrom; and change it, since it is known now",
} if {
	some c in pods.containers
	some i, e in c.spec.env
	regex.match(`(?i)(^|_)(PASSWORD|PASSWD|API_?KEY|ACCESS_TOKEN|AUTH_TOKEN|SECRET_KEY|SECRET_ACCESS_KEY|CLIENT_SECRET)$`, e.name)
	not regex.match(`^\s*$|[$<{]|^/|^(?i:true|false|yes|no|none|null|vault:.*|ref\+.*)$|^[a-z][a-z0-9+.-]*://`, e.value)
	count(holds(e.value)) == 0
}
