package apiserver

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestObjectsAreConvertedToOtherVersionsOfTheirKind(t *testing.T) {
	t.Parallel()
	gvk := func(apiVersion, kind string) policies.GroupVersionKind {
		group, version := policies.ParseAPIVersion(apiVersion)
		return policies.GroupVersionKind{Group: group, Version: version, Kind: kind}
	}
	const hpa = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: h, namespace: shop}\nspec: {maxReplicas: 9, scaleTargetRef: {kind: Deployment, name: d}, targetCPUUtilizationPercentage: 70}\n"
	const event = "apiVersion: v1\nkind: Event\nmetadata: {name: e, namespace: shop}\ninvolvedObject: {kind: Pod, name: p, namespace: shop}\nmessage: hello\n"
	const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`
	const widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}\nspec: {size: 3}\n"
	hook := strings.Replace(crd, "  scope: Namespaced\n", "  scope: Namespaced\n  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: \"https://a\"}}}\n", 1)
	for _, tc := range []struct {
		name, object, crd string
		to                policies.GroupVersionKind
		path              string
		want              any
		err               string
	}{
		{"a built-in kind", hpa, "", gvk("autoscaling/v2", "HorizontalPodAutoscaler"), "spec.metrics[0].resource.target.averageUtilization", int64(70), ""},
		{"its apiVersion", hpa, "", gvk("autoscaling/v2", "HorizontalPodAutoscaler"), "apiVersion", "autoscaling/v2", ""},
		{"the same version", hpa, "", gvk("autoscaling/v1", "HorizontalPodAutoscaler"), "spec.targetCPUUtilizationPercentage", int64(70), ""},
		{"an event of the other group", event, "", gvk("events.k8s.io/v1", "Event"), "note", "hello", ""},
		{"a custom kind", widget, crd, gvk("example.com/v2", "Widget"), "apiVersion", "example.com/v2", ""},
		{"a custom kind keeps its content", widget, crd, gvk("example.com/v2", "Widget"), "spec.size", int64(3), ""},
		{"a version that does not exist", widget, crd, gvk("example.com/v3", "Widget"), "", nil, "Widget.example.com has no version example.com/v3"},
		{"a kind that a webhook converts", widget, hook, gvk("example.com/v2", "Widget"), "", nil, "only the conversion webhook of CustomResourceDefinition widgets.example.com can convert it"},
		{"another kind", hpa, "", gvk("apps/v1", "Deployment"), "", nil, "HorizontalPodAutoscaler shop/h as apps/v1: Deployment is another kind"},
		{"a kind that is not known", widget, "", gvk("example.com/v2", "Widget"), "", nil, "Widget.example.com has no version example.com/v2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			set := policies.NewSet()
			if tc.crd != "" {
				set = policies.NewSet(parse(t, tc.crd))
			}
			o := parse(t, tc.object)
			before, err := rules(t).Stored(set, o)
			if err != nil {
				t.Fatal(err)
			}
			version := before["apiVersion"]
			got, err := rules(t).Convert(set, o, tc.to)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("error %v, want %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v, _ := policies.Lookup(got, policies.ParsePath(tc.path)); v != tc.want {
				t.Errorf("%s is %v, want %v in %v", tc.path, v, tc.want, got)
			}
			if after, err := rules(t).Stored(set, o); err != nil || after["apiVersion"] != version {
				t.Errorf("the object was changed: %v, %v", after, err)
			}
		})
	}
}
