package apiserver

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/apis/batch"
	"k8s.io/kubernetes/pkg/apis/core"

	"gitgate.dev/gitgate/policies"
)

// Assigned is a field that only a running API server can fill in, so that Stored has it only when the manifest does. Path may
// hold "*" for every item of a list and every key of a map.
type Assigned struct {
	Kind policies.GroupKind // {"*", "*"} for every kind
	Path policies.Path
	By   string // who fills it in
}

// ServerAssigned lists the fields of a kind that a running API server fills in and Stored cannot know.
func ServerAssigned(gk policies.GroupKind) []Assigned {
	var all []Assigned
	for _, row := range serverAssigned {
		if row.kind != "*" && row.kind != gk.String() {
			continue
		}
		for path := range strings.FieldsSeq(row.paths) {
			a := Assigned{Kind: gk, Path: policies.ParsePath(path), By: row.by}
			for i, step := range a.Path {
				if step == "#" {
					a.Path[i] = "*"
				}
			}
			all = append(all, a)
		}
	}
	return all
}

// serverAssigned is the one place that says what Stored leaves open. "#" stands for every item or key.
var serverAssigned = []struct{ kind, paths, by string }{
	{"*", "metadata.uid metadata.resourceVersion metadata.generation metadata.creationTimestamp metadata.managedFields metadata.selfLink", "the registry, for each write"},
	{"*", "metadata.name", "the registry, from metadata.generateName"},
	{"*", "metadata.namespace", "the client, when the manifest has none"},
	{"Service", "spec.clusterIP spec.clusterIPs spec.ipFamilies spec.ipFamilyPolicy", "the allocator of addresses, after the cluster's address families"},
	{"Service", "spec.ports.#.nodePort spec.healthCheckNodePort", "the allocator of ports"},
	{"Job.batch", "spec.selector spec.template.metadata.labels[batch.kubernetes.io/controller-uid] spec.template.metadata.labels[controller-uid]", "the registry, from metadata.uid"},
	{"Pod", "spec.volumes spec.containers.#.volumeMounts spec.initContainers.#.volumeMounts spec.imagePullSecrets", "the admission plugin ServiceAccount: the token, and the pull secrets of the account"},
	{"Pod", "spec.priority spec.preemptionPolicy spec.priorityClassName", "the admission plugin Priority, from the cluster's PriorityClasses"},
	{"Pod", "spec.overhead spec.nodeSelector spec.tolerations", "the admission plugin RuntimeClass, for a Pod with a runtimeClassName"},
	{"Pod", "spec.containers.#.resources spec.initContainers.#.resources metadata.annotations[kubernetes.io/limit-ranger]", "the admission plugin LimitRanger, in a namespace with a LimitRange"},
	{"PersistentVolumeClaim", "spec.storageClassName", "the admission plugin DefaultStorageClass"},
	{"PersistentVolumeClaim", "spec.resources", "the admission plugin LimitRanger, in a namespace with a LimitRange"},
	{"Ingress.networking.k8s.io", "spec.ingressClassName", "the admission plugin DefaultIngressClass"},
	{"CertificateSigningRequest.certificates.k8s.io", "spec.username spec.uid spec.groups spec.extra", "the registry, from who asks"},
	{"APIService.apiregistration.k8s.io", "status.conditions.#.lastTransitionTime", "the registry, from the time"},
}

// stripAssigned takes out of a stored form what only a running server can know, and what stood in for it.
func (m *made) stripAssigned(content map[string]any) {
	if metadata, ok := content["metadata"].(map[string]any); ok {
		stripAssigned(metadata, m.named, m.spaced)
	}
	switch m.kind.gvk.GroupKind() {
	case policies.GroupKind{Group: "batch", Kind: "Job"}:
		m.stripJob(content)
	case policies.GroupKind{Group: "apiregistration.k8s.io", Kind: "APIService"}:
		conditions, _ := policies.Lookup(content, policies.Path{"status", "conditions"})
		items, _ := conditions.([]any)
		for _, item := range items {
			if condition, ok := item.(map[string]any); ok {
				delete(condition, "lastTransitionTime")
			}
		}
	}
}

// stripAssigned takes out of metadata what a server assigns to every kind, and the name and namespace that stood in for one.
func stripAssigned(metadata map[string]any, named, spaced bool) {
	for _, key := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"} {
		delete(metadata, key)
	}
	if named {
		delete(metadata, "name")
	}
	if spaced {
		delete(metadata, "namespace")
	}
}

// stripJob takes out what the registry derives from the uid and, when that is generated, the name.
func (m *made) stripJob(content map[string]any) {
	spec, _ := content["spec"].(map[string]any)
	if selector, ok := policies.Lookup(spec, policies.Path{"selector", "matchLabels", batch.ControllerUidLabel}); ok && selector == placeholderUID {
		delete(spec, "selector")
	}
	found, _ := policies.Lookup(spec, policies.Path{"template", "metadata", "labels"})
	labels, _ := found.(map[string]any)
	for _, key := range []string{batch.ControllerUidLabel, batch.LegacyControllerUidLabel} {
		if labels[key] == placeholderUID {
			delete(labels, key)
		}
	}
	if m.named {
		delete(labels, batch.JobNameLabel)
		delete(labels, batch.LegacyJobNameLabel)
	}
	if labels != nil && len(labels) == 0 {
		metadata, _ := policies.Lookup(spec, policies.Path{"template", "metadata"})
		delete(metadata.(map[string]any), "labels")
	}
}

