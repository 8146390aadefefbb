package apiserver

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/kubernetes/pkg/apis/certificates"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/storage"
	"k8s.io/kubernetes/plugin/pkg/admission/certificates/subjectrestriction"
	"k8s.io/kubernetes/plugin/pkg/admission/defaulttolerationseconds"
	"k8s.io/kubernetes/plugin/pkg/admission/nodetaint"

	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// begin does what stands between decoding and the strategy when an object is created: the admission plugins that are on by
// default and look at nothing but the object (pkg/kubeapiserver/options/plugins.go), and what a registry does before its
// strategy. The plugins that look at other objects are rows of serverAssigned.
func begin(ctx context.Context, obj runtime.Object) error {
	switch obj := obj.(type) {
	case *core.Pod:
		if obj.Spec.ServiceAccountName == "" {
			obj.Spec.ServiceAccountName = "default" // plugin ServiceAccount
		}
		return tolerate(ctx, obj)
	case *core.Node:
		return nodetaint.NewPlugin().Admit(ctx, attributes(obj, core.Resource("nodes")), nil)
	case *core.PersistentVolume:
		protect(&obj.Finalizers, "kubernetes.io/pv-protection")
	case *core.PersistentVolumeClaim:
		protect(&obj.Finalizers, "kubernetes.io/pvc-protection")
	case *storage.VolumeAttributesClass:
		protect(&obj.Finalizers, "kubernetes.io/vac-protection")
	case *core.Service:
		if obj.Spec.ClusterIP != "" && len(obj.Spec.ClusterIPs) == 0 {
			obj.Spec.ClusterIPs = []string{obj.Spec.ClusterIP}
		}
		if obj.Spec.HealthCheckNodePort == 0 && checksHealth(obj) {
			obj.Spec.HealthCheckNodePort = placeholderPort
		}
	}
	return nil
}

// onRead does what a registry does to an object when it is read, and so to the answer on its creation.
func onRead(obj runtime.Object) {
	if svc, ok := obj.(*core.Service); ok && svc.Spec.Type == core.ServiceTypeExternalName {
		svc.Spec.InternalTrafficPolicy = nil
	}
}

// beginUpdate is begin for an update.
func beginUpdate(ctx context.Context, obj runtime.Object) error {
	if pod, ok := obj.(*core.Pod); ok {
		if pod.Spec.ServiceAccountName == "" {
			pod.Spec.ServiceAccountName = "default"
		}
		return tolerate(ctx, pod)
	}
	return nil
}

func tolerate(ctx context.Context, pod *core.Pod) error {
	plugin := defaulttolerationseconds.NewDefaultTolerationSeconds()
	plugin.InspectFeatureGates(utilfeature.DefaultFeatureGate)
	return plugin.Admit(ctx, attributes(pod, core.Resource("pods")), nil)
}

// protect is what the plugin StorageObjectInUseProtection does.
func protect(finalizers *[]string, finalizer string) {
	if !slices.Contains(*finalizers, finalizer) {
		*finalizers = append(slices.Clip(*finalizers), finalizer)
	}
}

// beyond is what a registry refuses that neither its strategy nor a plugin does, as far as no cluster is needed to know it: the
// allocators take no port that is none, and no two addresses for a Service of one family.
func beyond(obj runtime.Object) (errs field.ErrorList) {
	svc, ok := obj.(*core.Service)
	if !ok {
		return nil
	}
	for i := range svc.Spec.Ports {
		if n := svc.Spec.Ports[i].NodePort; n < 0 || n > 65535 {
			errs = append(errs, field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), n, "must be between 1 and 65535, inclusive"))
		}
	}
	if svc.Spec.Type == core.ServiceTypeExternalName || svc.Spec.IPFamilyPolicy != nil && *svc.Spec.IPFamilyPolicy != core.IPFamilyPolicySingleStack ||
		svc.Spec.ClusterIP == core.ClusterIPNone && len(svc.Spec.Selector) == 0 {
		return errs
	}
	policy := field.NewPath("spec", "ipFamilyPolicy")
	if len(svc.Spec.ClusterIPs) == 2 {
		errs = append(errs, field.Invalid(policy, svc.Spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"))
	}
	if len(svc.Spec.IPFamilies) == 2 {
		errs = append(errs, field.Invalid(policy, svc.Spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"))
	}
	return errs
}

// end are the validating plugins that look at nothing but the object. They are asked of what the strategy takes.
func end(ctx context.Context, obj runtime.Object) field.ErrorList {
	csr, ok := obj.(*certificates.CertificateSigningRequest)
	if !ok {
		return nil
	}
	if err := subjectrestriction.NewPlugin().Validate(ctx, attributes(csr, certificates.Resource("certificatesigningrequests")), nil); err != nil {
		return field.ErrorList{field.Forbidden(field.NewPath("spec", "request"), "certificates of the group system:masters cannot be asked of this signer")}
	}
	return nil
}

func attributes(obj runtime.Object, resource schema.GroupResource) admission.Attributes {
	return admission.NewAttributesRecord(obj, nil, schema.GroupVersionKind{}, "", "", resource.WithVersion(""), "", admission.Create, nil, false, nil)
}
