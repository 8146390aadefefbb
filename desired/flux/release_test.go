package flux_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired/flux"
	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

var charts = map[string]string{
	"charts/web/Chart.yaml":            "apiVersion: v2\nname: web\nversion: 1.0.0\n",
	"charts/web/values.yaml":           "size: small\nimage: registry.example.com/web:1\n",
	"charts/web/templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n  labels: {own: label}\ndata:\n  size: {{ .Values.size | quote }}\n  color: {{ .Values.color | default \"none\" | quote }}\n",
	"charts/web/templates/pod.yaml":    "apiVersion: v1\nkind: Pod\nmetadata: {name: pod}\nspec: {containers: [{name: a, image: \"{{ .Values.image }}\"}]}\n",
	"charts/web/templates/role.yaml":   "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: role}\n",
	"charts/web/templates/hook.yaml":   "apiVersion: batch/v1\nkind: Job\nmetadata: {name: hook, annotations: {helm.sh/hook: pre-install}}\n",
	"charts/web/templates/test.yaml":   "apiVersion: v1\nkind: Service\nmetadata: {name: test, annotations: {helm.sh/hook: test}}\n",
	"charts/web/crds/w.yaml":           "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: ws.example.com}\n",
	"values/eu.yaml":                   "size: large\n",
	"values/prod.yaml":                 "color: red\n",
	"outside.yaml":                     "size: outside\n",
}

var cluster = helm.Cluster{Kubernetes: "1.36", Namespaced: func(gvk policies.GroupVersionKind) (bool, bool) {
	return gvk.Kind != "ClusterRole" && gvk.Kind != "CustomResourceDefinition", true
}}

func parseRelease(t *testing.T, spec string) (*flux.HelmRelease, error) {
	t.Helper()
	if !strings.Contains(spec, "chart") {
		spec = "  chart: {spec: {chart: charts/web, sourceRef: {kind: GitRepository, name: fleet}}}\n" + spec
	}
	return flux.ParseHelmRelease(object(t, "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: shop}\nspec:\n"+spec))
}

