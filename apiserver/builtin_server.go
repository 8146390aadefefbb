package apiserver

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/apis/apps"
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

// serverAssigned is the one place that says what Stored leaves open. "#" stands for every item or key. What the strategies fill in
// all the same, from the time, who asks or a placeholder, is taken out again: mine unless the manifest has it, theirs always,
// because the API server overwrites what a manifest says there.
var serverAssigned = []struct{ kind, paths, by, filled string }{
	{"*", "metadata.uid metadata.resourceVersion metadata.generation metadata.creationTimestamp metadata.managedFields metadata.selfLink", "the registry, for each write", theirs},
	{"*", "metadata.name", "the registry, from metadata.generateName", ""},
	{"*", "metadata.namespace", "the client, when the manifest has none", ""},
	{"Service", "spec.clusterIP spec.clusterIPs spec.ipFamilies spec.ipFamilyPolicy", "the allocator of addresses, after the cluster's address families", ""},
	{"Service", "spec.ports.#.nodePort", "the allocator of ports", ""},
	{"Service", "spec.healthCheckNodePort", "the allocator of ports", mine},
	{"Job.batch", "spec.selector", "the registry, from metadata.uid", ""},
	{"Job.batch", jobUIDLabels("metadata.labels") + " " + jobUIDLabels("spec.template.metadata.labels"), "the registry, from metadata.uid", mine},
	{"PersistentVolume", "status.lastPhaseTransitionTime", "the registry, from the time", theirs},
	{"Pod", "status.conditions.#.lastTransitionTime", "the registry, from the time", theirs},
	{"Pod", "spec.volumes spec.containers.#.volumeMounts spec.initContainers.#.volumeMounts spec.imagePullSecrets", "the admission plugin ServiceAccount: the token, and the pull secrets of the account", ""},
	{"Pod", "spec.priority spec.preemptionPolicy spec.priorityClassName", "the admission plugin Priority, from the cluster's PriorityClasses", ""},
	{"Pod", "spec.overhead spec.nodeSelector spec.tolerations", "the admission plugin RuntimeClass, for a Pod with a runtimeClassName", ""},
	{"Pod", "spec.containers.#.resources spec.initContainers.#.resources metadata.annotations[kubernetes.io/limit-ranger]", "the admission plugin LimitRanger, in a namespace with a LimitRange", ""},
	{"PersistentVolumeClaim", "spec.storageClassName", "the admission plugin DefaultStorageClass", ""},
	{"PersistentVolumeClaim", "spec.resources", "the admission plugin LimitRanger, in a namespace with a LimitRange", ""},
	{"Ingress.networking.k8s.io", "spec.ingressClassName", "the admission plugin DefaultIngressClass", ""},
	{"CertificateSigningRequest.certificates.k8s.io", "spec.username spec.uid spec.groups spec.extra", "the registry, from who asks", theirs},
	{"APIService.apiregistration.k8s.io", "status.conditions.#.lastTransitionTime", "the registry, from the time", theirs},
	{"ResourceSlice.resource.k8s.io", "spec.devices.#.taints.#.timeAdded spec.devices.#.basic.taints.#.timeAdded", "the defaults, from the time", mine},
	{"DeviceTaintRule.resource.k8s.io", "spec.taint.timeAdded", "the defaults, from the time", mine},
}

const (
	mine   = "mine"
	theirs = "theirs"
)

func jobUIDLabels(at string) string {
	return at + "[" + batch.ControllerUidLabel + "] " + at + "[" + batch.LegacyControllerUidLabel + "]"
}

// filled are the rows of serverAssigned that concern what Stored has to take out, by kind.
var filled = sync.OnceValue(func() map[string][]filledField {
	all := map[string][]filledField{}
	for _, row := range serverAssigned {
		if row.filled == "" || row.kind == "*" {
			continue
		}
		for path := range strings.FieldsSeq(row.paths) {
			all[row.kind] = append(all[row.kind], filledField{policies.ParsePath(path), row.filled == theirs})
		}
	}
	return all
})

type filledField struct {
	path   policies.Path
	always bool
}

