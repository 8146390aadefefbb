package apiserver

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	"gitgate.dev/gitgate/policies"
)

// lifetime says in which minor versions of Kubernetes 1.x a kind exists in a version of its group; 0 means always, or still.
type lifetime struct {
	introduced, removed int
	successor           policies.GroupVersionKind // zero: the same kind in a later version, or none
}

// lifetimeOf reads the lifetime that the API types declare of themselves.
func lifetimeOf(obj any, gvk policies.GroupVersionKind) lifetime {
	l := undeclared[gvk]
	if o, ok := obj.(interface{ APILifecycleIntroduced() (int, int) }); ok {
		_, l.introduced = o.APILifecycleIntroduced()
	}
	if o, ok := obj.(interface{ APILifecycleRemoved() (int, int) }); ok {
		_, l.removed = o.APILifecycleRemoved()
	}
	if o, ok := obj.(interface {
		APILifecycleReplacement() schema.GroupVersionKind
	}); ok {
		r := o.APILifecycleReplacement()
		l.successor = policies.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: strings.TrimSuffix(r.Kind, "List")}
	}
	return l
}

// undeclared are the lifetimes of kinds that are still in the scheme and do not declare one (the CHANGELOG of each version).
var undeclared = map[policies.GroupVersionKind]lifetime{
	{Group: "scheduling.k8s.io", Version: "v1alpha2", Kind: "PodGroup"}: {introduced: 36, removed: 37},
	{Group: "scheduling.k8s.io", Version: "v1alpha2", Kind: "Workload"}: {introduced: 36, removed: 37},

	{Group: "node.k8s.io", Version: "v1alpha1", Kind: "RuntimeClass"}:                     {removed: 24},
	{Group: "rbac.authorization.k8s.io", Version: "v1alpha1", Kind: "ClusterRole"}:        {removed: 23},
	{Group: "rbac.authorization.k8s.io", Version: "v1alpha1", Kind: "ClusterRoleBinding"}: {removed: 23},
	{Group: "rbac.authorization.k8s.io", Version: "v1alpha1", Kind: "Role"}:               {removed: 23},
	{Group: "rbac.authorization.k8s.io", Version: "v1alpha1", Kind: "RoleBinding"}:        {removed: 23},
}

// goneRow names kinds that no scheme knows any more: the version that removed them, what took their place, and advice where
// that is not the same kind in a newer version.
type goneRow struct {
	apiVersion string
	kinds      string // separated by blanks
	removed    int    // 0 for a version before those that New takes
	successor  string // apiVersion; "" for none
	advice     string
}

