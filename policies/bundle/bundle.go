// Package bundle turns gitgate.yaml and the policy documents it names into one engine with one digest, the same at every door.
// It knows no kind of policy (they are handed in), no door, and no file system but the fs.FS it is given.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/policies"
)

// Kind is one kind of policy, as the program plugs it in.
type Kind struct {
	Name    string
	Compile policies.Compiler
	// Claims says whether a document of `policies:` belongs to the kind. A kind without Claims gets the documents of `schemas:`
	// and is compiled even when there are none.
	Claims func(policies.Document) bool
	// Beside says whether a document that no kind claims belongs to the documents that this kind has claimed: parameters, data.
	// It may be nil.
	Beside func(claimed []policies.Document, d policies.Document) bool
	// Also are names of policies that the kind has under other flags, so that an exemption from them is no mistake.
	Also []string
	// Ships says that the kind gets the documents of `library:`, and no others. It has no Claims.
	Ships bool
}

// Library is the policies that ship with the program, as `library:` names them.
type Library interface {
	// Names lists the policies and families there are.
	Names() []string
	// Policies returns the policies that a name stands for at a version of Kubernetes. It fails for a name or version that does
	// not exist.
	Policies(name, version string) ([]string, error)
	// Select returns their documents, and what these share. A file name is of one document, whatever was selected, unless it says
	// the version.
	Select(name, version string) ([]policies.Document, error)
	// HasVersions says whether what a name stands for depends on the version.
	HasVersions(name string) bool
}

// Host is what kinds may ask of the bundle while they compile.
type Host struct {
	Warn func(error)                       // tell the author of the configuration, at a place or without one
	Read func(name string) ([]byte, error) // a file of the bundle by its slash-separated path; the digest covers it then
}

// Options is the input of Load.
type Options struct {
	FS         fs.FS            // the folder of gitgate.yaml; symbolic links must not lead out of it (see os.Root)
	File       string           // gitgate.yaml in FS; "" when there is none: the schema alone
	Kubernetes string           // instead of what the file says; "" leaves it
	Build      string           // version of gitgate, part of the digest
	Now        func() time.Time // for exemptions; nil for the clock
	Library    Library          // what ships; nil for nothing
	// Kinds are the kinds of policy, as the configuration wants them. Its error is one of the configuration: see
	// Config.Position.
	Kinds func(*Config, Host) ([]Kind, error)
}

// Warning is something about the configuration that its author should know.
type Warning struct {
	Pos     policies.Position
	Message string
}

func (w Warning) String() string {
	return policies.ErrorAt(w.Pos, errors.New(w.Message)).Error()
}

// Bundle is compiled policies and the digest of what they were made of.
type Bundle struct {
	Config   *Config
	Engine   *policies.Engine
	Digest   string             // "sha256:…" over everything that was read and decides a verdict
	Warnings []Warning          // in the order of their positions
	Schemas  []*policies.Object // the manifests of `schemas:`: CustomResourceDefinitions that no change set has to bring
	Files    []string           // what was read, sorted: gitgate.yaml, policies, schemas
	// PolicyFiles are those of Files that hold policies, their data and JSON Schemas: they are about manifests and are none.
	PolicyFiles []string
}

// Load reads and compiles. Its error joins everything that is wrong, each with its place where there is one.
func Load(ctx context.Context, o Options) (*Bundle, error) {
	r := &reader{fsys: o.FS, files: map[string][]byte{}, config: o.File}
	config := &Config{}
	if o.File != "" {
		text, err := r.read(o.File, maxConfig)
		if err != nil {
			return nil, policies.ErrorAt(policies.Position{File: o.File}, err)
		}
		if config, err = Decode(o.File, text); err != nil {
			return nil, err
		}
	}
	if o.Kubernetes != "" {
		config.Kubernetes = o.Kubernetes
	}
	l := &loader{reader: r, config: config, item: map[string]int{}, shipped: shipped{library: o.Library}}
	kinds, err := o.Kinds(config, Host{Warn: l.warn, Read: l.readFor})
	if err != nil {
		return nil, err
	}
	l.kinds, l.claimed = kinds, make([][]policies.Document, len(kinds))
	l.readSchemas()
	l.readPolicies()
	all := l.compile(ctx)
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	exemptions, modes := l.exemptions(all, now()), l.modes(all)
	if len(l.errs) > 0 {
		return nil, joined(l.errs)
	}
	engine, err := policies.New(all, exemptions, now)
	if err != nil {
		return nil, err
	}
	if len(modes) > 0 {
		engine = engine.WithModes(modes)
	}
	l.unenforced()
	slices.SortStableFunc(l.warnings, func(a, b Warning) int { return comparePositions(a.Pos, b.Pos) })
	b := &Bundle{Config: config, Engine: engine, Warnings: l.warnings, Schemas: l.schemas, Digest: digest(r.files, l.shipped.texts, o.Build, config.Kubernetes)}
	for name := range r.files {
		b.Files = append(b.Files, name)
	}
	slices.Sort(b.Files)
	b.PolicyFiles = append(slices.Sorted(maps.Keys(l.item)), l.jsonSchemas...)
	return b, nil
}

