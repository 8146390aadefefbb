package helm

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"helm.sh/helm/v4/pkg/chart/common"
	valuesutil "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

// MergeValues merges maps of values, the later over the earlier, as Helm does with files of values.
func MergeValues(dst, src map[string]any) map[string]any {
	out := make(map[string]any, len(dst)+len(src))
	for k, v := range dst {
		out[k] = v
	}
	for k, v := range src {
		if over, ok := v.(map[string]any); ok {
			if under, ok := out[k].(map[string]any); ok {
				out[k] = MergeValues(under, over)
				continue
			}
		}
		out[k] = v
	}
	return out
}

// ParseValues reads a file of values.
func ParseValues(text []byte) (map[string]any, error) {
	if len(text) > maxChartFile {
		return nil, fmt.Errorf("values have more than %d bytes", maxChartFile)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("values cannot be read: %w", err)
	}
	return values, nil
}

// decoded gives values as Helm decodes them: every number a float64, nothing shared.
func decoded(values map[string]any) (map[string]any, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	return out, nil
}

func table(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case common.Values:
		return v, true
	}
	return nil, false
}

// released is the state of a release that a template may ask for.
type released struct {
	upgrade  bool
	revision int
}

// prepare merges the values of a chart and of those in it with those of the release, and decides which of them are used.
func (c *Chart) prepare(ch *chart.Chart, r Release, state released) (common.Values, error) {
	values, err := decoded(r.Values)
	if err != nil {
		return nil, err
	}
	if err := c.vendored(ch); err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(ch, values); err != nil {
		return nil, policies.ErrorAt(policies.Position{File: c.path}, fmt.Errorf("dependencies of the chart: %w", err))
	}
	caps, err := capabilities(r)
	if err != nil {
		return nil, err
	}
	if want := ch.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, caps.KubeVersion.String()) {
		return nil, c.inChart("kubeVersion", fmt.Errorf("chart wants Kubernetes %s, and this is %s", want, caps.KubeVersion.String()))
	}
	if t := ch.Metadata.Type; t != "" && t != "application" {
		return nil, c.inChart("type", fmt.Errorf("chart is of type %s, which is not installed", t))
	}
	options := common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, Revision: state.revision, IsUpgrade: state.upgrade, IsInstall: !state.upgrade}
	merged, err := valuesutil.ToRenderValuesWithSchemaValidation(ch, values, options, caps, true)
	if err != nil {
		return nil, policies.ErrorAt(policies.Position{File: c.path}, fmt.Errorf("values of the chart: %w", err))
	}
	if !r.SkipSchema {
		used, _ := table(merged["Values"])
		if err := c.validate(ch, used); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// vendored says which dependency of a chart is not in the revision. Argo CD and Flux would fetch it.
func (c *Chart) vendored(ch *chart.Chart) error {
	for _, want := range ch.Metadata.Dependencies {
		if want == nil || slices.ContainsFunc(ch.Dependencies(), func(d *chart.Chart) bool { return d.Name() == want.Name }) {
			continue
		}
		what := "chart " + want.Name
		if want.Repository != "" {
			what += " of " + want.Repository
		}
		return c.inChart("dependencies", &kustomize.OpaqueError{What: what, Reason: "it is not in charts/ and would be fetched; expected it to lie in Git (helm dependency build)"})
	}
	return nil
}

var versionPattern = regexp.MustCompile(`^v?[0-9]+\.[0-9]+`)

func capabilities(r Release) (*common.Capabilities, error) {
	version := r.Cluster.Kubernetes
	if !versionPattern.MatchString(version) {
		return nil, fmt.Errorf("version of Kubernetes %q: expected one like 1.36", version)
	}
	if len(versionPattern.FindString(version)) == len(version) {
		version += ".0"
	}
	kube, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, fmt.Errorf("version of Kubernetes %q: %w", version, err)
	}
	caps := common.DefaultCapabilities.Copy()
	caps.KubeVersion = *kube
	versions := served()
	if !r.Live {
		versions = append(versions, common.DefaultVersionSet...) // `helm template` knows those of client-go beside what it is told
	}
	caps.APIVersions = append(versions, r.Cluster.APIVersions...)
	return caps, nil
}

// servedGroups are the API versions that Kubernetes 1.34 to 1.37 serves by default.
var servedGroups = []string{
	"v1", "admissionregistration.k8s.io/v1", "apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1", "apps/v1", "authentication.k8s.io/v1",
	"authorization.k8s.io/v1", "autoscaling/v1", "autoscaling/v2", "batch/v1", "certificates.k8s.io/v1", "coordination.k8s.io/v1",
	"discovery.k8s.io/v1", "events.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1", "networking.k8s.io/v1", "node.k8s.io/v1", "policy/v1",
	"rbac.authorization.k8s.io/v1", "resource.k8s.io/v1", "scheduling.k8s.io/v1", "storage.k8s.io/v1",
}

// served are servedGroups and their kinds, as discovery names them to Helm.
func served() common.VersionSet {
	out := slices.Clone(common.VersionSet(servedGroups))
	for gvk := range scheme.Scheme.AllKnownTypes() {
		if gv := gvk.GroupVersion().String(); slices.Contains(servedGroups, gv) {
			out = append(out, gv+"/"+gvk.Kind)
		}
	}
	slices.Sort(out)
	return out
}

// inChart says where in Chart.yaml an error is.
func (c *Chart) inChart(key string, err error) error {
	f, _ := c.find("Chart.yaml")
	return policies.ErrorAt(keyPosition(f, key), err)
}

// keyPosition finds a key of the first level in a file of YAML.
func keyPosition(f file, key string) policies.Position {
	pos := policies.Position{File: f.path}
	if f.archive {
		return pos
	}
	if at := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + `\s*:`).FindIndex(f.data); at != nil {
		return positionIn(f.path, f.data, at[0])
	}
	return pos
}

var yamlLine = regexp.MustCompile(`line ([0-9]+)`)

// yamlPosition reads the line out of an error of the YAML library.
func yamlPosition(file string, err error) policies.Position {
	pos := policies.Position{File: file}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		pos.Line, _ = strconv.Atoi(m[1])
	}
	return pos
}

// ReplaceValues makes values the chart's own, as if they stood in its values.yaml. path is the file that messages name, written
// where the values stand, those that were merged last coming last.
func (c *Chart) ReplaceValues(values map[string]any, path string, written []Written) error {
	text, err := yaml.Marshal(values)
	if err != nil {
		return fmt.Errorf("values: %w", err)
	}
	c.files = slices.DeleteFunc(slices.Clone(c.files), func(f file) bool { return f.name == "values.yaml" })
	c.files, c.replaced = append(c.files, file{name: "values.yaml", data: text, path: path}), written
	return nil
}

// Default puts a namespace on an object that lives in one and names none, and takes it off one that lives in none. An object of a
// kind that nobody knows is left as it is: its CustomResourceDefinition would say.
func (c Cluster) Default(content map[string]any, namespace string) {
	apiVersion, _ := content["apiVersion"].(string)
	group, version := policies.ParseAPIVersion(apiVersion)
	kind, _ := content["kind"].(string)
	if c.Namespaced == nil {
		return
	}
	namespaced, known := c.Namespaced(policies.GroupVersionKind{Group: group, Version: version, Kind: kind})
	if !known {
		return
	}
	meta, ok := content["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		content["metadata"] = meta
	}
	if !namespaced {
		delete(meta, "namespace")
	} else if written, _ := meta["namespace"].(string); written == "" && namespace != "" {
		meta["namespace"] = namespace
	}
}
