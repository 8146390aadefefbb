package gen

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// FluxURL is the address that the GitRepository of WriteFlux names.
const FluxURL = "https://git.example.com/platform/fleet.git"

// WriteFlux writes n manifests below dir as a repository that Flux follows: clusters/prod is the root, with one Kustomization for
// each of the units, whose manifests lie in a folder below apps, a file each. Every other unit has a kustomization of its own
// with labels and a patch.
func WriteFlux(dir string, n, units int) (Tree, error) {
	tree := Tree{Kinds: map[string]int{}}
	write := func(name, text string) error {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return fmt.Errorf("generated fleet: %w", err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return fmt.Errorf("generated fleet: %w", err)
		}
		tree.Files++
		tree.Bytes += int64(len(text))
		return nil
	}
	if err := write("clusters/prod/flux-system/gotk-sync.yaml", fluxSync); err != nil {
		return tree, err
	}
	resources := make([]strings.Builder, units)
	for m := range Manifests(n) {
		unit := tree.Manifests * units / n
		name := fmt.Sprintf("%04d-%s.yaml", tree.Manifests, strings.ToLower(m.Kind))
		if err := write(FluxUnit(unit)+"/"+name, m.Text); err != nil {
			return tree, err
		}
		fmt.Fprintf(&resources[unit], "  - %s\n", name)
		tree.Manifests++
		tree.Kinds[m.Kind]++
	}
	for unit := range units {
		text := fmt.Sprintf(fluxUnit, unit, FluxUnit(unit))
		if err := write(fmt.Sprintf("clusters/prod/unit-%04d.yaml", unit), text); err != nil {
			return tree, err
		}
		if unit%2 == 0 {
			text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n" + resources[unit].String() + fluxOverlay
			if err := write(FluxUnit(unit)+"/kustomization.yaml", text); err != nil {
				return tree, err
			}
		}
	}
	return tree, nil
}

// FluxUnit is the folder of a unit that WriteFlux writes.
func FluxUnit(unit int) string { return fmt.Sprintf("apps/unit-%04d", unit) }

const fluxSync = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: flux-system
  namespace: flux-system
spec:
  interval: 1m
  ref:
    branch: main
  url: ` + FluxURL + `
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: flux-system
  namespace: flux-system
spec:
  interval: 10m
  path: ./clusters/prod
  prune: true
  sourceRef:
    kind: GitRepository
    name: flux-system
`

const fluxUnit = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: unit-%04d
  namespace: flux-system
spec:
  interval: 10m
  path: ./%s
  prune: true
  sourceRef:
    kind: GitRepository
    name: flux-system
`

const fluxOverlay = `labels:
  - pairs:
      team: platform
patches:
  - target:
      kind: Deployment
    patch: |-
      - op: add
        path: /metadata/annotations/reviewed
        value: "yes"
`
