package kustomize

import (
	"bytes"
	"context"
	"fmt"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Transform gives objects as a kustomization of them would, which has patches and images: what a post-renderer of Helm does. A
// patch that is read from a file finds none.
func Transform(ctx context.Context, objects []map[string]any, patches []types.Patch, images []types.Image) (out []map[string]any, err error) {
	const input = "input.yaml"
	var text bytes.Buffer
	for _, o := range objects {
		document, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("object cannot be written: %w", err)
		}
		text.WriteString("---\n")
		text.Write(document)
	}
	k, err := yaml.Marshal(types.Kustomization{
		TypeMeta:  types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources: []string{input}, Patches: patches, Images: images,
	})
	if err != nil {
		return nil, fmt.Errorf("patches cannot be written: %w", err)
	}
	files := filesys.MakeFsInMemory()
	for name, content := range map[string][]byte{input: text.Bytes(), "kustomization.yaml": k} {
		if err := files.WriteFile("/"+name, content); err != nil {
			return nil, fmt.Errorf("file %s: %w", name, err)
		}
	}
	building.Lock()
	defer building.Unlock()
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("kustomize gave up: %v", p)
		}
	}()
	built, err := krusty.MakeKustomizer(&krusty.Options{
		LoadRestrictions: types.LoadRestrictionsRootOnly, PluginConfig: types.DisabledPluginConfig(),
	}).Run(files, "/")
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("objects cannot be patched: %w", err)
	}
	for _, r := range built.Resources() {
		content, err := r.Map()
		if err != nil {
			return nil, fmt.Errorf("object %s: %w", r.CurId(), err)
		}
		out = append(out, decoded(content).(map[string]any))
	}
	return out, nil
}