// stripAssigned takes out of a stored form what only a running server can know, and what stood in for it.
func (m *made) stripAssigned(content map[string]any) {
	if metadata, ok := content["metadata"].(map[string]any); ok {
		stripAssigned(metadata, m.named, m.spaced)
	}
	gk := m.kind.gvk.GroupKind()
	for _, f := range filled()[gk.String()] {
		if f.always {
			remove(content, nil, f.path)
		} else {
			remove(content, m.written, f.path)
		}
	}
	switch gk {
	case policies.GroupKind{Group: "batch", Kind: "Job"}:
		m.stripJob(content)
	case policies.GroupKind{Kind: "Namespace"}:
		if m.named {
			removeLabel(content, "kubernetes.io/metadata.name", "metadata")
		}
	}
}

// remove deletes the field at p from stored, where written does not have it.
func remove(stored, written any, p policies.Path) {
	if p[0] == "#" {
		items, _ := stored.([]any)
		theirs, _ := written.([]any)
		for i, item := range items {
			var of any
			if i < len(theirs) {
				of = theirs[i]
			}
			remove(item, of, p[1:])
		}
		return
	}
	key, _ := p[0].(string)
	of, _ := written.(map[string]any)
	m, ok := stored.(map[string]any)
	switch {
	case !ok:
	case len(p) > 1:
		remove(m[key], of[key], p[1:])
	case isUnset(of[key]):
		delete(m, key)
	}
}

// isUnset says that a written value asks for none: the registries fill in zeros as they do what is missing.
func isUnset(v any) bool { return v == nil || v == int64(0) || v == "" }

