// Package flux renders what Flux's controllers apply, from their objects and the files of a revision. It knows how those
// controllers build, substitute and label, and nothing of clusters, Argo CD or policies.
package flux

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// Kustomization is the part of kustomize.toolkit.fluxcd.io/v1 Kustomization that says what is applied.
type Kustomization struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Path            string          `json:"path"`
		Prune           bool            `json:"prune"`
		Suspend         bool            `json:"suspend"`
		DeletionPolicy  string          `json:"deletionPolicy"`     // what becomes of the objects when k is deleted: "" and MirrorPrune follow Prune
		ServiceAccount  string          `json:"serviceAccountName"` // whom the controller writes as; "" for itself
		KubeConfig      any             `json:"kubeConfig"`         // the cluster that it writes to; nil for its own
		TargetNamespace string          `json:"targetNamespace"`
		NamePrefix      string          `json:"namePrefix"`
		NameSuffix      string          `json:"nameSuffix"`
		Patches         []types.Patch   `json:"patches"`
		Images          []types.Image   `json:"images"`
		Components      []string        `json:"components"`
		IgnoreMissing   bool            `json:"ignoreMissingComponents"`
		SourceRef       Reference       `json:"sourceRef"`
		DependsOn       []Reference     `json:"dependsOn"`
		Decryption      *Decryption     `json:"decryption"`
		PostBuild       *PostBuild      `json:"postBuild"`
		CommonMetadata  *CommonMetadata `json:"commonMetadata"`
	} `json:"spec"`

	object *policies.Object
}

// Reference names another object; an empty namespace is that of the object that refers.
type Reference struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Optional  bool   `json:"optional"`
}

// Decryption says that files are encrypted.
type Decryption struct {
	Provider string `json:"provider"`
}

// PostBuild is the substitution of variables.
type PostBuild struct {
	Substitute     map[string]string `json:"substitute"`
	SubstituteFrom []Reference       `json:"substituteFrom"`
}

// CommonMetadata is put on every object.
type CommonMetadata struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Parse reads a Kustomization.
func Parse(o *policies.Object) (*Kustomization, error) {
	text, err := json.Marshal(o.Map())
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o, err)
	}
	k := &Kustomization{object: o}
	if err := json.Unmarshal(text, k); err != nil {
		return nil, policies.ErrorAt(o.Locate(policies.Path{"spec"}, policies.AtKey), fmt.Errorf("%s cannot be read: %w", o, err))
	}
	for i, p := range k.Spec.Patches {
		if p.Path != "" {
			return nil, k.at(policies.Path{"spec", "patches", i, "path"}, errors.New("patches of a Flux Kustomization are inline: expected patch, not path"))
		}
	}
	for i, c := range k.Spec.Components {
		if strings.HasPrefix(c, "/") || strings.Contains(c, "://") || strings.ContainsAny(c, "@?:") {
			return nil, k.at(policies.Path{"spec", "components", i}, fmt.Errorf("component %q: expected a relative path", c))
		}
	}
	return k, nil
}

func (k *Kustomization) at(field policies.Path, err error) error {
	return policies.ErrorAt(k.object.Locate(field, policies.AtValue), err)
}

// Object is one object as kustomize-controller applies it.
type Object struct {
	Content map[string]any
	File    string          // the file it was read or generated from
	Written kustomize.ID    // how it is named in File
	Opaque  []policies.Path // fields whose values only a key or the cluster could tell
	Source  policies.Source // finds its fields in File; nil when that is to be found out by its name
	Line    int             // the line of File that it begins on; 0 when that is not known
	Keeps   string          // why it is not deleted when it is no longer declared, beside what it says itself; "" for nothing
	Hook    bool            // made for a moment and deleted: a Helm hook
}

// Find returns the ConfigMap or Secret that Git declares under a namespace and name, nil when it declares none.
type Find func(kind, namespace, name string) *policies.Object

// Render gives the objects that the controller applies for k at a revision, in the order of the build. A *kustomize.OpaqueError
// says that it cannot be told from the revision alone.
func (k *Kustomization) Render(ctx context.Context, v *tree.View, find Find) ([]Object, error) {
	built, err := kustomize.Build(ctx, v, k.Spec.Path, true, func(root *types.Kustomization) { k.edit(ctx, v, root) })
	if err != nil {
		return nil, err
	}
	variables, err := k.variables(find)
	if err != nil {
		return nil, err
	}
	objects := make([]Object, 0, len(built))
	for _, b := range built {
		o := Object{Content: b.Content, File: b.File, Written: b.Written}
		if len(variables) > 0 {
			if o.Content, err = substitute(o.Content, b.Text, variables); err != nil {
				return nil, policies.ErrorAt(policies.Position{File: b.File}, err)
			}
		}
		if k.Spec.Decryption != nil {
			o.Opaque = decrypted(o.Content)
		}
		k.label(o.Content)
		objects = append(objects, o)
	}
	return objects, nil
}

