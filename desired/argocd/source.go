package argocd

import (
	"encoding/json"

	"sigs.k8s.io/kustomize/api/types"
)

// Source is where the manifests of an Application come from.
type Source struct {
	RepoURL        string           `json:"repoURL"`
	TargetRevision string           `json:"targetRevision"`
	Path           string           `json:"path"`
	Chart          string           `json:"chart"`
	Ref            string           `json:"ref"`
	Name           string           `json:"name"`
	Helm           *HelmSource      `json:"helm"`
	Kustomize      *KustomizeSource `json:"kustomize"`
	Directory      *DirectorySource `json:"directory"`
	Plugin         json.RawMessage  `json:"plugin"`
}

// DirectorySource are the options of a folder of plain manifests.
type DirectorySource struct {
	Recurse bool            `json:"recurse"`
	Include string          `json:"include"`
	Exclude string          `json:"exclude"`
	Jsonnet json.RawMessage `json:"jsonnet"`
}

// HelmSource are the options of a chart.
type HelmSource struct {
	ReleaseName             string          `json:"releaseName"`
	Namespace               string          `json:"namespace"`
	Values                  string          `json:"values"`
	ValuesObject            map[string]any  `json:"valuesObject"`
	ValueFiles              []string        `json:"valueFiles"`
	IgnoreMissingValueFiles bool            `json:"ignoreMissingValueFiles"`
	Parameters              []HelmParameter `json:"parameters"`
	FileParameters          []FileParameter `json:"fileParameters"`
	SkipCRDs                bool            `json:"skipCrds"`
	SkipTests               bool            `json:"skipTests"`
	SkipSchemaValidation    bool            `json:"skipSchemaValidation"`
	Version                 string          `json:"version"`
	KubeVersion             string          `json:"kubeVersion"`
	APIVersions             []string        `json:"apiVersions"`
}

// HelmParameter is a value by its path, as --set and --set-string take it.
type HelmParameter struct {
	Name        string `json:"name"`
	Value       string `json:"value"`
	ForceString bool   `json:"forceString"`
}

// FileParameter is a value that is the text of a file, as --set-file takes it.
type FileParameter struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// KustomizeSource are the options of a kustomization.
type KustomizeSource struct {
	NamePrefix              string            `json:"namePrefix"`
	NameSuffix              string            `json:"nameSuffix"`
	Namespace               string            `json:"namespace"`
	Images                  []string          `json:"images"`
	Replicas                []Replicas        `json:"replicas"`
	CommonLabels            map[string]string `json:"commonLabels"`
	CommonAnnotations       map[string]string `json:"commonAnnotations"`
	ForceCommonLabels       bool              `json:"forceCommonLabels"`
	ForceCommonAnnotations  bool              `json:"forceCommonAnnotations"`
	LabelWithoutSelector    bool              `json:"labelWithoutSelector"`
	LabelIncludeTemplates   bool              `json:"labelIncludeTemplates"`
	AnnotationsEnvsubst     bool              `json:"commonAnnotationsEnvsubst"`
	Patches                 []types.Patch     `json:"patches"`
	Components              []string          `json:"components"`
	IgnoreMissingComponents bool              `json:"ignoreMissingComponents"`
	KubeVersion             string            `json:"kubeVersion"`
	APIVersions             []string          `json:"apiVersions"`
	Version                 string            `json:"version"`
}

// Replicas sets the number of replicas of the objects of a name.
type Replicas struct {
	Name  string          `json:"name"`
	Count json.RawMessage `json:"count"` // a number or its text
}
