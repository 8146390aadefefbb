package flux

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

// HelmRelease is the part of helm.toolkit.fluxcd.io/v2 HelmRelease that says what is applied.
type HelmRelease struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Chart            *ChartTemplate  `json:"chart"`
		ChartRef         *Reference      `json:"chartRef"`
		ReleaseName      string          `json:"releaseName"`
		TargetNamespace  string          `json:"targetNamespace"`
		StorageNamespace string          `json:"storageNamespace"`
		Suspend          bool            `json:"suspend"`
		Values           map[string]any  `json:"values"`
		ValuesFrom       []ValuesFrom    `json:"valuesFrom"`
		PostRenderers    []PostRenderer  `json:"postRenderers"`
		CommonMetadata   *CommonMetadata `json:"commonMetadata"`
		DependsOn        []Reference     `json:"dependsOn"`
		KubeConfig       map[string]any  `json:"kubeConfig"`
		Install          Action          `json:"install"`
		Upgrade          Action          `json:"upgrade"`
		Strategy         string          `json:"postRenderStrategy"`
		Test             struct {
			Enable bool `json:"enable"`
		} `json:"test"`
	} `json:"spec"`

	object *policies.Object
}

// ChartTemplate is the HelmChart that helm-controller makes of a HelmRelease.
type ChartTemplate struct {
	Spec ChartSpec `json:"spec"`
}

// ChartSpec is the part of source.toolkit.fluxcd.io/v1 HelmChart that says which chart it is.
type ChartSpec struct {
	Chart                    string    `json:"chart"`
	Version                  string    `json:"version"`
	SourceRef                Reference `json:"sourceRef"`
	ValuesFiles              []string  `json:"valuesFiles"`
	IgnoreMissingValuesFiles bool      `json:"ignoreMissingValuesFiles"`
}

// ValuesFrom names a ConfigMap or Secret that holds values.
type ValuesFrom struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	ValuesKey  string `json:"valuesKey"`
	TargetPath string `json:"targetPath"`
	Optional   bool   `json:"optional"`
	Literal    bool   `json:"literal"`
}

// PostRenderer changes what a chart rendered.
type PostRenderer struct {
	Kustomize *struct {
		Patches []types.Patch `json:"patches"`
		Images  []types.Image `json:"images"`
	} `json:"kustomize"`
}

// Action is what of spec.install and spec.upgrade says what is applied.
type Action struct {
	CRDs                    string `json:"crds"`
	DisableHooks            bool   `json:"disableHooks"`
	CreateNamespace         bool   `json:"createNamespace"`
	DisableSchemaValidation bool   `json:"disableSchemaValidation"`
}

// ParseHelmRelease reads a HelmRelease.
func ParseHelmRelease(o *policies.Object) (*HelmRelease, error) {
	text, err := json.Marshal(o.Map())
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o, err)
	}
	h := &HelmRelease{object: o}
	if err := json.Unmarshal(text, h); err != nil {
		return nil, policies.ErrorAt(o.Locate(policies.Path{"spec"}, policies.AtKey), fmt.Errorf("%s cannot be read: %w", o, err))
	}
	if (h.Spec.Chart == nil) == (h.Spec.ChartRef == nil) {
		return nil, h.at(policies.Path{"spec"}, fmt.Errorf("%s: expected one of spec.chart and spec.chartRef", o))
	}
	return h, nil
}

func (h *HelmRelease) at(field policies.Path, err error) error {
	return policies.ErrorAt(h.object.Locate(field, policies.AtValue), err)
}

// Chart says which chart is installed: its path in the GitRepository or Bucket of SourceRef, whose namespace is filled in.
// find also finds the HelmChart of a chartRef. A *kustomize.OpaqueError says that the chart comes from elsewhere.
func (h *HelmRelease) Chart(find Find) (ChartSpec, error) {
	field, spec, namespace := policies.Path{"spec", "chart", "spec", "sourceRef"}, ChartSpec{}, h.Metadata.Namespace
	if ref := h.Spec.ChartRef; ref != nil {
		field = policies.Path{"spec", "chartRef"}
		if ref.Namespace != "" {
			namespace = ref.Namespace
		}
		if ref.Kind != "HelmChart" {
			return ChartSpec{}, h.at(field, &kustomize.OpaqueError{What: fmt.Sprintf("chart of %s %s", ref.Kind, ref.Name), Reason: "it comes from a registry, not from Git"})
		}
		o := find("HelmChart", namespace, ref.Name)
		if o == nil {
			return ChartSpec{}, h.at(field, &kustomize.OpaqueError{What: fmt.Sprintf("chart of HelmChart %s", ref.Name), Reason: "Git does not declare it"})
		}
		text, err := json.Marshal(o.Map()["spec"])
		if err == nil {
			err = json.Unmarshal(text, &spec)
		}
		if err != nil {
			return ChartSpec{}, policies.ErrorAt(o.Locate(policies.Path{"spec"}, policies.AtKey), fmt.Errorf("%s cannot be read: %w", o, err))
		}
	} else {
		spec = h.Spec.Chart.Spec
	}
	if spec.SourceRef.Namespace == "" {
		spec.SourceRef.Namespace = namespace
	}
	switch spec.SourceRef.Kind {
	case "GitRepository":
	case "HelmRepository":
		return ChartSpec{}, h.at(field, &kustomize.OpaqueError{What: fmt.Sprintf("chart %s of HelmRepository %s", spec.Chart, spec.SourceRef.Name), Reason: "it comes from a chart repository, not from Git"})
	case "Bucket":
		return ChartSpec{}, h.at(field, &kustomize.OpaqueError{What: fmt.Sprintf("chart %s of Bucket %s", spec.Chart, spec.SourceRef.Name), Reason: "it comes from a bucket, not from Git"})
	default:
		return ChartSpec{}, h.at(field, fmt.Errorf("source of kind %q: expected GitRepository, HelmRepository or Bucket", spec.SourceRef.Kind))
	}
	if strings.TrimSpace(spec.Chart) == "" {
		return ChartSpec{}, h.at(field, errors.New("chart is not named: expected its path in the repository"))
	}
	return spec, nil
}
