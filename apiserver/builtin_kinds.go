package apiserver

import (
	"errors"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/apiserverinternal/install"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/authentication/install"
	_ "k8s.io/kubernetes/pkg/apis/authorization/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	_ "k8s.io/kubernetes/pkg/apis/storagemigration/install"
	"k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicybinding"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingwebhookconfiguration"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/resolver"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicybinding"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingwebhookconfiguration"
	"k8s.io/kubernetes/pkg/registry/apiserverinternal/storageversion"
	"k8s.io/kubernetes/pkg/registry/apps/controllerrevision"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	"k8s.io/kubernetes/pkg/registry/certificates/certificates"
	"k8s.io/kubernetes/pkg/registry/certificates/clustertrustbundle"
	"k8s.io/kubernetes/pkg/registry/certificates/podcertificaterequest"
	"k8s.io/kubernetes/pkg/registry/coordination/lease"
	"k8s.io/kubernetes/pkg/registry/coordination/leasecandidate"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/endpoint"
	"k8s.io/kubernetes/pkg/registry/core/event"
	"k8s.io/kubernetes/pkg/registry/core/limitrange"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/node"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolume"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/registry/core/podtemplate"
	"k8s.io/kubernetes/pkg/registry/core/replicationcontroller"
	"k8s.io/kubernetes/pkg/registry/core/resourcequota"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/discovery/endpointslice"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/flowschema"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/prioritylevelconfiguration"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/ingressclass"
	"k8s.io/kubernetes/pkg/registry/networking/ipaddress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/networking/servicecidr"
	"k8s.io/kubernetes/pkg/registry/node/runtimeclass"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrole"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrolebinding"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	"k8s.io/kubernetes/pkg/registry/resource/deviceclass"
	"k8s.io/kubernetes/pkg/registry/resource/devicetaintrule"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaim"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaimtemplate"
	"k8s.io/kubernetes/pkg/registry/resource/resourcepoolstatusrequest"
	"k8s.io/kubernetes/pkg/registry/resource/resourceslice"
	"k8s.io/kubernetes/pkg/registry/scheduling/podgroup"
	"k8s.io/kubernetes/pkg/registry/scheduling/priorityclass"
	"k8s.io/kubernetes/pkg/registry/scheduling/workload"
	"k8s.io/kubernetes/pkg/registry/storage/csidriver"
	"k8s.io/kubernetes/pkg/registry/storage/csinode"
	"k8s.io/kubernetes/pkg/registry/storage/csistoragecapacity"
	"k8s.io/kubernetes/pkg/registry/storage/storageclass"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattachment"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattributesclass"
	"k8s.io/kubernetes/pkg/registry/storagemigration/storagemigration"

	"gitgate.dev/gitgate/policies"
)

// strategy is what the API server does to an object of one kind before it stores it.
type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

// resourceRow is one kind that the API server stores. served are the versions that it serves by default, off those that it
// serves only when asked to (--runtime-config, and for some a feature gate).
type resourceRow struct {
	group, kind, plural string
	served, off         []string
	strategy            strategy
}

