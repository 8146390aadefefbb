package apiserver

import "gitgate.dev/gitgate/policies"

// removal is kinds of one API version that Kubernetes no longer serves in any embedded version.
type removal struct {
	apiVersion string
	kinds      []string
	in         string // the minor version that stopped to serve them
	use        string // the apiVersion to use in its place; "" when there is none
	instead    string // what to use when that is not the same kind of another version
}

// removals is the deprecated API migration guide (https://kubernetes.io/docs/reference/using-api/deprecation-guide/) from 1.16 to
// 1.34, with the removals of beta versions that it leaves out (the APILifecycle functions of k8s.io/api say them). What later
// versions remove, package openapi knows.
var removals = []removal{
	{"admissionregistration.k8s.io/v1alpha1", []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}, "1.32", "admissionregistration.k8s.io/v1", ""},
	{"admissionregistration.k8s.io/v1beta1", []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}, "1.22", "admissionregistration.k8s.io/v1", ""},
	{"admissionregistration.k8s.io/v1beta1", []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}, "1.34", "admissionregistration.k8s.io/v1", ""},
	{"apiextensions.k8s.io/v1beta1", []string{"CustomResourceDefinition"}, "1.22", "apiextensions.k8s.io/v1", ""},
	{"apiregistration.k8s.io/v1beta1", []string{"APIService"}, "1.22", "apiregistration.k8s.io/v1", ""},
	{"apps/v1beta1", []string{"ControllerRevision", "Deployment", "StatefulSet"}, "1.16", "apps/v1", ""},
	{"apps/v1beta2", []string{"ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"}, "1.16", "apps/v1", ""},
	{"authentication.k8s.io/v1alpha1", []string{"SelfSubjectReview"}, "1.32", "authentication.k8s.io/v1", ""},
	{"authentication.k8s.io/v1beta1", []string{"SelfSubjectReview"}, "1.33", "authentication.k8s.io/v1", ""},
	{"authentication.k8s.io/v1beta1", []string{"TokenReview"}, "1.22", "authentication.k8s.io/v1", ""},
	{"authorization.k8s.io/v1beta1", []string{"LocalSubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"}, "1.22", "authorization.k8s.io/v1", ""},
	{"autoscaling/v2beta1", []string{"HorizontalPodAutoscaler"}, "1.25", "autoscaling/v2", ""},
	{"autoscaling/v2beta2", []string{"HorizontalPodAutoscaler"}, "1.26", "autoscaling/v2", ""},
	{"batch/v1beta1", []string{"CronJob"}, "1.25", "batch/v1", ""},
	{"batch/v2alpha1", []string{"CronJob"}, "1.21", "batch/v1", ""},
	{"certificates.k8s.io/v1beta1", []string{"CertificateSigningRequest"}, "1.22", "certificates.k8s.io/v1", ""},
	{"coordination.k8s.io/v1beta1", []string{"Lease"}, "1.22", "coordination.k8s.io/v1", ""},
	{"discovery.k8s.io/v1beta1", []string{"EndpointSlice"}, "1.25", "discovery.k8s.io/v1", ""},
	{"events.k8s.io/v1beta1", []string{"Event"}, "1.25", "events.k8s.io/v1", ""},
	{"extensions/v1beta1", []string{"DaemonSet", "Deployment", "ReplicaSet"}, "1.16", "apps/v1", ""},
	{"extensions/v1beta1", []string{"Ingress"}, "1.22", "networking.k8s.io/v1", ""},
	{"extensions/v1beta1", []string{"NetworkPolicy"}, "1.16", "networking.k8s.io/v1", ""},
	{"extensions/v1beta1", []string{"PodSecurityPolicy"}, "1.16", "", "the pod-security.kubernetes.io labels of a Namespace"},
	{"flowcontrol.apiserver.k8s.io/v1beta1", []string{"FlowSchema", "PriorityLevelConfiguration"}, "1.26", "flowcontrol.apiserver.k8s.io/v1", ""},
	{"flowcontrol.apiserver.k8s.io/v1beta2", []string{"FlowSchema", "PriorityLevelConfiguration"}, "1.29", "flowcontrol.apiserver.k8s.io/v1", ""},
	{"flowcontrol.apiserver.k8s.io/v1beta3", []string{"FlowSchema", "PriorityLevelConfiguration"}, "1.32", "flowcontrol.apiserver.k8s.io/v1", ""},
	{"networking.k8s.io/v1beta1", []string{"Ingress", "IngressClass"}, "1.22", "networking.k8s.io/v1", ""},
	{"node.k8s.io/v1beta1", []string{"RuntimeClass"}, "1.25", "node.k8s.io/v1", ""},
	{"policy/v1beta1", []string{"PodDisruptionBudget"}, "1.25", "policy/v1", ""},
	{"policy/v1beta1", []string{"PodSecurityPolicy"}, "1.25", "", "the pod-security.kubernetes.io labels of a Namespace"},
	{"rbac.authorization.k8s.io/v1beta1", []string{"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}, "1.22", "rbac.authorization.k8s.io/v1", ""},
	{"scheduling.k8s.io/v1beta1", []string{"PriorityClass"}, "1.22", "scheduling.k8s.io/v1", ""},
	{"settings.k8s.io/v1alpha1", []string{"PodPreset"}, "1.20", "", "a mutating admission policy"},
	{"storage.k8s.io/v1alpha1", []string{"CSIStorageCapacity", "VolumeAttachment"}, "1.24", "storage.k8s.io/v1", ""},
	{"storage.k8s.io/v1beta1", []string{"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"}, "1.22", "storage.k8s.io/v1", ""},
	{"storage.k8s.io/v1beta1", []string{"CSIStorageCapacity"}, "1.27", "storage.k8s.io/v1", ""},
}

// removedLongAgo returns the entry of removals that names gvk.
func removedLongAgo(gvk policies.GroupVersionKind) (removal, bool) {
	apiVersion := gvk.APIVersion()
	for _, r := range removals {
		if r.apiVersion != apiVersion {
			continue
		}
		for _, kind := range r.kinds {
			if kind == gvk.Kind {
				return r, true
			}
		}
	}
	return removal{}, false
}
