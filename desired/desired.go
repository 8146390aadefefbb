// Package desired says what a Git revision declares: which objects a reconciler that follows it will apply, each with the place
// in Git that says so. It reads Git and renders; it knows no cluster, no policy language and no door. Nothing that a repository
// holds is executed, and nothing outside the repository is read.
package desired

import (
	"gitgate.dev/gitgate/policies"
)

// Unit is what a reconciler applies as one: a folder of plain manifests, a Flux Kustomization or HelmRelease, an Argo CD
// Application.
type Unit struct {
	ID       UnitID
	Path     string // folder or chart in the repository that it renders; "" for one that renders none
	Declared policies.Position
	Prunes   bool // what it no longer declares is deleted by its reconciler
	Objects  []Declared
	Problems []policies.Violation // why it cannot be rendered, or not in full: its reconciler would fail too
	Opaque   []Opaque             // what only a network or a key could tell
}

// UnitID names a unit across revisions.
type UnitID struct {
	Source string // name of the source in gitgate.yaml
	Kind   UnitKind
	Object string // namespace/name of the Flux or Argo CD object that declares the unit; the folder of a plain unit
}

// UnitKind is the reconciler that applies a unit, and by which of its kinds.
type UnitKind string

const (
	Plain             UnitKind = "plain"              // the root folder of a source
	FluxKustomization UnitKind = "flux-kustomization" //
	FluxHelmRelease   UnitKind = "flux-helmrelease"
	ArgoApplication   UnitKind = "argocd-application"
)

// Declared is an object that a unit declares, as its reconciler will send it.
type Declared struct {
	Object *policies.Object // its Origin and Source point into the files that a person edits
	// Hook says that the reconciler makes the object for a moment and deletes it: a Helm hook, an Argo CD sync hook.
	Hook bool
	// OpaqueValues are fields whose values only a key or the cluster could tell: SOPS-encrypted ones, substitutions from a
	// Secret. That they are there is declared; their values are not known.
	OpaqueValues []policies.Path
}

// Opaque is something that a unit declares and that cannot be rendered offline. It is named, never guessed.
type Opaque struct {
	What   string // "chart podinfo from https://charts.example.com", "plugin cue"
	Reason string // what would be needed
	Pos    policies.Position
}
