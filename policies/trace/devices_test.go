package trace_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

const (
	claimUser = "system:serviceaccount:kube-system:resource-claim-controller"

	claimTemplate = `apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: gpu, namespace: shop}
spec:
  metadata: {labels: {team: a}, annotations: {cost: high}}
  spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.example.com}}]}}
`
	devicePod = `apiVersion: v1
kind: Pod
metadata: {name: train, namespace: shop, uid: p1}
spec:
  containers: [{name: train, image: "registry.example.com/train:1"}]
  resourceClaims: [{name: card, resourceClaimTemplateName: gpu}, {name: shared, resourceClaimName: shared}]
`
	deviceClaim = `apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata:
  generateName: train-card-
  name: train-card-x7k2p
  namespace: shop
  labels: {team: a}
  annotations: {cost: high, resource.kubernetes.io/pod-claim-name: card}
  ownerReferences: [{apiVersion: v1, kind: Pod, name: train, uid: p1, controller: true}]
spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.example.com}}]}}
`
)

func TestClaimsOfDevicesAreMadeOfDeclaredTemplates(t *testing.T) {
	long := strings.Repeat("a", 40)
	for _, tc := range []struct {
		name  string
		claim string
		want  string
		setup func(*world)
	}{
		{"of the template that the Pod names", deviceClaim, "derived", nil},
		{"before its name is generated", with(deviceClaim, "  name: train-card-x7k2p\n", ""), "derived", nil},
		{"of a template's older form", with(deviceClaim, "gpu.example.com", "old.example.com"), "derived", func(w *world) {
			w.declares(t, apps, with(claimTemplate, "gpu.example.com", "old.example.com"))
		}},
		{"of another class", with(deviceClaim, "gpu.example.com", "all.example.com"), "[derived] spec.devices", nil},
		{"with the rights of an administrator", with(deviceClaim, "deviceClassName", "adminAccess: true, deviceClassName"), "[derived] spec.devices", nil},
		{"with a label more", with(deviceClaim, "{team: a}", "{team: a, more: x}"), "[derived] metadata.labels", nil},
		{"for a claim that the Pod does not ask for", with(deviceClaim, "pod-claim-name: card", "pod-claim-name: other"), "asks for no claim \"other\" of a template", nil},
		{"for a claim that the Pod has by name", with(deviceClaim, "pod-claim-name: card", "pod-claim-name: shared"), "asks for no claim \"shared\" of a template", nil},
		{"under a name of its own", with(deviceClaim, "  generateName: train-card-\n", ""), "its name is not one that is generated from train-card-", nil},
		{"under another Pod's name", with(deviceClaim, "name: train-card-x7k2p", "name: other-card-x7k2p"), "its name is not one that is generated from train-card-", nil},
		{"of a template that Git does not declare", deviceClaim, "ResourceClaimTemplate shop/gpu, which Pod shop/train names, is declared by no accepted commit", func(w *world) { w.forms = w.forms[:len(w.forms)-1] }},
		{"of a Pod that is not there", deviceClaim, "there is none", func(w *world) { w.live = nil }},
		{"of a Pod that Git does not declare", deviceClaim, "which no accepted commit declares", func(w *world) {
			w.forms = []*policies.Form{w.forms[len(w.forms)-1]}
		}},
		{"of a long name", with(deviceClaim, "generateName: train-card-", "generateName: "+claimPrefixOf(long), "name: train-card-x7k2p", "name: "+claimPrefixOf(long)+"x7k2p", "kind: Pod, name: train", "kind: Pod, name: "+long, "pod-claim-name: card", "pod-claim-name: "+long), "derived", func(w *world) {
			pod := with(devicePod, "name: train, namespace", "name: "+long+", namespace", "{name: card", "{name: "+long)
			w.live = nil
			w.runs(t, pod)
			w.declares(t, apps, pod)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := fleet(t)
			w.declares(t, apps, devicePod, claimTemplate)
			w.runs(t, devicePod)
			if tc.setup != nil {
				tc.setup(w)
			}
			q := request{user: claimUser, res: "resourceclaims.resource.k8s.io", object: tc.claim}
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), q.change(t))), tc.want)
		})
	}
}

// claimPrefixOf is what the controller generates a name from for a Pod and a claim of the same name of forty letters: 57/82 of each.
func claimPrefixOf(name string) string { return name[:27] + "-" + name[:27] }