type loader struct {
	*reader
	config   *Config
	kinds    []Kind
	claimed  [][]policies.Document // by kind
	item     map[string]int        // which item of `policies:` a file came with
	schemas  []*policies.Object
	warnings []Warning

	shipped     shipped
	jsonSchemas []string // files
	errs        []error
}

// readFor is Host.Read: it refuses names that lead out.
func (l *loader) readFor(name string) ([]byte, error) {
	local := localPath(name)
	if local == "" || l.fsys == nil {
		return nil, fmt.Errorf("%q leads out of the folder of %s", name, FileName)
	}
	text, err := l.read(local, maxFileSize)
	if err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	return text, nil
}

func (l *loader) warn(err error) {
	for _, e := range flattened(err) {
		var placed *policies.PositionError
		if errors.As(e, &placed) {
			l.warnings = append(l.warnings, Warning{placed.Pos, placed.Err.Error()})
		} else {
			l.warnings = append(l.warnings, Warning{policies.Position{File: l.config.File}, e.Error()})
		}
	}
}

func (l *loader) fail(pos policies.Position, err error) {
	l.errs = append(l.errs, policies.ErrorAt(pos, err))
}

// failPath is fail for a path that gitgate.yaml names: an error with a place of its own keeps it.
func (l *loader) failPath(pos policies.Position, name string, err error) {
	var placed *policies.PositionError
	if errors.As(err, &placed) {
		l.errs = append(l.errs, err)
		return
	}
	l.fail(pos, fmt.Errorf("%s %w", name, err))
}

func (l *loader) readSchemas() {
	to := slices.IndexFunc(l.kinds, func(k Kind) bool { return k.Claims == nil && !k.Ships })
	if to < 0 && len(l.config.Schemas) > 0 {
		l.fail(l.config.Position("schemas"), errors.New("schemas: no kind of policy takes them"))
		return
	}
	seen := map[string]bool{}
	for i, s := range l.config.Schemas {
		if s.JSONSchema != "" {
			pos, name := l.config.Position("schemas", i, "jsonSchema"), localPath(s.JSONSchema)
			text, err := l.read(name, maxFileSize)
			if err != nil {
				l.failPath(pos, s.JSONSchema, err)
				text = []byte("{}") // so that the kind does not say it again
			}
			if !seen[name] {
				seen[name] = true
				l.jsonSchemas = append(l.jsonSchemas, name)
				l.claimed[to] = append(l.claimed[to], policies.Document{File: name, Text: text})
			}
			continue
		}
		pos := l.config.Position("schemas", i, "path")
		files, err := l.list(localPath(s.Path))
		if err != nil {
			l.failPath(pos, s.Path, err)
			continue
		}
		for _, name := range files {
			if seen[name] {
				continue
			}
			seen[name] = true
			docs, err := l.documents(name)
			if err != nil {
				l.errs = append(l.errs, err)
			}
			for _, d := range docs {
				if d.Object == nil || d.Text != nil {
					l.fail(policies.Position{File: name}, errors.New("is no CustomResourceDefinition: expected only those under schemas[].path, and JSON Schemas under schemas[].jsonSchema"))
					continue
				}
				l.schemas = append(l.schemas, d.Object)
				l.claimed[to] = append(l.claimed[to], d)
			}
		}
	}
}

func (l *loader) readPolicies() {
	var unclaimed []policies.Document
	for i, s := range l.config.Policies {
		if s.Library != "" {
			l.ship(i, s)
			continue
		}
		pos := l.config.Position("policies", i, "path")
		files, err := l.list(localPath(s.Path))
		if err != nil {
			l.failPath(pos, s.Path, err)
			continue
		}
		for _, name := range files {
			if other, ok := l.item[name]; ok {
				l.fail(pos, fmt.Errorf("policies[%d].path: %s is read by policies[%d] already: let each file belong to one item", i, name, other))
				continue
			}
			l.item[name] = i
			docs, err := l.documents(name)
			if err != nil {
				l.errs = append(l.errs, err)
			}
			for _, d := range docs {
				if !l.claim(d) {
					unclaimed = append(unclaimed, d)
				}
			}
		}
	}
	for _, d := range unclaimed {
		if !l.claimBeside(d) {
			l.refuse(d)
		}
	}
}