// removeLabel deletes a label, and labels when it was the last.
func removeLabel(content map[string]any, label string, at ...any) {
	found, _ := policies.Lookup(content, at)
	metadata, _ := found.(map[string]any)
	if labels, ok := metadata["labels"].(map[string]any); ok {
		delete(labels, label)
		if len(labels) == 0 {
			delete(metadata, "labels")
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
	for _, at := range []policies.Path{{"metadata"}, {"spec", "template", "metadata"}} {
		found, _ := policies.Lookup(content, at)
		metadata, _ := found.(map[string]any)
		labels, ok := metadata["labels"].(map[string]any)
		if ok && m.named {
			delete(labels, batch.JobNameLabel)
			delete(labels, batch.LegacyJobNameLabel)
		}
		if ok && len(labels) == 0 {
			delete(metadata, "labels")
		}
	}
}

// settle gives an object that was never in a cluster what a cluster's controllers soon give to one of its kind, as far as it
// decides what may change: a CRD is established, a claim is bound.
func settle(obj runtime.Object) {
	switch obj := obj.(type) {
	case *core.PersistentVolumeClaim:
		obj.Status.Phase = core.ClaimBound
		obj.Status.Capacity = core.ResourceList{core.ResourceStorage: obj.Spec.Resources.Requests[core.ResourceStorage]}
	case *apiextensions.CustomResourceDefinition:
		obj.Status.Conditions = []apiextensions.CustomResourceDefinitionCondition{
			{Type: apiextensions.NamesAccepted, Status: apiextensions.ConditionTrue},
			{Type: apiextensions.Established, Status: apiextensions.ConditionTrue},
		}
		obj.Status.AcceptedNames = obj.Spec.Names
	}
}

// carry gives m what the server assigned to old, or defaulted in it, and m does not say, as applying a manifest over a live
// object keeps it. wrote says whether old's manifest said it, in which case m's silence takes it away; it is nil for an object
// of the cluster, whose manifest is not known.
func (m *made) carry(old *made, wrote func(path ...any) bool) {
	live := wrote == nil
	if live {
		wrote = func(...any) bool { return false }
	}
	before := old.object
	switch now := m.object.(type) {
	case *apps.Deployment:
		if now.Spec.Strategy.RollingUpdate == nil && m.keeps(wrote, live, "spec", "strategy", "rollingUpdate") {
			now.Spec.Strategy.RollingUpdate = before.(*apps.Deployment).Spec.Strategy.RollingUpdate
		}
	case *apps.StatefulSet:
		if now.Spec.UpdateStrategy.RollingUpdate == nil && m.keeps(wrote, live, "spec", "updateStrategy", "rollingUpdate") {
			now.Spec.UpdateStrategy.RollingUpdate = before.(*apps.StatefulSet).Spec.UpdateStrategy.RollingUpdate
		}
	case *core.ReplicationController:
		was := before.(*core.ReplicationController)
		if m.keeps(wrote, live, "spec", "selector") {
			now.Spec.Selector = was.Spec.Selector
		}
		m.carryLabels(old, wrote, live)
	case *core.Secret:
		if stringData, _ := old.written["stringData"].(map[string]any); !live {
			carryStringData(now, before.(*core.Secret), stringData)
		}
	case *core.Service:
		carryService(now, before.(*core.Service), wrote)
	case *batch.Job:
		carryJob(now, before.(*batch.Job), wrote)
		m.carryLabels(old, wrote, live)
	case *core.PersistentVolumeClaim:
		was := before.(*core.PersistentVolumeClaim)
		if now.Spec.VolumeName == "" && !wrote("spec", "volumeName") {
			now.Spec.VolumeName = was.Spec.VolumeName
		}
		if now.Spec.StorageClassName == nil && !wrote("spec", "storageClassName") {
			now.Spec.StorageClassName = was.Spec.StorageClassName
		}
	case *core.PersistentVolume:
		if now.Spec.ClaimRef == nil && !wrote("spec", "claimRef") {
			now.Spec.ClaimRef = before.(*core.PersistentVolume).Spec.ClaimRef
		}
	case *core.Node:
		was := before.(*core.Node)
		if len(now.Spec.PodCIDRs) == 0 && !wrote("spec", "podCIDRs") && !wrote("spec", "podCIDR") {
			now.Spec.PodCIDRs = was.Spec.PodCIDRs
		}
		if now.Spec.ProviderID == "" && !wrote("spec", "providerID") {
			now.Spec.ProviderID = was.Spec.ProviderID
		}
	case *core.Pod:
		was := before.(*core.Pod)
		if live {
			carryPod(now, was)
		}
		for _, list := range []struct {
			name     string
			now, was []core.Container
		}{{"containers", now.Spec.Containers, was.Spec.Containers}, {"initContainers", now.Spec.InitContainers, was.Spec.InitContainers}} {
			for i := range list.now {
				j := slices.IndexFunc(list.was, func(c core.Container) bool { return c.Name == list.now[i].Name })
				if _, written := policies.Lookup(m.written, policies.Path{"spec", list.name, i, "imagePullPolicy"}); j >= 0 && !written && !wrote("spec", list.name, j, "imagePullPolicy") {
					list.now[i].ImagePullPolicy = list.was[j].ImagePullPolicy // a default that depends on the image
				}
			}
		}
	}
}

// keeps says that a default of the object before stays where another strategy has no room for it: neither manifest says the field,
// and the new one does not clear it with a null. Of an object of the cluster it is not known whether it is a default.
func (m *made) keeps(wrote func(path ...any) bool, live bool, path ...any) bool {
	_, written := policies.Lookup(m.written, path)
	return !live && !written && !wrote(path...)
}

// carryLabels keeps the labels that some kinds take from their template when they have none of their own.
func (m *made) carryLabels(old *made, wrote func(path ...any) bool, live bool) {
	if m.keeps(wrote, live, "metadata", "labels") {
		m.meta.SetLabels(old.meta.GetLabels())
	}
}

// carryStringData keeps what came into the data by stringData, which the server does not remember and so takes from nobody.
func carryStringData(now, was *core.Secret, stringData map[string]any) {
	for key := range stringData {
		value, had := was.Data[key]
		if _, has := now.Data[key]; !had || has {
			continue
		}
		if now.Data == nil {
			now.Data = map[string][]byte{}
		}
		now.Data[key] = value
	}
}

func carryJob(now, was *batch.Job, wrote func(...any) bool) {
	if now.Spec.Completions == nil && !wrote("spec", "completions") {
		now.Spec.Completions = was.Spec.Completions // a default that depends on another field, and is not to change
	}
	if now.Spec.Selector == nil && !wrote("spec", "selector") {
		now.Spec.Selector = was.Spec.Selector
	}
	template := &now.Spec.Template
	if template.Labels == nil && wrote("spec", "template", "metadata", "labels") {
		return // the whole map goes, with what the server put into it
	}
	for _, key := range []string{batch.ControllerUidLabel, batch.LegacyControllerUidLabel, batch.JobNameLabel, batch.LegacyJobNameLabel} {
		value, had := was.Spec.Template.Labels[key]
		if _, has := template.Labels[key]; !had || has || wrote("spec", "template", "metadata", "labels", key) {
			continue
		}
		if template.Labels == nil {
			template.Labels = map[string]string{}
		}
		template.Labels[key] = value
	}
}

// carryService follows how the registry of Services keeps what it allocated, whatever the client leaves out.
func carryService(now, was *core.Service, wrote func(...any) bool) {
	if now.Spec.Type != core.ServiceTypeExternalName && was.Spec.Type != core.ServiceTypeExternalName {
		allocate(was)
		if now.Spec.ClusterIP == "" {
			now.Spec.ClusterIP = was.Spec.ClusterIP
		}
		if len(now.Spec.ClusterIPs) == 0 && now.Spec.ClusterIP == was.Spec.ClusterIP {
			now.Spec.ClusterIPs = was.Spec.ClusterIPs
		}
		if len(now.Spec.IPFamilies) == 0 && !wrote("spec", "ipFamilies") {
			now.Spec.IPFamilies = was.Spec.IPFamilies
		}
		if now.Spec.IPFamilyPolicy == nil {
			now.Spec.IPFamilyPolicy = was.Spec.IPFamilyPolicy
		}
	}
	switch {
	case len(now.Spec.ClusterIPs) == 0 && now.Spec.ClusterIP != "":
		now.Spec.ClusterIPs = []string{now.Spec.ClusterIP}
	case now.Spec.ClusterIP != was.Spec.ClusterIP && len(now.Spec.ClusterIPs) > 0 && slices.Equal(now.Spec.ClusterIPs, was.Spec.ClusterIPs):
		now.Spec.ClusterIPs = slices.Clone(now.Spec.ClusterIPs)
		now.Spec.ClusterIPs[0] = now.Spec.ClusterIP
	}
	if now.Spec.HealthCheckNodePort == 0 && checksHealth(now) {
		now.Spec.HealthCheckNodePort = was.Spec.HealthCheckNodePort
		if now.Spec.HealthCheckNodePort == 0 {
			now.Spec.HealthCheckNodePort = placeholderPort
		}
	}
}

// placeholderPort and the placeholder addresses stand for what the allocators of a cluster would have given. The addresses are
// of the ranges that no network has (RFC 5737, RFC 3849), so that none written is equal to them.
const (
	placeholderPort = 32767
	placeholderIPv4 = "192.0.2.1"
	placeholderIPv6 = "2001:db8::1"
)

func checksHealth(svc *core.Service) bool {
	return svc.Spec.Type == core.ServiceTypeLoadBalancer && svc.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal
}

// allocate gives a Service that was never in a cluster the address that it would have got there.
func allocate(svc *core.Service) {
	if svc.Spec.ClusterIP != "" {
		return
	}
	if len(svc.Spec.IPFamilies) == 0 {
		svc.Spec.IPFamilies = []core.IPFamily{core.IPv4Protocol}
	}
	if svc.Spec.IPFamilyPolicy == nil {
		policy := core.IPFamilyPolicySingleStack
		svc.Spec.IPFamilyPolicy = &policy
	}
	for _, family := range svc.Spec.IPFamilies {
		address := placeholderIPv4
		if family == core.IPv6Protocol {
			address = placeholderIPv6
		}
		svc.Spec.ClusterIPs = append(svc.Spec.ClusterIPs, address)
	}
	svc.Spec.ClusterIP = svc.Spec.ClusterIPs[0]
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
