// Package kustomize builds a kustomization from the files of a Git revision, as kustomize does and as Flux's controller does to
// a folder that has none. It knows no unit, no reconciler's object and no cluster. Nothing outside the revision is read and no
// program is started: references to other machines, plugins and charts are refused before kustomize sees them.
package kustomize

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// Object is one object of a build, in the order in which kustomize gives them.
type Object struct {
	Content map[string]any
	Text    func() ([]byte, error) // Content as YAML, made when it is asked for: it costs as much as the build
	File    string                 // the file that the object was read or generated from; "" when kustomize does not say
	Written ID                     // how the object is named in File, before the kustomizations renamed it
}

// ID names an object as one file has it.
type ID struct{ Kind, Namespace, Name string }

// Build builds the kustomization in a folder of v. edit changes the root kustomization before it is built, as a reconciler adds
// what its own object asks for; nil for none. A folder without a kustomization is one of everything below it when generate is
// set (Flux), and an error otherwise. Errors are *policies.PositionError wherever the place is known; *OpaqueError says that the
// folder cannot be built without what the revision does not hold.
func Build(ctx context.Context, v *tree.View, folder string, generate bool, edit func(*types.Kustomization)) ([]Object, error) {
	asked := folder
	folder, err := v.Real(ctx, asked)
	if err != nil {
		return nil, policies.ErrorAt(policies.Position{File: asked}, fmt.Errorf("folder of the kustomization: %w", err))
	}
	root, file, err := find(ctx, v, folder, generate)
	if err != nil {
		return nil, err
	}
	f := &fence{ctx: ctx, view: v, seen: map[string]bool{}}
	if file != "" {
		if err := f.kustomization(folder); err != nil {
			return nil, err
		}
	} else {
		file = path.Join(folder, konfig.DefaultKustomizationFileName())
		for _, resource := range root.Resources {
			if v.IsDir(ctx, path.Join(folder, resource)) {
				if err := f.kustomization(path.Join(folder, resource)); err != nil {
					return nil, err
				}
			}
		}
	}
	if edit != nil {
		edit(root)
		for _, c := range root.Components {
			if err := f.component(folder, c); err != nil {
				return nil, err
			}
		}
	}
	keepOrigins := slices.Contains(root.BuildMetadata, types.OriginAnnotations)
	if !keepOrigins {
		root.BuildMetadata = append(root.BuildMetadata, types.OriginAnnotations)
	}
	text, err := yaml.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("kustomization %s: %w", file, err)
	}
	return run(ctx, v, folder, file, text, keepOrigins)
}

// building is held while kustomize runs: it keeps the OpenAPI schema that it merges by in a variable of its package.
var building sync.Mutex

func run(ctx context.Context, v *tree.View, folder, file string, text []byte, keepOrigins bool) (objects []Object, err error) {
	building.Lock()
	defer building.Unlock()
	defer func() {
		if p := recover(); p != nil {
			objects, err = nil, policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("kustomize gave up: %v", p))
		}
	}()
	fsys := &files{ctx: ctx, view: v, over: map[string][]byte{"/" + file: text}}
	built, err := krusty.MakeKustomizer(&krusty.Options{
		LoadRestrictions: types.LoadRestrictionsNone, // as Flux: a kustomization may read anything in its repository; files is the fence
		PluginConfig:     types.DisabledPluginConfig(),
	}).Run(fsys, "/"+folder)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("kustomization cannot be built: %w", err))
	}
	for _, r := range built.Resources() {
		o := Object{}
		origin, err := r.GetOrigin()
		if err != nil {
			return nil, fmt.Errorf("origin of %s: %w", r.CurId(), err)
		}
		if origin != nil {
			if o.File = path.Join(folder, origin.Path); origin.Path == "" && origin.ConfiguredIn != "" {
				o.File = path.Join(folder, origin.ConfiguredIn)
			}
		}
		if !keepOrigins {
			if err := r.SetOrigin(nil); err != nil {
				return nil, fmt.Errorf("origin of %s: %w", r.CurId(), err)
			}
		}
		written := r.OrgId()
		o.Written = ID{Kind: written.Kind, Namespace: written.Namespace, Name: written.Name}
		o.Text = r.AsYAML
		content, err := r.Map()
		if err != nil {
			return nil, fmt.Errorf("object %s: %w", r.CurId(), err)
		}
		o.Content = decoded(content).(map[string]any)
		objects = append(objects, o)
	}
	return objects, nil
}

// decoded gives a value as a manifest's is: whole numbers are int64, and kustomize has int.
func decoded(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case map[string]any:
		for key, x := range v {
			v[key] = decoded(x)
		}
	case []any:
		for i, x := range v {
			v[i] = decoded(x)
		}
	}
	return v
}

// find returns the kustomization of a folder and its file, "" when it was made up of what lies below.
func find(ctx context.Context, v *tree.View, folder string, generate bool) (*types.Kustomization, string, error) {
	file, err := fileOf(ctx, v, folder)
	if err != nil {
		return nil, "", err
	}
	if file != "" {
		k, err := read(ctx, v, file)
		return k, file, err
	}
	if !generate {
		return nil, "", policies.ErrorAt(policies.Position{File: folder}, fmt.Errorf("folder has no kustomization: expected one of %s", strings.Join(konfig.RecognizedKustomizationFileNames(), ", ")))
	}
	k := &types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
	if k.Resources, err = below(ctx, v, folder, ""); err != nil {
		return nil, "", err
	}
	if len(k.Resources) == 0 {
		k.Namespace = "_placeholder" // kustomize refuses a kustomization that says nothing
	}
	return k, "", nil
}

// fileOf returns the path of a folder's kustomization, "" when it has none.
func fileOf(ctx context.Context, v *tree.View, folder string) (string, error) {
	if !v.IsDir(ctx, folder) {
		return "", policies.ErrorAt(policies.Position{File: folder}, fmt.Errorf("folder is not in the repository"))
	}
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if p := path.Join(folder, name); v.Exists(ctx, p) && !v.IsDir(ctx, p) {
			return p, nil
		}
	}
	return "", nil
}

func read(ctx context.Context, v *tree.View, file string) (*types.Kustomization, error) {
	text, err := v.ReadFile(ctx, file)
	if err != nil {
		return nil, policies.ErrorAt(policies.Position{File: file}, err)
	}
	k := &types.Kustomization{}
	if err := k.Unmarshal(text); err != nil {
		return nil, policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("kustomization cannot be read: %w", err))
	}
	k.FixKustomization()
	return k, nil
}

// below lists what Flux's controller takes for the resources of a folder without a kustomization: every .yaml and .yml file, and
// every folder that has a kustomization of its own (fluxcd/pkg/kustomize, scanManifests).
func below(ctx context.Context, v *tree.View, folder, prefix string) ([]string, error) {
	entries, err := v.ReadDir(ctx, path.Join(folder, prefix))
	if err != nil {
		return nil, policies.ErrorAt(policies.Position{File: path.Join(folder, prefix)}, err)
	}
	var out []string
	for _, e := range entries {
		name := path.Join(prefix, e.Name)
		switch {
		case e.Broken != nil:
			return nil, policies.ErrorAt(policies.Position{File: path.Join(folder, name)}, e.Broken)
		case e.Folder:
			file, err := fileOf(ctx, v, path.Join(folder, name))
			if err != nil {
				return nil, err
			}
			if file != "" {
				out = append(out, name)
				continue
			}
			more, err := below(ctx, v, folder, name)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		case path.Ext(name) == ".yaml" || path.Ext(name) == ".yml":
			out = append(out, name)
		}
	}
	return out, nil
}