// resourceRows are the kinds of kube-apiserver v1.36 (k8s.io/kubernetes/pkg/registry/*/rest, and pkg/controlplane/instance.go
// for the versions that are on by default).
func resourceRows() []resourceRow {
	v1 := []string{"v1"}
	v1beta1 := []string{"v1beta1"}
	const (
		admission    = "admissionregistration.k8s.io"
		certs        = "certificates.k8s.io"
		coordination = "coordination.k8s.io"
		flow         = "flowcontrol.apiserver.k8s.io"
		networking   = "networking.k8s.io"
		rbac         = "rbac.authorization.k8s.io"
		dra          = "resource.k8s.io"
		scheduling   = "scheduling.k8s.io"
		storage      = "storage.k8s.io"
	)
	draBetas := []string{"v1beta1", "v1beta2"}
	return []resourceRow{
		{"", "ConfigMap", "configmaps", v1, nil, configmap.Strategy},
		{"", "Endpoints", "endpoints", v1, nil, endpoint.Strategy},
		{"", "Event", "events", v1, nil, event.Strategy},
		{"", "LimitRange", "limitranges", v1, nil, limitrange.Strategy},
		{"", "Namespace", "namespaces", v1, nil, namespace.Strategy},
		{"", "Node", "nodes", v1, nil, node.Strategy},
		{"", "PersistentVolume", "persistentvolumes", v1, nil, persistentvolume.Strategy},
		{"", "PersistentVolumeClaim", "persistentvolumeclaims", v1, nil, persistentvolumeclaim.Strategy},
		{"", "Pod", "pods", v1, nil, pod.Strategy},
		{"", "PodTemplate", "podtemplates", v1, nil, podtemplate.Strategy},
		{"", "ReplicationController", "replicationcontrollers", v1, nil, replicationcontroller.Strategy},
		{"", "ResourceQuota", "resourcequotas", v1, nil, resourcequota.Strategy},
		{"", "Secret", "secrets", v1, nil, secret.Strategy},
		{"", "Service", "services", v1, nil, service.Strategy},
		{"", "ServiceAccount", "serviceaccounts", v1, nil, serviceaccount.Strategy},

		{"apps", "ControllerRevision", "controllerrevisions", v1, nil, controllerrevision.Strategy},
		{"apps", "DaemonSet", "daemonsets", v1, nil, daemonset.Strategy},
		{"apps", "Deployment", "deployments", v1, nil, deployment.Strategy},
		{"apps", "ReplicaSet", "replicasets", v1, nil, replicaset.Strategy},
		{"apps", "StatefulSet", "statefulsets", v1, nil, statefulset.Strategy},

		{"batch", "CronJob", "cronjobs", v1, nil, cronjob.Strategy},
		{"batch", "Job", "jobs", v1, nil, job.Strategy},
		{"autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", []string{"v1", "v2"}, nil, horizontalpodautoscaler.Strategy},
		{"policy", "PodDisruptionBudget", "poddisruptionbudgets", v1, nil, poddisruptionbudget.Strategy},

		{networking, "Ingress", "ingresses", v1, nil, ingress.Strategy},
		{networking, "IngressClass", "ingressclasses", v1, nil, ingressclass.Strategy},
		{networking, "IPAddress", "ipaddresses", v1, v1beta1, ipaddress.Strategy},
		{networking, "NetworkPolicy", "networkpolicies", v1, nil, networkpolicy.Strategy},
		{networking, "ServiceCIDR", "servicecidrs", v1, v1beta1, servicecidr.Strategy},
		{"discovery.k8s.io", "EndpointSlice", "endpointslices", v1, nil, endpointslice.Strategy},
		{"events.k8s.io", "Event", "events", v1, nil, event.Strategy},

		{rbac, "ClusterRole", "clusterroles", v1, nil, clusterrole.Strategy},
		{rbac, "ClusterRoleBinding", "clusterrolebindings", v1, nil, clusterrolebinding.Strategy},
		{rbac, "Role", "roles", v1, nil, role.Strategy},
		{rbac, "RoleBinding", "rolebindings", v1, nil, rolebinding.Strategy},

		{storage, "CSIDriver", "csidrivers", v1, nil, csidriver.Strategy},
		{storage, "CSINode", "csinodes", v1, nil, csinode.Strategy},
		{storage, "CSIStorageCapacity", "csistoragecapacities", v1, nil, csistoragecapacity.Strategy},
		{storage, "StorageClass", "storageclasses", v1, nil, storageclass.Strategy},
		{storage, "VolumeAttachment", "volumeattachments", v1, nil, volumeattachment.Strategy},
		{storage, "VolumeAttributesClass", "volumeattributesclasses", v1, v1beta1, volumeattributesclass.Strategy},

		{scheduling, "PriorityClass", "priorityclasses", v1, nil, priorityclass.Strategy},
		{scheduling, "PodGroup", "podgroups", nil, []string{"v1alpha2"}, podgroup.NewStrategy()},
		{scheduling, "Workload", "workloads", nil, []string{"v1alpha2"}, workload.Strategy},
		{"node.k8s.io", "RuntimeClass", "runtimeclasses", v1, nil, runtimeclass.Strategy},
		{coordination, "Lease", "leases", v1, nil, lease.Strategy},
		{coordination, "LeaseCandidate", "leasecandidates", nil, []string{"v1beta1", "v1alpha2"}, leasecandidate.Strategy},

		{flow, "FlowSchema", "flowschemas", v1, nil, flowschema.Strategy},
		{flow, "PriorityLevelConfiguration", "prioritylevelconfigurations", v1, nil, prioritylevelconfiguration.Strategy},

		{admission, "MutatingAdmissionPolicy", "mutatingadmissionpolicies", v1, []string{"v1beta1", "v1alpha1"}, mutatingadmissionpolicy.NewStrategy(nil, nil)},
		{admission, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", v1, []string{"v1beta1", "v1alpha1"}, mutatingadmissionpolicybinding.NewStrategy(nil, nil, unasked)},
		{admission, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", v1, nil, mutatingwebhookconfiguration.Strategy},
		{admission, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", v1, v1beta1, validatingadmissionpolicy.NewStrategy(nil, nil)},
		{admission, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", v1, v1beta1, validatingadmissionpolicybinding.NewStrategy(nil, nil, unasked)},
		{admission, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", v1, nil, validatingwebhookconfiguration.Strategy},

		{certs, "CertificateSigningRequest", "certificatesigningrequests", v1, nil, certificates.Strategy},
		{certs, "ClusterTrustBundle", "clustertrustbundles", nil, []string{"v1beta1", "v1alpha1"}, clustertrustbundle.Strategy},
		{certs, "PodCertificateRequest", "podcertificaterequests", nil, v1beta1, podcertificaterequest.NewStrategy()},

		{dra, "DeviceClass", "deviceclasses", v1, draBetas, deviceclass.Strategy},
		{dra, "DeviceTaintRule", "devicetaintrules", nil, []string{"v1beta2", "v1alpha3"}, devicetaintrule.Strategy},
		{dra, "ResourceClaim", "resourceclaims", v1, draBetas, resourceclaim.NewStrategy(labelledNamespaces{}, nil)},
		{dra, "ResourceClaimTemplate", "resourceclaimtemplates", v1, draBetas, resourceclaimtemplate.NewStrategy(labelledNamespaces{})},
		{dra, "ResourcePoolStatusRequest", "resourcepoolstatusrequests", nil, []string{"v1alpha3"}, resourcepoolstatusrequest.Strategy},
		{dra, "ResourceSlice", "resourceslices", v1, draBetas, resourceslice.Strategy},

		{"storagemigration.k8s.io", "StorageVersionMigration", "storageversionmigrations", nil, v1beta1, storagemigration.Strategy},
		{"internal.apiserver.k8s.io", "StorageVersion", "storageversions", nil, []string{"v1alpha1"}, storageversion.Strategy},
	}
}

// unasked resolves the kinds of parameters for an authorizer that is not there: who may read them is not for validation.
var unasked resolver.ResourceResolverFunc = func(schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	return schema.GroupVersionResource{}, errors.New("no authorizer asks")
}

// transient are the kinds that can be posted and are never stored, and whether they are namespaced.
var transientKinds = map[policies.GroupVersionKind]transientKind{
	{Version: "v1", Kind: "Binding"}:                                                 {"bindings", true},
	{Group: "authentication.k8s.io", Version: "v1", Kind: "TokenReview"}:             {"tokenreviews", false},
	{Group: "authentication.k8s.io", Version: "v1", Kind: "SelfSubjectReview"}:       {"selfsubjectreviews", false},
	{Group: "authorization.k8s.io", Version: "v1", Kind: "SubjectAccessReview"}:      {"subjectaccessreviews", false},
	{Group: "authorization.k8s.io", Version: "v1", Kind: "SelfSubjectAccessReview"}:  {"selfsubjectaccessreviews", false},
	{Group: "authorization.k8s.io", Version: "v1", Kind: "SelfSubjectRulesReview"}:   {"selfsubjectrulesreviews", false},
	{Group: "authorization.k8s.io", Version: "v1", Kind: "LocalSubjectAccessReview"}: {"localsubjectaccessreviews", true},
}

type transientKind struct {
	plural     string
	namespaced bool
}

// builtins are the stored kinds by group, version and kind, made at the first question so that starting costs nothing.
var builtins = sync.OnceValue(func() map[policies.GroupVersionKind]*builtin {
	// Every installer of clusters starts the API server with --allow-privileged; whether privileged containers may run is for
	// policies. It is state of Kubernetes' own packages that can be set once.
	capabilities.Setup(true, 0)
	all := map[policies.GroupVersionKind]*builtin{}
	for _, row := range resourceRows() {
		for i, version := range append(append([]string(nil), row.served...), row.off...) {
			b := newBuiltin(row, version)
			b.served = i < len(row.served)
			all[b.gvk] = b
		}
	}
	for _, b := range extensionBuiltins() {
		all[b.gvk] = b
	}
	return all
})
