package kustomize

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// OpaqueError says that something cannot be rendered from the revision alone.
type OpaqueError struct {
	What   string // "base https://example.com/x"
	Reason string
}

func (e *OpaqueError) Error() string { return e.What + ": " + e.Reason }

// fence looks at every kustomization of a build before kustomize does. kustomize itself would fetch an address and clone a
// repository wherever a path is expected, so every such place is named here, and what is no plain path is refused.
type fence struct {
	ctx  context.Context
	view *tree.View
	seen map[string]bool
}

// maxKustomizations bounds the kustomizations of one build.
const maxKustomizations = 1000

func (f *fence) kustomization(folder string) error {
	folder = path.Clean(folder)
	if f.seen[folder] {
		return nil // a cycle is kustomize's to tell
	}
	if f.seen[folder] = true; len(f.seen) > maxKustomizations {
		return fmt.Errorf("kustomization %s: the build has more than %d kustomizations", folder, maxKustomizations)
	}
	file, err := fileOf(f.ctx, f.view, folder)
	if err != nil {
		return err
	}
	if file == "" {
		return policies.ErrorAt(policies.Position{File: folder}, errors.New("folder has no kustomization.yaml, and is used as one"))
	}
	k, err := read(f.ctx, f.view, file)
	if err != nil {
		return err
	}
	if len(k.HelmCharts) > 0 || len(k.HelmChartInflationGenerator) > 0 {
		return f.at(file, policies.Path{"helmCharts"}, &OpaqueError{"helmCharts", "kustomize would start the helm program"})
	}
	places := []struct {
		field string
		paths []string
		visit func(string) error
	}{
		{"resources", k.Resources, func(p string) error { return f.resource(folder, p) }},
		{"components", k.Components, func(p string) error { return f.component(folder, p) }},
		{"crds", k.Crds, func(p string) error { return f.file(folder, p) }},
		{"configurations", k.Configurations, func(p string) error { return f.file(folder, p) }},
		{"generators", k.Generators, func(p string) error { return f.plugin(folder, p) }},
		{"transformers", k.Transformers, func(p string) error { return f.plugin(folder, p) }},
		{"validators", k.Validators, func(p string) error { return f.plugin(folder, p) }},
	}
	for _, place := range places {
		for i, p := range place.paths {
			if err := place.visit(p); err != nil {
				return f.at(file, policies.Path{place.field, i}, err)
			}
		}
	}
	if p := k.OpenAPI["path"]; p != "" {
		if err := f.file(folder, p); err != nil {
			return f.at(file, policies.Path{"openapi", "path"}, err)
		}
	}
	//lint:ignore SA1019 kustomize still reads the old fields, so what they name has to be looked at
	for field, patches := range map[string][]types.Patch{"patches": k.Patches, "patchesJson6902": k.PatchesJson6902} {
		for i, p := range patches {
			if p.Path != "" {
				if err := f.file(folder, p.Path); err != nil {
					return f.at(file, policies.Path{field, i, "path"}, err)
				}
			}
		}
	}
	//lint:ignore SA1019 as above
	for i, p := range k.PatchesStrategicMerge {
		if !strings.Contains(string(p), "\n") && !strings.HasPrefix(string(p), "{") {
			if err := f.file(folder, string(p)); err != nil {
				return f.at(file, policies.Path{"patchesStrategicMerge", i}, err)
			}
		}
	}
	for i, r := range k.Replacements {
		if r.Path != "" {
			if err := f.file(folder, r.Path); err != nil {
				return f.at(file, policies.Path{"replacements", i, "path"}, err)
			}
		}
	}
	for i, g := range k.ConfigMapGenerator {
		if err := f.sources(folder, g.KvPairSources); err != nil {
			return f.at(file, policies.Path{"configMapGenerator", i}, err)
		}
	}
	for i, g := range k.SecretGenerator {
		if err := f.sources(folder, g.KvPairSources); err != nil {
			return f.at(file, policies.Path{"secretGenerator", i}, err)
		}
	}
	return nil
}

// resource checks one entry of resources: a file, or a folder with a kustomization.
func (f *fence) resource(folder, p string) error {
	if err := f.plain(folder, p); err != nil {
		return err
	}
	if f.view.IsDir(f.ctx, path.Join(folder, p)) {
		return f.kustomization(path.Join(folder, p))
	}
	return nil
}

