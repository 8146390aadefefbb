# METADATA
# title: The service account default is not used
# description: >-
#   All Pods of a namespace that name no account share it, so that what one of them is granted all of them have. A Pod that mounts no token
#   does not use it.
# custom:
#   name: best-practices/default-service-account
#   severity: medium
#   action: warn
#   controls: [CIS Kubernetes 1.10 5.1.5, NIST SP 800-53 r5 AC-6, NIST SP 800-53 r5 IA-9, "ISO/IEC 27001:2022 A.5.16", "ISO/IEC 27001:2022 A.8.2"]
#   match: {kinds: [v1/Pod, RoleBinding.rbac.authorization.k8s.io, ClusterRoleBinding.rbac.authorization.k8s.io]}
package library.best_practices.default_service_account

deny contains {
	"msg": "the Pod uses the service account default, expected one of its own, or automountServiceAccountToken: false",
	"path": ["spec", "serviceAccountName"],
	"fix": "set automountServiceAccountToken: false; or make a ServiceAccount for the application and name it in serviceAccountName",
} if {
	input.kind == "Pod"
	object.get(input.spec, "serviceAccountName", "") in {"", "default"}
	not input.spec.automountServiceAccountToken == false
	not account_has_none
}

# A Pod that says nothing follows its account, when that is known.
account_has_none if {
	not is_boolean(object.get(input.spec, "automountServiceAccountToken", null))
	data.inventory.namespace[object.get(input.metadata, "namespace", "default")].v1.ServiceAccount["default"].automountServiceAccountToken == false
}

deny contains {
	"msg": sprintf("%s %s gives rights to the service account default of namespace %s, expected an account of one application", [input.kind, input.metadata.name, object.get(subject, "namespace", "default")]),
	"path": ["subjects", i],
	"fix": "make a ServiceAccount for the application that needs the rights, and name it here",
} if {
	input.kind in {"RoleBinding", "ClusterRoleBinding"}
	some i, subject in input.subjects
	subject.kind == "ServiceAccount"
	subject.name == "default"
}