// goneRows come from the deprecated API migration guide of Kubernetes and the CHANGELOG of each version.
var goneRows = []goneRow{
	{apiVersion: "extensions/v1beta1", kinds: "DaemonSet Deployment ReplicaSet", removed: 16, successor: "apps/v1", advice: "spec.selector is required there"},
	{apiVersion: "extensions/v1beta1", kinds: "NetworkPolicy", removed: 16, successor: "networking.k8s.io/v1"},
	{apiVersion: "extensions/v1beta1", kinds: "PodSecurityPolicy", removed: 16, advice: podSecurity},
	{apiVersion: "extensions/v1beta1", kinds: "Ingress", removed: 22, successor: "networking.k8s.io/v1", advice: ingressAdvice},
	{apiVersion: "auditregistration.k8s.io/v1alpha1", kinds: "AuditSink", removed: 19, advice: "configure an audit backend of the API server"},
	{apiVersion: "settings.k8s.io/v1alpha1", kinds: "PodPreset", removed: 20, advice: "use a MutatingAdmissionPolicy or a mutating webhook"},
	{apiVersion: "batch/v2alpha1", kinds: "CronJob", removed: 21, successor: "batch/v1"},
	{apiVersion: "discovery.k8s.io/v1alpha1", kinds: "EndpointSlice", removed: 21, successor: "discovery.k8s.io/v1"},
	{apiVersion: "apiextensions.k8s.io/v1beta1", kinds: "CustomResourceDefinition", removed: 22, successor: "apiextensions.k8s.io/v1", advice: "each of spec.versions needs a structural schema there"},
	{apiVersion: "apiregistration.k8s.io/v1beta1", kinds: "APIService", removed: 22, successor: "apiregistration.k8s.io/v1"},
	{apiVersion: "scheduling.k8s.io/v1alpha1", kinds: "PriorityClass", removed: 23, successor: "scheduling.k8s.io/v1"},
	{apiVersion: "autoscaling/v2beta1", kinds: "HorizontalPodAutoscaler", removed: 25, successor: "autoscaling/v2", advice: "metrics name their target as target: {type, averageUtilization} there"},
	{apiVersion: "autoscaling/v2beta2", kinds: "HorizontalPodAutoscaler", removed: 26, successor: "autoscaling/v2"},
	{apiVersion: "policy/v1beta1", kinds: "PodSecurityPolicy", removed: 25, advice: podSecurity},
	{apiVersion: "flowcontrol.apiserver.k8s.io/v1alpha1", kinds: "FlowSchema PriorityLevelConfiguration", successor: "flowcontrol.apiserver.k8s.io/v1"},
	{apiVersion: "resource.k8s.io/v1alpha1", kinds: "PodScheduling ResourceClaim ResourceClaimTemplate ResourceClass", removed: 27, successor: "resource.k8s.io/v1", advice: draAdvice},
	{apiVersion: "networking.k8s.io/v1alpha1", kinds: "ClusterCIDR", removed: 29},
	{apiVersion: "networking.k8s.io/v1alpha1", kinds: "IPAddress ServiceCIDR", removed: 34, successor: "networking.k8s.io/v1"},
	{apiVersion: "resource.k8s.io/v1alpha2", kinds: "PodSchedulingContext ResourceClaim ResourceClaimParameters ResourceClaimTemplate ResourceClass ResourceClassParameters ResourceSlice", removed: 31, successor: "resource.k8s.io/v1", advice: draAdvice},
	{apiVersion: "resource.k8s.io/v1alpha3", kinds: "PodSchedulingContext", removed: 32},
	{apiVersion: "resource.k8s.io/v1alpha3", kinds: "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice", removed: 34, successor: "resource.k8s.io/v1", advice: draAdvice},
	{apiVersion: "coordination.k8s.io/v1alpha1", kinds: "LeaseCandidate", removed: 32, successor: "coordination.k8s.io/v1beta1"},
	{apiVersion: "certificates.k8s.io/v1alpha1", kinds: "PodCertificateRequest", removed: 35, successor: "certificates.k8s.io/v1beta1"},
	{apiVersion: "storagemigration.k8s.io/v1alpha1", kinds: "StorageVersionMigration", removed: 35, successor: "storagemigration.k8s.io/v1beta1"},
	{apiVersion: "scheduling.k8s.io/v1alpha1", kinds: "Workload", removed: 36, successor: "scheduling.k8s.io/v1alpha2"},
}

const (
	podSecurity   = "use Pod Security admission: the label pod-security.kubernetes.io/enforce on the namespace"
	ingressAdvice = "there each path needs a pathType, and backend names its service as service: {name, port: {number}}"
	draAdvice     = "devices are requested under spec.devices there"
)

// advised is advice for kinds that are still in the scheme.
var advised = map[policies.GroupVersionKind]string{
	{Group: "networking.k8s.io", Version: "v1beta1", Kind: "Ingress"}:                     ingressAdvice,
	{Group: "policy", Version: "v1beta1", Kind: "PodDisruptionBudget"}:                    "an empty spec.selector selects every Pod of the namespace there, not none",
	{Group: "apps", Version: "v1beta1", Kind: "Deployment"}:                               "spec.selector is required there",
	{Group: "apps", Version: "v1beta1", Kind: "StatefulSet"}:                              "spec.selector is required there",
	{Group: "certificates.k8s.io", Version: "v1beta1", Kind: "CertificateSigningRequest"}: "spec.signerName and spec.usages are required there",
}

// gone is what a manifest of a kind that no longer exists is told.
type gone struct {
	removed   int
	successor policies.GroupVersionKind
	advice    string
}

