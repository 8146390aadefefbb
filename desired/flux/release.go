package flux

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/kustomize/api/types"

	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// Render gives the objects that helm-controller applies for h: v is the revision that has the chart. A *kustomize.OpaqueError
// says that they cannot be told from the revision alone; notes name what only a cluster could tell of the others.
func (h *HelmRelease) Render(ctx context.Context, v *tree.View, find Find, cluster helm.Cluster) (objects []Object, notes []*kustomize.OpaqueError, err error) {
	spec := &h.Spec
	if len(spec.KubeConfig) > 0 {
		return nil, nil, h.at(policies.Path{"spec", "kubeConfig"}, &kustomize.OpaqueError{What: "HelmRelease " + h.Metadata.Name, Reason: "it is installed into another cluster"})
	}
	source, err := h.Chart(find)
	if err != nil {
		return nil, nil, err
	}
	chart, err := helm.Load(ctx, v, source.Chart)
	if err != nil {
		return nil, nil, err
	}
	if err := source.values(ctx, v, chart); err != nil {
		return nil, nil, err
	}
	values, written, err := h.values(find)
	if err != nil {
		return nil, nil, err
	}
	r := helm.Release{
		Name: h.ReleaseName(), Namespace: h.ReleaseNamespace(), Values: values, Written: written, Cluster: cluster, Live: true,
		CRDs:       !skipped(spec.Install.CRDs, "Create") || !skipped(spec.Upgrade.CRDs, "Skip"),
		SkipTests:  !spec.Test.Enable,
		SkipSchema: spec.Install.DisableSchemaValidation && spec.Upgrade.DisableSchemaValidation,
	}
	result, err := chart.Render(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	notes = result.Opaque
	var patched, crds []Object
	for _, o := range result.Objects {
		object := Object{Content: o.Content, File: o.Origin.File, Line: o.Origin.Line, Source: o.Source, Opaque: o.Opaque, Hook: len(o.Hooks) > 0}
		switch {
		case object.Hook && h.drops(o.Hooks):
		case o.CRD:
			object.Keeps = "Helm deletes no CustomResourceDefinition of crds/"
			crds = append(crds, object)
		default:
			patched = append(patched, object)
		}
	}
	if patched, err = h.postRender(ctx, patched); err != nil {
		return nil, nil, err
	}
	if spec.Install.CreateNamespace && r.Namespace != h.Metadata.Namespace {
		objects = append(objects, h.namespace(r.Namespace))
	}
	for _, o := range crds {
		h.origin(o.Content)
		objects = append(objects, o)
	}
	for _, o := range patched {
		if c := spec.CommonMetadata; c != nil {
			put(o.Content, "labels", c.Labels)
			put(o.Content, "annotations", c.Annotations)
		}
		h.origin(o.Content)
		if !o.Hook {
			put(o.Content, "labels", map[string]string{"app.kubernetes.io/managed-by": "Helm"})
			put(o.Content, "annotations", map[string]string{"meta.helm.sh/release-name": r.Name, "meta.helm.sh/release-namespace": r.Namespace})
		}
		cluster.Default(o.Content, r.Namespace)
		objects = append(objects, o)
	}
	return objects, notes, nil
}

// skipped says whether a policy of CRDs is Skip.
func skipped(policy, without string) bool {
	if policy == "" {
		policy = without
	}
	return policy == "Skip"
}

// ReleaseNamespace is where the release is installed.
func (h *HelmRelease) ReleaseNamespace() string {
	if h.Spec.TargetNamespace != "" {
		return h.Spec.TargetNamespace
	}
	return h.Metadata.Namespace
}

// maxReleaseName is Helm's.
const maxReleaseName = 53

// ReleaseName is the name of the release in Helm (fluxcd/helm-controller, GetReleaseName and ShortenName).
func (h *HelmRelease) ReleaseName() string {
	name := h.Metadata.Name
	switch {
	case h.Spec.ReleaseName != "":
		name = h.Spec.ReleaseName
	case h.Spec.TargetNamespace != "":
		name = h.Spec.TargetNamespace + "-" + name
	}
	if len(name) <= maxReleaseName {
		return name
	}
	const digest = 12
	sum := sha256.Sum256([]byte(name))
	return name[:maxReleaseName-digest-1] + "-" + hex.EncodeToString(sum[:])[:digest]
}

// drops says whether h turns a hook off.
func (h *HelmRelease) drops(hooks []string) bool {
	return !slices.ContainsFunc(hooks, func(event string) bool {
		switch event {
		case "pre-install", "post-install":
			return !h.Spec.Install.DisableHooks
		case "pre-upgrade", "post-upgrade":
			return !h.Spec.Upgrade.DisableHooks
		}
		return true
	})
}

// values makes the files of values that a HelmChart names those of the chart (fluxcd/source-controller): they take the place of
// its values.yaml.
func (s ChartSpec) values(ctx context.Context, v *tree.View, chart *helm.Chart) error {
	if len(s.ValuesFiles) == 0 {
		return nil
	}
	merged, found, written := map[string]any{}, "", []helm.Written(nil)
	for _, file := range s.ValuesFiles {
		text, err := v.ReadFile(ctx, file)
		if errors.Is(err, fs.ErrNotExist) && s.IgnoreMissingValuesFiles {
			continue
		}
		if err != nil {
			return policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("file of values: %w", err))
		}
		values, err := helm.ParseValues(text)
		if err != nil {
			return policies.ErrorAt(policies.Position{File: file}, err)
		}
		merged, found = helm.MergeValues(merged, values), file
		written = append(written, helm.InFile(file, text, string(v.Commit())))
	}
	if found == "" {
		return nil
	}
	return chart.ReplaceValues(merged, found, written)
}

