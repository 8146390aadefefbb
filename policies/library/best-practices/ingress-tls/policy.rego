# METADATA
# title: Ingresses serve their hosts with TLS
# description: What is sent without TLS can be read and changed on the way. A certificate that an annotation names counts.
# custom:
#   name: best-practices/ingress-tls
#   severity: medium
#   action: warn
#   controls: [NIST SP 800-53 r5 SC-8, NIST SP 800-53 r5 SC-13, "ISO/IEC 27001:2022 A.8.24", "ISO/IEC 27001:2022 A.8.21"]
#   match: {kinds: [Ingress.networking.k8s.io]}
package library.best_practices.ingress_tls

deny contains {
	"msg": sprintf("ingress %s serves %s without TLS, expected it under spec.tls", [input.metadata.name, host]),
	"path": ["spec", "rules", i, "host"],
	"fix": "add the host to spec.tls, with the Secret of its certificate",
} if {
	not by_annotation
	some i, rule in input.spec.rules
	host := object.get(rule, "host", "every host")
	not covered(host)
}

deny contains {
	"msg": sprintf("ingress %s serves every host without TLS, expected spec.tls", [input.metadata.name]),
	"path": ["spec", "defaultBackend"],
	"fix": "add spec.tls, with the Secret of a certificate",
} if {
	not by_annotation
	input.spec.defaultBackend
	count(object.get(input.spec, "rules", [])) == 0
	count(object.get(input.spec, "tls", [])) == 0
}

covered(_) if {
	some tls in input.spec.tls
	count(object.get(tls, "hosts", [])) == 0
}

covered(host) if {
	some tls in input.spec.tls
	host in tls.hosts
}

covered(host) if {
	some tls in input.spec.tls
	some pattern in tls.hosts
	startswith(pattern, "*.")
	endswith(host, substring(pattern, 1, -1))
	not contains(trim_suffix(host, substring(pattern, 1, -1)), ".")
}

by_annotation if {
	some key, value in input.metadata.annotations
	regex.match(`(?i)certificate|ssl-cert|shared-cert|/router\.tls$|/listen-ports$`, key)
	not regex.match(`(?i)^\s*(false)?\s*$|^\[\{"HTTP": ?[0-9]+\}\]$`, value)
}