var goneKinds = sync.OnceValue(func() map[policies.GroupVersionKind]gone {
	all := map[policies.GroupVersionKind]gone{}
	for _, row := range goneRows {
		group, version := policies.ParseAPIVersion(row.apiVersion)
		for kind := range strings.FieldsSeq(row.kinds) {
			g := gone{removed: row.removed, advice: row.advice}
			if row.successor != "" {
				toGroup, toVersion := policies.ParseAPIVersion(row.successor)
				g.successor = policies.GroupVersionKind{Group: toGroup, Version: toVersion, Kind: kind}
			}
			all[policies.GroupVersionKind{Group: group, Version: version, Kind: kind}] = g
		}
	}
	return all
})

// goneOf says what became of a kind that Kubernetes 1.minor no longer has.
func goneOf(gvk policies.GroupVersionKind, minor int) (gone, bool) {
	g, ok := goneKinds()[gvk]
	if !ok {
		typ := legacyscheme.Scheme.KnownTypes(schema.GroupVersion{Group: gvk.Group, Version: gvk.Version})[gvk.Kind]
		if typ == nil || gvk.Version == runtime.APIVersionInternal {
			return gone{}, false
		}
		l := lifetimeOf(reflect.New(typ).Interface(), gvk)
		g = gone{removed: l.removed, successor: l.successor, advice: advised[gvk]}
	}
	if g.removed > minor || !ok && g.removed == 0 {
		return gone{}, false
	}
	g.successor = servedSuccessor(gvk, g.successor, minor)
	return g, true
}

// servedSuccessor follows next to a version that is served, since what took a kind's place may be gone as well.
func servedSuccessor(gvk, next policies.GroupVersionKind, minor int) policies.GroupVersionKind {
	if next.Kind == "" {
		next = gvk
	}
	for _, candidate := range []policies.GroupVersionKind{next, {Group: next.Group, Version: "v1", Kind: next.Kind}} {
		if b := builtins()[candidate]; b != nil && candidate != gvk && b.exists(minor) {
			return candidate
		}
	}
	return policies.GroupVersionKind{}
}

// admitUnserved answers for kinds that are known from older or newer versions of Kubernetes; nil for others.
func (r *Rules) admitUnserved(o *policies.Object) *Admission {
	if g, ok := goneOf(o.Kind, r.minor); ok {
		v := policies.Violation{
			Rule: ruleRemovedAPI, Path: policies.Path{"apiVersion"}, URL: "https://kubernetes.io/docs/reference/using-api/deprecation-guide/",
			Message: fmt.Sprintf("%s %s was removed in Kubernetes 1.%d", o.Kind.APIVersion(), o.Kind.Kind, g.removed),
		}
		if g.removed == 0 {
			v.Message = fmt.Sprintf("%s %s is no longer served", o.Kind.APIVersion(), o.Kind.Kind)
		}
		if g.successor.Kind != "" {
			v.Message += fmt.Sprintf("; use %s %s", g.successor.APIVersion(), g.successor.Kind)
			v.Fix = "write apiVersion: " + g.successor.APIVersion()
		}
		switch {
		case g.advice == "":
		case v.Fix == "":
			v.Fix = g.advice
		default:
			v.Fix += " (" + g.advice + ")"
		}
		return &Admission{Known: true, Violations: []policies.Violation{v}}
	}
	if b := builtins()[o.Kind]; b != nil && b.life.introduced > r.minor {
		return &Admission{Known: true, Violations: []policies.Violation{{
			Rule: ruleNotServed, Path: policies.Path{"apiVersion"},
			Message: fmt.Sprintf("%s %s is served from Kubernetes 1.%d on, not by %s", o.Kind.APIVersion(), o.Kind.Kind, b.life.introduced, r.version),
		}}}
	}
	return nil
}

// exists says whether Kubernetes 1.minor has the kind in this version.
func (b *builtin) exists(minor int) bool {
	return b.life.introduced <= minor && (b.life.removed == 0 || b.life.removed > minor)
}
