# METADATA
# title: No Service takes external addresses
# description: A Service with externalIPs gets the traffic to any address that it names, also to that of another (CVE-2020-8554).
# custom:
#   name: best-practices/service-external-ips
#   severity: high
#   controls: [NIST SP 800-53 r5 SC-7, NIST SP 800-53 r5 CM-7, "ISO/IEC 27001:2022 A.8.20"]
#   match: {kinds: [v1/Service]}
package library.best_practices.service_external_ips

deny contains {
	"msg": sprintf("service %s takes the address %v, expected no externalIPs", [input.metadata.name, address]),
	"path": ["spec", "externalIPs", i],
	"fix": "remove externalIPs, and use a load balancer",
} if {
	some i, address in input.spec.externalIPs
}