func (l *loader) claim(d policies.Document) bool {
	for i, k := range l.kinds {
		if k.Claims != nil && k.Claims(d) {
			l.claimed[i] = append(l.claimed[i], d)
			return true
		}
	}
	return false
}

// claimBeside gives d to every kind that wants it beside its own: one ConfigMap can be data for two.
func (l *loader) claimBeside(d policies.Document) bool {
	found := false
	for i, k := range l.kinds {
		if k.Beside != nil && k.Beside(l.claimed[i], d) {
			l.claimed[i] = append(l.claimed[i], d)
			found = true
		}
	}
	return found
}

// foreign names policy languages that people have in their folders and this version does not judge by.
var foreign = map[string]string{
	"kyverno.io":                   "Kyverno",
	"policies.kyverno.io":          "Kyverno",
	"cli.kyverno.io":               "Kyverno CLI",
	"admissionregistration.k8s.io": "Kubernetes",
}

func (l *loader) refuse(d policies.Document) {
	var names []string
	for _, k := range l.kinds {
		if k.Claims != nil {
			names = append(names, k.Name)
		}
	}
	known := "none"
	if len(names) > 0 {
		known = strings.Join(names, ", ")
	}
	if d.Object == nil || d.Text != nil {
		l.fail(policies.Position{File: d.File}, fmt.Errorf("is no policy: expected a document of one of the kinds %s, or data beside them", known))
		return
	}
	pos := d.Object.Locate(policies.Path{"kind"}, policies.AtValue)
	kind := d.Object.Kind
	if owner, ok := foreign[kind.Group]; ok {
		l.fail(pos, fmt.Errorf("%s %s (%s) is not supported by this version: it judges by policies of the kinds %s", owner, kind.Kind, kind.APIVersion(), known))
		return
	}
	l.fail(pos, fmt.Errorf("%s (%s) is no policy that gitgate knows: expected one of the kinds %s", kind.Kind, kind.APIVersion(), known))
}

// compile makes the policies of every kind, with the actions that gitgate.yaml gives them, in a stable order.
func (l *loader) compile(ctx context.Context) []*policies.Policy {
	var all []*policies.Policy
	for i, k := range l.kinds {
		if (k.Claims != nil || k.Ships) && len(l.claimed[i]) == 0 {
			continue
		}
		told := len(l.warnings)
		compiled, err := k.Compile(ctx, l.claimed[i])
		if err != nil {
			l.errs = append(l.errs, flattened(err)...)
			continue
		}
		if k.Claims != nil && len(compiled) == 0 && len(l.warnings) == told {
			// A kind that knows why (they are of its language, and no validations) has said so.
			l.fail(policies.Position{File: path.Dir(l.claimed[i][0].File)}, fmt.Errorf("the documents of the kind %s hold no policy", k.Name))
		}
		for _, p := range compiled {
			if k.Ships {
				l.actShipped(p)
			} else {
				l.act(p)
			}
		}
		slices.SortStableFunc(compiled, func(a, b *policies.Policy) int { return strings.Compare(a.Name, b.Name) })
		all = append(all, compiled...)
	}
	return all
}

// act gives p the action of the item of gitgate.yaml that it came with. A policy that is written in files of several items has
// to be given one action by all: none of them may weaken what another has said.
func (l *loader) act(p *policies.Policy) {
	files := p.Files
	if len(files) == 0 {
		files = []string{p.Origin.File}
	}
	first := -1
	for _, file := range files {
		item, ok := l.item[file]
		switch {
		case !ok:
		case first < 0:
			first = item
		case !sameAction(l.config.Policies[first].Action, l.config.Policies[item].Action):
			l.fail(l.config.Position("policies", item), fmt.Errorf("policies[%d]: policy %s is written in files of policies[%d] too, which has another action: expected the same for the whole of a policy", item, p.Name, first))
			return
		}
	}
	if first >= 0 && l.config.Policies[first].Action != nil {
		p.Action = *l.config.Policies[first].Action
	}
}

func sameAction(a, b *policies.Action) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

// flattened is the errors that err joins, at any depth.
func flattened(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, flattened(e)...)
		}
		return out
	}
	return []error{err}
}

// unenforced says which parts of the configuration this version reads but cannot hold anybody to.
func (l *loader) unenforced() {
	if len(l.config.Images) > 0 {
		l.warnings = append(l.warnings, Warning{l.config.Position("images"), "images: not enforced by this version: no signature and no provenance is checked"})
	}
}