// edit puts what k says on the kustomization that it builds (fluxcd/pkg/kustomize, Generator.GenerateManifest).
func (k *Kustomization) edit(ctx context.Context, v *tree.View, root *types.Kustomization) {
	s := &k.Spec
	if s.TargetNamespace != "" {
		root.Namespace = s.TargetNamespace
	}
	if s.NamePrefix != "" {
		root.NamePrefix = s.NamePrefix
	}
	if s.NameSuffix != "" {
		root.NameSuffix = s.NameSuffix
	}
	root.Patches = append(root.Patches, s.Patches...)
	for _, c := range s.Components {
		if s.IgnoreMissing && !v.Exists(ctx, s.Path+"/"+c) {
			continue
		}
		root.Components = append(root.Components, c)
	}
	for _, image := range s.Images {
		at := slices.IndexFunc(root.Images, func(i types.Image) bool { return i.Name == image.Name })
		if at < 0 {
			root.Images = append(root.Images, types.Image{Name: image.Name, NewName: image.NewName, NewTag: image.NewTag, Digest: image.Digest})
			continue
		}
		if image.NewName != "" {
			root.Images[at].NewName = image.NewName
		}
		if image.NewTag != "" || image.Digest != "" {
			root.Images[at].NewTag, root.Images[at].Digest = image.NewTag, image.Digest
		}
	}
}

// variables are those of substituteFrom in their order, and those of substitute over them.
func (k *Kustomization) variables(find Find) (map[string]string, error) {
	if k.Spec.PostBuild == nil {
		return nil, nil
	}
	vars := map[string]string{}
	for i, ref := range k.Spec.PostBuild.SubstituteFrom {
		field := policies.Path{"spec", "postBuild", "substituteFrom", i}
		o := find(ref.Kind, k.Metadata.Namespace, ref.Name)
		switch {
		case o == nil && ref.Optional:
			// Whether the cluster has it nobody can tell here: the controller may substitute what Git does not declare.
			return nil, k.at(field, &kustomize.OpaqueError{What: fmt.Sprintf("variables of the optional %s %s", ref.Kind, ref.Name), Reason: "Git does not declare it, and the cluster may have it"})
		case o == nil:
			return nil, k.at(field, &kustomize.OpaqueError{What: fmt.Sprintf("variables of %s %s", ref.Kind, ref.Name), Reason: "Git does not declare it"})
		case ref.Kind == "Secret":
			return nil, k.at(field, &kustomize.OpaqueError{What: fmt.Sprintf("variables of Secret %s", ref.Name), Reason: "values of Secrets are not read"})
		}
		data, _ := o.Map()["data"].(map[string]any)
		for name, value := range data {
			text, ok := value.(string)
			if !ok {
				return nil, k.at(field, fmt.Errorf("variable %s of ConfigMap %s is no text", name, ref.Name))
			}
			vars[name] = strings.ReplaceAll(text, "\n", "")
		}
	}
	for name, value := range k.Spec.PostBuild.Substitute {
		vars[name] = strings.ReplaceAll(value, "\n", "")
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !variablePattern.MatchString(name) {
			return nil, k.at(policies.Path{"spec", "postBuild"}, fmt.Errorf("variable %q: expected letters, digits and underscores", name))
		}
	}
	return vars, nil
}

var variablePattern = regexp.MustCompile(`^[_[:alpha:]][_[:alpha:][:digit:]]*$`)

const substituteKey = "kustomize.toolkit.fluxcd.io/substitute"

// substitute replaces ${variables} in an object's YAML, as kustomize-controller does (fluxcd/pkg/kustomize, SubstituteVariables).
func substitute(content map[string]any, yamlOf func() ([]byte, error), vars map[string]string) (map[string]any, error) {
	meta, _ := content["metadata"].(map[string]any)
	for _, field := range []string{"labels", "annotations"} {
		m, _ := meta[field].(map[string]any)
		if m[substituteKey] == "disabled" {
			return content, nil
		}
	}
	text, err := yamlOf()
	if err != nil {
		return nil, err
	}
	out, err := envsubst.Eval(string(text), func(name string) (string, bool) { return vars[name], true })
	if err != nil {
		return nil, fmt.Errorf("variables cannot be substituted: %w", err)
	}
	var replaced map[string]any
	if err := yaml.Unmarshal([]byte(out), &replaced); err != nil {
		return nil, fmt.Errorf("object is no YAML any more after its variables were substituted: %w", err)
	}
	return replaced, nil
}

// label puts the controller's owner labels and the common metadata on an object.
func (k *Kustomization) label(content map[string]any) {
	meta, _ := content["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		content["metadata"] = meta
	}
	set := func(field string, values map[string]string) {
		if len(values) == 0 {
			return
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
	if c := k.Spec.CommonMetadata; c != nil {
		set("labels", c.Labels)
		set("annotations", c.Annotations)
	}
	set("labels", map[string]string{
		"kustomize.toolkit.fluxcd.io/name":      k.Metadata.Name,
		"kustomize.toolkit.fluxcd.io/namespace": k.Metadata.Namespace,
	})
}

// decrypted takes what SOPS added to an object off it, and returns the fields whose values are encrypted.
func decrypted(content map[string]any) []policies.Path {
	if _, ok := content["sops"].(map[string]any); !ok {
		return nil
	}
	delete(content, "sops")
	return encrypted(content, nil)
}

func encrypted(v any, at policies.Path) []policies.Path {
	var out []policies.Path
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "ENC[") && strings.HasSuffix(v, "]") {
			out = append(out, at)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out = append(out, encrypted(v[key], at.Append(key))...)
		}
	case []any:
		for i, x := range v {
			out = append(out, encrypted(x, at.Append(i))...)
		}
	}
	return out
}
