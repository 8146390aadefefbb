package desired

import (
	"errors"
	"path"
	"slices"

	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// render renders one unit.
func (b *build) render(d *declaration) *made {
	d.open()
	in := &reader{trees: b.trees, views: map[string]*tree.View{}, find: b.find, found: map[policies.Key][]byte{}}
	out, err := b.renderer.renderDeclaration(b.ctx, d, in)
	m := &made{unit: out.unit, needs: out.needs, result: &result{}}
	m.unit.Declared = d.position()
	fallback := orPosition(m.unit.Declared, m.unit.Path)
	m.problems = append(m.problems, out.problems...)
	for _, note := range out.notes {
		m.fail(note, fallback)
	}
	if err != nil {
		m.fail(err, fallback)
	} else {
		b.pack(d, out, in, m)
	}
	if b.from != nil {
		if old := b.from.results[d.id]; old != nil {
			m.share(old.result)
		}
	}
	m.inputs = in.inputs(d.object)
	m.owner = d.owner()
	b.renderer.label(m)
	return m
}

func orPosition(pos policies.Position, file string) policies.Position {
	if pos.File == "" {
		pos.File = file
	}
	return pos
}

// position is where the object that declares a unit is written.
func (d *declaration) position() policies.Position {
	d.open()
	if d.from == nil {
		return policies.Position{}
	}
	return d.from.Locate(policies.Path{"metadata", "name"}, policies.AtValue)
}

// pack makes entries of what a unit rendered.
func (b *build) pack(d *declaration, out *outcome, in *reader, m *made) {
	places := &places{ctx: b.ctx, in: in, source: m.unit.Source}
	for _, o := range out.objects {
		e, err := b.entry(o, out.namespace)
		if err != nil {
			rule, at := RuleNotConverted, places.find(o)
			if errors.Is(err, errNamespace) {
				rule = RuleNoNamespace
			}
			m.problems = append(m.problems, policies.Violation{Rule: rule, Message: err.Error(), Pos: policies.Position{File: at.file, Line: at.line, Column: at.column}})
			continue
		}
		e.place = places.find(o)
		m.entries = append(m.entries, e)
	}
}

func (b *build) entry(o rendered, namespace string) (*entry, error) {
	if _, err := normal(o.content); err != nil {
		return nil, err
	}
	object := policies.NewObject(o.content, policies.Origin{}, nil, nil)
	name := object.Name
	if prefix, _ := textAt(object, "metadata", "generateName"); name == "" && prefix != "" && o.hook {
		name = prefix + "*" // each time that the hook is made it gets another one
	}
	if object.Kind.Kind == "" || name == "" {
		return nil, errors.New("object has no kind or no name")
	}
	key := policies.Key{GroupKind: object.Kind.GroupKind(), Namespace: orElse(object.Namespace, namespace), Name: name}
	_, namespaced, known := b.renderer.o.Rules.Resource(noDefinitions, object.Kind)
	switch {
	case known && !namespaced:
		key.Namespace = ""
	case known && key.Namespace == "":
		return nil, errNamespace
	}
	e, err := newEntry(b.renderer.words, o.content, key, object.Kind)
	if err != nil {
		return nil, err
	}
	e.hook, e.keeps, e.opaque, e.loose = o.hook, o.keeps, o.opaque, !known
	return e, nil
}

// below lists the units that a unit declares.
func (b *build) below(d *declaration, m *made) []*declaration {
	if m.unit.Elsewhere != "" {
		return nil
	}
	var out []*declaration
	for _, e := range m.declarations() {
		out = append(out, &declaration{
			id: unitID{kind: e.key.Kind, namespace: e.key.Namespace, name: e.key.Name}, object: e.content, source: m.unit.Source, place: e.place,
			read: func() *policies.Object { return b.declaring(m, e) },
		})
	}
	return out
}

// declaring is the object of an entry that declares a unit.
func (b *build) declaring(m *made, e *entry) *policies.Object {
	content, err := e.words.Unpack(e.content)
	if err != nil {
		// The bytes were packed here, or their checksum was right. What cannot be read declares nothing that can be rendered.
		content = map[string]any{"apiVersion": e.kind.APIVersion(), "kind": e.kind.Kind}
	}
	o := policies.NewObject(content, b.renderer.origin(m.unit.Source, e.place), b.renderer.locator(m.unit.Source, e, content, m.files(m.unit.Source), m.owner, nil), nil)
	o.Namespace = e.key.Namespace
	return o
}

// self is the unit among those of a root that renders the root itself: what `flux bootstrap` makes.
func (b *build) self(d *declaration, m *made, below []*declaration) *declaration {
	if d.id.kind != "" {
		return nil
	}
	i := slices.IndexFunc(below, func(child *declaration) bool {
		if child.id.kind != kindKustomization.Kind {
			return false
		}
		child.open()
		p, _ := textAt(child.from, "spec", "path")
		return path.Clean("/"+p) == "/"+m.unit.Path
	})
	if i < 0 {
		return nil
	}
	return below[i]
}