func values(kind, namespace, name string) *policies.Object {
	data := map[string]any{"values.yaml": "size: from\ncolor: from\n", "port": "8080", "quoted": "\"8080\"", "bad": "a: b: c"}
	if kind == "HelmChart" {
		return policies.NewObject(map[string]any{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart", "spec": map[string]any{"chart": "charts/web", "sourceRef": map[string]any{"kind": "GitRepository", "name": "fleet"}}}, policies.Origin{}, nil, nil)
	}
	if kind != "ConfigMap" || namespace != "shop" || name != "values" {
		return nil
	}
	return policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": data}, policies.Origin{File: "values.yaml"}, nil, nil)
}

func TestAReleaseIsRenderedAsTheControllerInstallsIt(t *testing.T) {
	owner := func(annotations, name string) string {
		return fmt.Sprintf(`"annotations":{%s},"labels":{"app.kubernetes.io/managed-by":"Helm","helm.toolkit.fluxcd.io/name":"web","helm.toolkit.fluxcd.io/namespace":"shop"},"name":"%s"`, annotations, name)
	}
	helms := func(release, namespace string) string {
		return fmt.Sprintf(`"meta.helm.sh/release-name":"%s","meta.helm.sh/release-namespace":"%s"`, release, namespace)
	}
	v := view(t, charts)
	for _, c := range []struct{ name, spec, kind, want string }{
		{"labels and annotations", "", "ConfigMap", `{"annotations":{` + helms("web", "shop") + `},"labels":{"app.kubernetes.io/managed-by":"Helm","helm.toolkit.fluxcd.io/name":"web","helm.toolkit.fluxcd.io/namespace":"shop","own":"label"},"name":"web","namespace":"shop"}`},
		{"a cluster-wide object", "", "ClusterRole", `{` + owner(helms("web", "shop"), "role") + `}`},
		{"a hook has no marks of Helm", "", "Job", `{"annotations":{"helm.sh/hook":"pre-install"},"labels":{"helm.toolkit.fluxcd.io/name":"web","helm.toolkit.fluxcd.io/namespace":"shop"},"name":"hook","namespace":"shop"}`},
		{"hooks that are turned off", "  install: {disableHooks: true}\n", "Job", ""},
		{"a test", "", "Service", ""},
		{"a test that is run", "  test: {enable: true}\n", "Service", `"test"`},
		{"a CRD", "", "CustomResourceDefinition", `{"labels":{"helm.toolkit.fluxcd.io/name":"web","helm.toolkit.fluxcd.io/namespace":"shop"},"name":"ws.example.com"}`},
		{"CRDs that are skipped", "  install: {crds: Skip}\n", "CustomResourceDefinition", ""},
		{"CRDs on upgrade only", "  install: {crds: Skip}\n  upgrade: {crds: CreateReplace}\n", "CustomResourceDefinition", "ws.example.com"},
		{"another namespace", "  targetNamespace: other\n", "ConfigMap", `"name":"other-web","namespace":"other"`},
		{"a created namespace", "  targetNamespace: other\n  install: {createNamespace: true}\n", "Namespace", `{"labels":{"name":"other"},"name":"other"}`},
		{"a name of its own", "  releaseName: shop-web\n", "ConfigMap", `"name":"shop-web"`},
		{"a long name", "  releaseName: " + strings.Repeat("a", 60) + "\n", "ConfigMap", `"name":"` + strings.Repeat("a", 40) + `-11ee391211c6"`},
		{"values", "  values: {size: big}\n", "ConfigMap", `"data":{"color":"none","size":"big"}`},
		{"values of a ConfigMap under its own", "  valuesFrom: [{kind: ConfigMap, name: values}]\n  values: {size: own}\n", "ConfigMap", `"data":{"color":"from","size":"own"}`},
		{"one value of a ConfigMap", "  valuesFrom: [{kind: ConfigMap, name: values, valuesKey: port, targetPath: color}]\n", "ConfigMap", `"color":"8080"`},
		{"an optional key that is not there", "  valuesFrom: [{kind: ConfigMap, name: values, valuesKey: none, optional: true}]\n", "ConfigMap", `"color":"none"`},
		{"files of values", "  chart: {spec: {chart: ./charts/web, valuesFiles: [values/eu.yaml, values/none.yaml, values/prod.yaml], ignoreMissingValuesFiles: true, sourceRef: {kind: GitRepository, name: fleet}}}\n  values: {image: x}\n", "ConfigMap", `"data":{"color":"red","size":"large"}`},
		{"a HelmChart", "  chartRef: {kind: HelmChart, name: web}\n", "ConfigMap", `"size":"small"`},
		{"images", "  postRenderers: [{kustomize: {images: [{name: registry.example.com/web, newTag: \"2\"}]}}]\n", "Pod", `"image":"registry.example.com/web:2"`},
		{"patches", "  postRenderers: [{kustomize: {patches: [{target: {kind: Pod}, patch: \"- {op: add, path: /spec/hostNetwork, value: true}\"}]}}]\n", "Pod", `"hostNetwork":true`},
		{"common metadata", "  commonMetadata: {labels: {team: shop}, annotations: {a: b}}\n", "Job", `"annotations":{"a":"b","helm.sh/hook":"pre-install"},"labels":{"helm.toolkit.fluxcd.io/name":"web","helm.toolkit.fluxcd.io/namespace":"shop","team":"shop"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := parseRelease(t, c.spec)
			if err != nil {
				t.Fatal(err)
			}
			objects, notes, err := h.Render(t.Context(), v, values, cluster)
			if err != nil || len(notes) > 0 {
				t.Fatal(err, notes)
			}
			got, there := rendered(t, objects)[c.kind]
			if there != (c.want != "") || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestWhatIsWrongWithAReleaseIsToldAtItsPlace(t *testing.T) {
	v := view(t, charts)
	for _, c := range []struct {
		name, spec string
		opaque     bool
		want       string
	}{
		{"no chart", "  chartless: 1\n", false, "expected one of spec.chart and spec.chartRef"},
		{"a chart repository", "  chart: {spec: {chart: podinfo, sourceRef: {kind: HelmRepository, name: podinfo}}}\n", true, "chart podinfo of HelmRepository podinfo: it comes from a chart repository"},
		{"a registry", "  chartRef: {kind: OCIRepository, name: podinfo}\n", true, "flux.yaml:5:"},
		{"a bucket", "  chart: {spec: {chart: a, sourceRef: {kind: Bucket, name: b}}}\n", true, "it comes from a bucket"},
		{"another cluster", "  kubeConfig: {secretRef: {name: a}}\n", true, "installed into another cluster"},
		{"a Secret of values", "  valuesFrom: [{kind: Secret, name: a}]\n", true, "flux.yaml:6:"},
		{"a ConfigMap that Git does not declare", "  valuesFrom: [{kind: ConfigMap, name: a, optional: true}]\n", true, "Git does not declare it"},
		{"a key that is not there", "  valuesFrom: [{kind: ConfigMap, name: values, valuesKey: none}]\n", false, "has no key none"},
		{"values that are no YAML", "  valuesFrom: [{kind: ConfigMap, name: values, valuesKey: bad}]\n", false, "values.yaml: values cannot be read"},
		{"a chart that is not there", "  chart: {spec: {chart: charts/none, sourceRef: {kind: GitRepository, name: fleet}}}\n", false, "charts/none: chart is not in the repository"},
		{"a chart out of the repository", "  chart: {spec: {chart: ../../etc, sourceRef: {kind: GitRepository, name: fleet}}}\n", false, "leads out of the repository"},
		{"values out of the repository", "  chart: {spec: {chart: charts/web, valuesFiles: [../../etc/passwd], sourceRef: {kind: GitRepository, name: fleet}}}\n", false, "leads out of the repository"},
		{"a patch that does not fit", "  postRenderers: [{kustomize: {patches: [{target: {kind: Pod}, patch: \"- {op: remove, path: /spec/none}\"}]}}]\n", false, "flux.yaml:6:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := c.spec
			if c.name == "no chart" {
				spec = "  chart: null\n"
			}
			h, err := parseRelease(t, spec)
			if err == nil {
				_, _, err = h.Render(t.Context(), v, values, cluster)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			var opaque *kustomize.OpaqueError
			if errors.As(err, &opaque) != c.opaque {
				t.Errorf("opaque %v, want %v: %v", !c.opaque, c.opaque, err)
			}
		})
	}
}
