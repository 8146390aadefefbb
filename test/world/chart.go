package world

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	helm "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// WebhookName is the name of the chart's ValidatingWebhookConfiguration.
const WebhookName = "gitgate"

const webhookKind = "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration"

// renderChart renders the chart as `helm install gitgate charts/gitgate -n gitgate` does, and returns its objects, those of crds/
// first, and the arguments of the gate's container. Hooks and what asks for kinds that a plain cluster does not have are left out.
func (w *World) renderChart() (all []*unstructured.Unstructured, args []string, err error) {
	root, err := moduleRoot(w.ctx)
	if err != nil {
		return nil, nil, err
	}
	chart, err := loader.Load(filepath.Join(root, "charts", "gitgate"))
	if err != nil {
		return nil, nil, err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(w.options.Values), &values); err != nil {
		return nil, nil, fmt.Errorf("values: %w", err)
	}
	given := map[string]any{"mode": "deny", "git": map[string]any{"repository": w.Git.URL}, "webhook": patient()}
	release := common.ReleaseOptions{Name: "gitgate", Namespace: GateNamespace, Revision: 1, IsInstall: true}
	rendering, err := helm.ToRenderValues(chart, loader.MergeMaps(given, values), release, common.DefaultCapabilities)
	if err != nil {
		return nil, nil, err
	}
	files, err := engine.Render(chart, rendering)
	if err != nil {
		return nil, nil, err
	}
	var text strings.Builder
	for _, crd := range chart.CRDObjects() {
		fmt.Fprintf(&text, "---\n%s\n", crd.File.Data)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			fmt.Fprintf(&text, "---\n%s\n", files[name])
		}
	}
	rendered, err := objects(text.String())
	if err != nil {
		return nil, nil, err
	}
	for _, o := range rendered {
		switch {
		case o.GetAnnotations()["helm.sh/hook"] != "" || o.GetKind() == "ServiceMonitor" || o.GetKind() == "Certificate":
			continue
		case o.GetKind() == "Deployment":
			if args, err = gateArgs(o); err != nil {
				return nil, nil, err
			}
		}
		all = append(all, o)
	}
	return all, args, nil
}

// patient are the chart's values by which a machine that has much else to do makes no change one that could not be judged in time.
func patient() map[string]any { return map[string]any{"timeoutSeconds": 30, "budget": "25s"} }

// gateArgs are the arguments of the gate's container in its Deployment.
func gateArgs(o *unstructured.Unstructured) ([]string, error) {
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if len(containers) != 1 {
		return nil, fmt.Errorf("deployment %s: expected one container, found %d", o.GetName(), len(containers))
	}
	args, _, err := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	return args, err
}

// install puts the chart into the cluster: by Helm's library, or by the helm program.
func (w *World) install() error {
	if w.options.ByHelm {
		return w.installByHelm()
	}
	objects, args, err := w.renderChart()
	if err != nil {
		return err
	}
	w.gate.args = args
	return w.installChart(objects)
}

// installChart puts the chart's objects into the cluster. Of the webhook configuration only how the gate is reached is another: by
// its URL, as it runs outside.
func (w *World) installChart(all []*unstructured.Unstructured) error {
	// The webhook configuration comes last: from then on nothing gets in that the gate has not seen.
	slices.SortStableFunc(all, func(a, b *unstructured.Unstructured) int {
		return rank(a) - rank(b)
	})
	for _, o := range all {
		if o.GetKind() == "ValidatingWebhookConfiguration" {
			if err := w.reachByURL(o); err != nil {
				return err
			}
		}
		if err := w.cluster.applyObject(w.ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func rank(o *unstructured.Unstructured) int {
	switch o.GetKind() {
	case "CustomResourceDefinition":
		return 0
	case "ValidatingWebhookConfiguration":
		return 2
	}
	return 1
}

func (w *World) reachByURL(o *unstructured.Unstructured) error {
	hooks, _, err := unstructured.NestedSlice(o.Object, "webhooks")
	if err != nil {
		return err
	}
	for _, h := range hooks {
		hook := h.(map[string]any)
		to := map[string]any{"url": w.GateURL()}
		if old, _ := hook["clientConfig"].(map[string]any); old["caBundle"] != nil {
			to["caBundle"] = old["caBundle"]
		}
		hook["clientConfig"] = to
	}
	return unstructured.SetNestedSlice(o.Object, hooks, "webhooks")
}
