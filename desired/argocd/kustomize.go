package argocd

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

// kustomize builds a kustomization, changed as `kustomize edit` would (argo-cd, util/kustomize).
func (r *renderer) kustomize(folder string) ([]Object, error) {
	var failed error
	edit := func(*types.Kustomization) {}
	if o := r.source.Kustomize; o != nil {
		patches, err := r.patches(folder, o.Patches)
		if err != nil {
			return nil, err
		}
		edit = func(k *types.Kustomization) { failed = r.edit(folder, k, o, patches) }
	}
	built, err := kustomize.Build(r.ctx, r.view, folder, false, edit)
	if failed != nil {
		return nil, r.at(policies.Path{"kustomize"}, failed)
	}
	if err != nil {
		return nil, r.at(policies.Path{"kustomize"}, err)
	}
	objects := make([]Object, len(built))
	for i, b := range built {
		objects[i] = Object{Content: b.Content, Origin: policies.Origin{File: b.File}}
	}
	return objects, nil
}

// patches reads the patches that are files: kustomize itself would fetch an address.
func (r *renderer) patches(folder string, patches []types.Patch) ([]types.Patch, error) {
	out := slices.Clone(patches)
	for i, p := range out {
		if p.Path == "" {
			continue
		}
		field := policies.Path{"kustomize", "patches", i, "path"}
		if strings.Contains(p.Path, "://") || path.IsAbs(p.Path) {
			return nil, r.at(field, fmt.Errorf("patch %q: expected a path relative to the kustomization", p.Path))
		}
		text, err := r.view.ReadFile(r.ctx, path.Join(folder, p.Path))
		if err != nil {
			return nil, r.at(field, fmt.Errorf("patch %q: %w", p.Path, err))
		}
		out[i].Path, out[i].Patch = "", string(text)
	}
	return out, nil
}

func (r *renderer) edit(folder string, k *types.Kustomization, o *KustomizeSource, patches []types.Patch) error {
	if o.NamePrefix != "" {
		k.NamePrefix = o.NamePrefix
	}
	if o.NameSuffix != "" {
		k.NameSuffix = o.NameSuffix
	}
	if o.Namespace != "" {
		k.Namespace = o.Namespace
	}
	for _, text := range o.Images {
		image, err := parseImage(r.env(text))
		if err != nil {
			return err
		}
		k.Images = setImage(k.Images, image)
	}
	for _, replicas := range o.Replicas {
		count, err := strconv.ParseInt(strings.Trim(string(replicas.Count), `"`), 10, 32)
		if err != nil || count < 0 {
			return fmt.Errorf("replicas of %s: %s is no number", replicas.Name, replicas.Count)
		}
		set := types.Replica{Name: replicas.Name, Count: count}
		if at := slices.IndexFunc(k.Replicas, func(x types.Replica) bool { return x.Name == set.Name }); at >= 0 {
			k.Replicas[at] = set
		} else {
			k.Replicas = append(k.Replicas, set)
		}
	}
	if err := r.labels(k, o); err != nil {
		return err
	}
	annotations := o.CommonAnnotations
	if o.AnnotationsEnvsubst {
		annotations = r.envAll(annotations)
	}
	if err := add(&k.CommonAnnotations, annotations, o.ForceCommonAnnotations, "annotation"); err != nil {
		return err
	}
	k.Patches = append(k.Patches, patches...)
	for _, c := range o.Components {
		if o.IgnoreMissingComponents && !r.view.Exists(r.ctx, path.Join(folder, c)) {
			continue
		}
		k.Components = append(k.Components, c)
	}
	return nil
}

func (r *renderer) envAll(values map[string]string) map[string]string {
	out := make(map[string]string, len(values))
	for key, value := range values {
		out[key] = r.env(value)
	}
	return out
}

// labels adds labels to selectors too, unless it is told not to.
func (r *renderer) labels(k *types.Kustomization, o *KustomizeSource) error {
	values := r.envAll(o.CommonLabels)
	if len(values) == 0 {
		return nil
	}
	for key := range values {
		//lint:ignore SA1019 kustomize still reads the old field
		there := []map[string]string{k.CommonLabels}
		for _, l := range k.Labels {
			there = append(there, l.Pairs)
		}
		for _, pairs := range there {
			if _, ok := pairs[key]; !ok {
				continue
			}
			if !o.ForceCommonLabels {
				return fmt.Errorf("label %s is in the kustomization already (forceCommonLabels would replace it)", key)
			}
			delete(pairs, key)
		}
	}
	k.Labels = append(k.Labels, types.Label{Pairs: values, IncludeSelectors: !o.LabelWithoutSelector, IncludeTemplates: o.LabelIncludeTemplates})
	return nil
}

func add(to *map[string]string, values map[string]string, force bool, what string) error {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if _, there := (*to)[key]; there && !force {
			return fmt.Errorf("%s %s is in the kustomization already (the option force would replace it)", what, key)
		}
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[key] = values[key]
	}
	return nil
}

var tagPattern = regexp.MustCompile(`^(.*):([a-zA-Z0-9._-]*|\*)$`)

// parseImage reads NAME=NEWNAME:TAG@DIGEST and its shorter forms, as `kustomize edit set image` does.
func parseImage(text string) (types.Image, error) {
	name, rest, renamed := strings.Cut(text, "=")
	if !renamed {
		rest = text
	}
	image := types.Image{}
	rest, image.Digest, _ = strings.Cut(rest, "@")
	if m := tagPattern.FindStringSubmatch(rest); m != nil {
		rest, image.NewTag = m[1], m[2]
	}
	if image.Name = rest; renamed {
		image.Name, image.NewName = name, rest
	}
	if image.Name == "" || !renamed && image.NewTag == "" && image.Digest == "" {
		return image, fmt.Errorf("image %q: expected NAME=NEWNAME:TAG, NAME:TAG or NAME@DIGEST", text)
	}
	return image, nil
}

// setImage puts an image into those of a kustomization; what it does not say stays.
func setImage(images []types.Image, image types.Image) []types.Image {
	at := slices.IndexFunc(images, func(i types.Image) bool { return i.Name == image.Name })
	if at < 0 {
		return append(images, image)
	}
	old := images[at]
	if image.NewName == "" || image.NewName == "*" {
		image.NewName = old.NewName
	}
	if image.NewTag == "*" || image.NewTag == "" && image.Digest == "" {
		image.NewTag = old.NewTag
	}
	if image.Digest == "*" || image.NewTag == old.NewTag && image.Digest == "" {
		image.Digest = old.Digest
	}
	images[at] = image
	return images
}