func (f *fence) component(folder, p string) error {
	if err := f.plain(folder, p); err != nil {
		return err
	}
	return f.kustomization(path.Join(folder, p))
}

func (f *fence) file(folder, p string) error { return f.plain(folder, p) }

func (f *fence) sources(folder string, s types.KvPairSources) error {
	for _, source := range append(append([]string{s.EnvSource}, s.EnvSources...), s.FileSources...) {
		if _, p, named := strings.Cut(source, "="); named {
			source = p
		}
		if source == "" {
			continue
		}
		if err := f.plain(folder, source); err != nil {
			return err
		}
	}
	return nil
}

// plugin checks the configuration of a builtin transformer or generator, inline or in a file. It may name paths in fields of
// its own, so nothing in it may look like an address.
func (f *fence) plugin(folder, p string) error {
	text := []byte(p)
	if !strings.Contains(p, "\n") {
		if err := f.plain(folder, p); err != nil {
			return err
		}
		at := path.Join(folder, p)
		if f.view.IsDir(f.ctx, at) {
			return f.kustomization(at)
		}
		var err error
		if text, err = f.view.ReadFile(f.ctx, at); err != nil {
			return err
		}
	}
	for document := range strings.SplitSeq(string(text), "\n---") {
		var content any
		if err := yaml.Unmarshal([]byte(document), &content); err != nil {
			return err
		}
		if address := findAddress(content); address != "" {
			return &OpaqueError{fmt.Sprintf("plugin configuration with the address %q", address), "kustomize would fetch it"}
		}
	}
	return nil
}

func findAddress(v any) string {
	switch v := v.(type) {
	case string:
		// A text of several words is an address only when it says so: patches and messages have colons too.
		if remote(v) && (strings.Contains(v, "://") || !strings.ContainsAny(v, " \t\n")) {
			return v
		}
	case map[string]any:
		for _, x := range v {
			if a := findAddress(x); a != "" {
				return a
			}
		}
	case []any:
		for _, x := range v {
			if a := findAddress(x); a != "" {
				return a
			}
		}
	}
	return ""
}

// plain says what is wrong with a path: it names another machine, or nothing in the repository.
func (f *fence) plain(folder, p string) error {
	if remote(p) {
		return &OpaqueError{fmt.Sprintf("%q", p), "names another machine; expected a path in the repository (copy the base into it)"}
	}
	if path.IsAbs(p) {
		return fmt.Errorf("%q is an absolute path: expected one relative to the kustomization", p)
	}
	_, err := f.view.Real(f.ctx, path.Join(folder, p))
	switch {
	case errors.Is(err, tree.ErrOutside):
		return fmt.Errorf("%q leads out of the repository", p)
	case err != nil:
		return fmt.Errorf("%q is not in the repository: %w", p, err)
	}
	return nil
}

var remotePattern = regexp.MustCompile(`(?i)://|::|^[^/]*@|^[^/]*:|\?|//|\.git(/|$)|_git(/|$)|^(www\.)?(github|gitlab|bitbucket)\.|^gh:`)

// remote says whether kustomize could take a text for an address (api/internal/git/repospec.go, api/internal/loader). It says so
// of more than kustomize does.
func remote(p string) bool { return remotePattern.MatchString(p) }

// at says where in a kustomization an error is.
func (f *fence) at(file string, field policies.Path, err error) error {
	var placed *policies.PositionError
	if errors.As(err, &placed) {
		return err
	}
	return policies.ErrorAt(f.locate(file, field), err)
}

const header = "apiVersion: " + types.KustomizationVersion + "\nkind: " + types.KustomizationKind + "\n"

func (f *fence) locate(file string, field policies.Path) policies.Position {
	text, err := f.view.ReadFile(f.ctx, file)
	if err != nil {
		return policies.Position{File: file}
	}
	if objects, _ := manifest.Decode(file, text, manifest.DefaultLimits()); len(objects) == 1 {
		return objects[0].Locate(field, policies.AtValue)
	}
	// A kustomization may leave out what every manifest has.
	objects, _ := manifest.Decode(file, append([]byte(header), text...), manifest.DefaultLimits())
	if len(objects) != 1 {
		return policies.Position{File: file}
	}
	pos := objects[0].Locate(field, policies.AtValue)
	pos.Line = max(1, pos.Line-2)
	return pos
}