// values are those of valuesFrom in their order, and those of values over them (fluxcd/pkg/chartutil).
func (h *HelmRelease) values(find Find) (merged map[string]any, written []helm.Written, err error) {
	merged = map[string]any{}
	for i, ref := range h.Spec.ValuesFrom {
		field := policies.Path{"spec", "valuesFrom", i}
		what := fmt.Sprintf("values of %s %s", ref.Kind, ref.Name)
		if ref.Kind == "Secret" {
			return nil, nil, h.at(field, &kustomize.OpaqueError{What: what, Reason: "values of Secrets are not read"})
		}
		if ref.Kind != "ConfigMap" {
			return nil, nil, h.at(field, fmt.Errorf("values of kind %q: expected ConfigMap or Secret", ref.Kind))
		}
		o := find(ref.Kind, h.Metadata.Namespace, ref.Name)
		if o == nil {
			return nil, nil, h.at(field, &kustomize.OpaqueError{What: what, Reason: "Git does not declare it"})
		}
		key := ref.ValuesKey
		if key == "" {
			key = "values.yaml"
		}
		value, ok := policies.Lookup(o.Map(), policies.Path{"data", key})
		text, isText := value.(string)
		switch {
		case !ok && ref.Optional:
			continue
		case !ok:
			return nil, nil, h.at(field, fmt.Errorf("%s has no key %s", o, key))
		case !isText:
			return nil, nil, policies.ErrorAt(o.Locate(policies.Path{"data", key}, policies.AtValue), fmt.Errorf("value %s of %s is no text", key, o))
		}
		if ref.TargetPath != "" {
			err = setPath(merged, ref, text)
			written = append(written, helm.InParameter(o, policies.Path{"data", key}, ref.TargetPath))
		} else {
			written = append(written, helm.InText(o, policies.Path{"data", key}, text))
			var values map[string]any
			if values, err = helm.ParseValues([]byte(text)); err == nil {
				merged = helm.MergeValues(merged, values)
			}
		}
		if err != nil {
			return nil, nil, policies.ErrorAt(o.Locate(policies.Path{"data", key}, policies.AtValue), err)
		}
	}
	written = append(written, helm.InObject(h.object, policies.Path{"spec", "values"}))
	return helm.MergeValues(merged, h.Spec.Values), written, nil
}

// setPath sets one value as `helm --set` does; a value in quotes is a text.
func setPath(values map[string]any, ref ValuesFrom, text string) error {
	set := strvals.ParseInto
	for _, quote := range []string{"'", `"`} {
		if len(text) > 1 && strings.HasPrefix(text, quote) && strings.HasSuffix(text, quote) {
			text, set = strings.Trim(text, quote), strvals.ParseIntoString
		}
	}
	if ref.Literal {
		set = strvals.ParseLiteralInto
	}
	if err := set(ref.TargetPath+"="+text, values); err != nil {
		return fmt.Errorf("value at %s cannot be set: %w", ref.TargetPath, err)
	}
	return nil
}

// postRender applies the patches and images of h. Helm gives hooks to post-renderers too, unless it is told not to.
func (h *HelmRelease) postRender(ctx context.Context, objects []Object) ([]Object, error) {
	for i, p := range h.Spec.PostRenderers {
		if p.Kustomize == nil {
			continue
		}
		var kept, given []Object
		for _, o := range objects {
			if o.Hook && h.Spec.Strategy == "nohooks" {
				kept = append(kept, o)
			} else {
				given = append(given, o)
			}
		}
		changed, err := transform(ctx, given, p.Kustomize.Patches, p.Kustomize.Images)
		if err != nil {
			return nil, h.at(policies.Path{"spec", "postRenderers", i}, err)
		}
		objects = append(kept, changed...)
	}
	return objects, nil
}

func transform(ctx context.Context, objects []Object, patches []types.Patch, images []types.Image) ([]Object, error) {
	if len(objects) == 0 {
		return nil, nil
	}
	contents, byName := make([]map[string]any, len(objects)), map[string]Object{}
	for i, o := range objects {
		contents[i] = o.Content
		byName[identity(o.Content)] = o
	}
	changed, err := kustomize.Transform(ctx, contents, patches, images)
	if err != nil {
		return nil, err
	}
	out := make([]Object, len(changed))
	for i, content := range changed {
		o := byName[identity(content)] // a patch that renames leaves no place
		o.Content = content
		out[i] = o
	}
	return out, nil
}

func identity(content map[string]any) string {
	meta, _ := content["metadata"].(map[string]any)
	return fmt.Sprint(content["apiVersion"], "\x00", content["kind"], "\x00", meta["namespace"], "\x00", meta["name"])
}

// origin puts the labels of helm-controller on an object.
func (h *HelmRelease) origin(content map[string]any) {
	put(content, "labels", map[string]string{
		"helm.toolkit.fluxcd.io/name":      h.Metadata.Name,
		"helm.toolkit.fluxcd.io/namespace": h.Metadata.Namespace,
	})
}

// namespace is what Helm makes when it is told to create the release's namespace.
func (h *HelmRelease) namespace(name string) Object {
	return Object{
		Content: map[string]any{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": name, "labels": map[string]any{"name": name}},
		},
		File: h.object.Origin.File, Line: h.object.Origin.Line,
	}
}

// put sets labels or annotations of an object.
func put(content map[string]any, field string, values map[string]string) {
	if len(values) == 0 {
		return
	}
	meta, _ := content["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		content["metadata"] = meta
	}
	m, _ := meta[field].(map[string]any)
	if m == nil {
		m = map[string]any{}
		meta[field] = m
	}
	for key, value := range values {
		m[key] = value
	}
}
