# METADATA
# title: Load balancers say who may reach them
# description: A Service of the type LoadBalancer is most often open to the internet. One that is internal, by an annotation or its class, or has loadBalancerSourceRanges, is not.
# custom:
#   name: best-practices/service-load-balancer
#   severity: low
#   action: warn
#   controls: [NIST SP 800-53 r5 SC-7, NIST SP 800-53 r5 AC-4, "ISO/IEC 27001:2022 A.8.20", "ISO/IEC 27001:2022 A.8.21"]
#   match: {kinds: [v1/Service]}
package library.best_practices.service_load_balancer

deny contains {
	"msg": sprintf("service %s is a load balancer for everybody, expected loadBalancerSourceRanges or an internal one", [input.metadata.name]),
	"path": ["spec", "type"],
	"fix": "set loadBalancerSourceRanges, or the annotation of the cloud that makes it internal",
} if {
	input.spec.type == "LoadBalancer"
	count(object.get(input.spec, "loadBalancerSourceRanges", [])) == 0
	not internal
}

internal if {
	some key, value in input.metadata.annotations
	regex.match(`(?i)internal`, concat("=", [key, value]))
	not lower(value) == "false"
}

internal if {
	some key, value in input.metadata.annotations
	endswith(key, "aws-load-balancer-source-ranges")
	value != ""
}

internal if contains(lower(input.spec.loadBalancerClass), "internal")