// carry gives now what the server assigned to before and now does not say, as applying a manifest over a live object keeps it.
func carry(now, before runtime.Object) {
	switch now := now.(type) {
	case *core.Service:
		carryService(now, before.(*core.Service))
	case *batch.Job:
		was := before.(*batch.Job)
		if now.Spec.Completions == nil {
			now.Spec.Completions = was.Spec.Completions // a default that depends on another field, and is not to change
		}
		if now.Spec.Selector == nil && was.Spec.Selector != nil {
			now.Spec.Selector = was.Spec.Selector
			for _, key := range []string{batch.ControllerUidLabel, batch.LegacyControllerUidLabel, batch.JobNameLabel, batch.LegacyJobNameLabel} {
				if value, ok := was.Spec.Template.Labels[key]; ok {
					if now.Spec.Template.Labels == nil {
						now.Spec.Template.Labels = map[string]string{}
					}
					now.Spec.Template.Labels[key] = value
				}
			}
		}
	case *core.PersistentVolumeClaim:
		was := before.(*core.PersistentVolumeClaim)
		if now.Spec.VolumeName == "" {
			now.Spec.VolumeName = was.Spec.VolumeName
		}
		if now.Spec.StorageClassName == nil {
			now.Spec.StorageClassName = was.Spec.StorageClassName
		}
	case *core.PersistentVolume:
		if now.Spec.ClaimRef == nil {
			now.Spec.ClaimRef = before.(*core.PersistentVolume).Spec.ClaimRef
		}
	case *core.Node:
		was := before.(*core.Node)
		if len(now.Spec.PodCIDRs) == 0 {
			now.Spec.PodCIDRs = was.Spec.PodCIDRs
		}
		if now.Spec.ProviderID == "" {
			now.Spec.ProviderID = was.Spec.ProviderID
		}
	case *core.Pod:
		carryPod(now, before.(*core.Pod))
	}
}

// carryService follows how the registry of Services keeps what it allocated, whatever the client leaves out.
func carryService(now, was *core.Service) {
	if now.Spec.Type != core.ServiceTypeExternalName && was.Spec.Type != core.ServiceTypeExternalName {
		if now.Spec.ClusterIP == "" {
			now.Spec.ClusterIP = was.Spec.ClusterIP
		}
		if len(now.Spec.ClusterIPs) == 0 && now.Spec.ClusterIP == was.Spec.ClusterIP {
			now.Spec.ClusterIPs = was.Spec.ClusterIPs
		}
		if len(now.Spec.IPFamilies) == 0 {
			now.Spec.IPFamilies = was.Spec.IPFamilies
		}
		if now.Spec.IPFamilyPolicy == nil {
			now.Spec.IPFamilyPolicy = was.Spec.IPFamilyPolicy
		}
	}
	if now.Spec.ClusterIP != was.Spec.ClusterIP && len(now.Spec.ClusterIPs) > 0 && slices.Equal(now.Spec.ClusterIPs, was.Spec.ClusterIPs) {
		now.Spec.ClusterIPs = slices.Clone(now.Spec.ClusterIPs)
		now.Spec.ClusterIPs[0] = now.Spec.ClusterIP
	}
	if now.Spec.HealthCheckNodePort == 0 && now.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal && now.Spec.Type == core.ServiceTypeLoadBalancer {
		now.Spec.HealthCheckNodePort = was.Spec.HealthCheckNodePort
	}
}

func carryPod(now, was *core.Pod) {
	if now.Spec.NodeName == "" {
		now.Spec.NodeName = was.Spec.NodeName
	}
	if now.Spec.Priority == nil {
		now.Spec.Priority = was.Spec.Priority
	}
	if now.Spec.PreemptionPolicy == nil {
		now.Spec.PreemptionPolicy = was.Spec.PreemptionPolicy
	}
	if len(now.Spec.ImagePullSecrets) == 0 {
		now.Spec.ImagePullSecrets = was.Spec.ImagePullSecrets
	}
	// The token's volume has a name that the plugin ServiceAccount draws.
	const prefix = "kube-api-access-"
	for _, v := range was.Spec.Volumes {
		if strings.HasPrefix(v.Name, prefix) && !slices.ContainsFunc(now.Spec.Volumes, func(n core.Volume) bool { return n.Name == v.Name }) {
			now.Spec.Volumes = append(now.Spec.Volumes, v)
		}
	}
	carryMounts(now.Spec.Containers, was.Spec.Containers, prefix)
	carryMounts(now.Spec.InitContainers, was.Spec.InitContainers, prefix)
}

func carryMounts(now, was []core.Container, prefix string) {
	for i := range now {
		for j := range was {
			if now[i].Name != was[j].Name {
				continue
			}
			for _, mount := range was[j].VolumeMounts {
				if strings.HasPrefix(mount.Name, prefix) && !slices.ContainsFunc(now[i].VolumeMounts, func(n core.VolumeMount) bool { return n.Name == mount.Name }) {
					now[i].VolumeMounts = append(now[i].VolumeMounts, mount)
				}
			}
		}
	}
}
