# METADATA
# title: Whether a Pod gets a token is said
# description: >-
#   Most applications never call the API server, and a token that they have all the same is what an intruder takes first. Asked of Pods with
#   an account of their own; what automountServiceAccountToken says, true or false, is accepted, of the Pod or of its account.
# custom:
#   name: best-practices/token-automount
#   severity: low
#   action: warn
#   controls: [CIS Kubernetes 1.10 5.1.6, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 IA-5, "ISO/IEC 27001:2022 A.5.17"]
#   match: {kinds: [v1/Pod]}
package library.best_practices.token_automount

deny contains {
	"msg": sprintf("the Pod gets a token of the service account %s by default, expected automountServiceAccountToken to be said", [account]),
	"path": ["spec", "serviceAccountName"],
	"fix": "set automountServiceAccountToken: false, or true when the application calls the API server",
} if {
	account := object.get(input.spec, "serviceAccountName", "")
	not account in {"", "default"}
	not is_boolean(object.get(input.spec, "automountServiceAccountToken", null))
	not account_says(account)
}

account_says(account) if {
	is_boolean(data.inventory.namespace[object.get(input.metadata, "namespace", "default")].v1.ServiceAccount[account].automountServiceAccountToken)
}
