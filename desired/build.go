package desired

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"
	"sync"

	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

const (
	maxUnits  = 20000 // of all sources together
	maxRounds = 8     // of rendering again what looked at objects that rendering changed
	maxLevels = 40    // units that declare units that declare …
)

// noDefinitions is a set without CustomResourceDefinitions: only the kinds that Kubernetes has are known with it.
var noDefinitions = policies.NewSet()

// build makes one state. Rendering goes from the roots to what they declare, and again as long as a unit looked at an object
// (variables, values, the address of a repository) that has become another one meanwhile.
type build struct {
	renderer *Renderer
	ctx      context.Context
	from     *State
	trees    map[string]*tree.Tree
	results  map[unitID]*made
	changed  map[string][]string // by source: the paths that are not what they are in from

	index    map[policies.Key]*entry // what the round before declared
	fresh    map[policies.Key]*entry // what this round has declared so far
	reached  []*made
	problems []policies.Violation
}

// made is a unit that was rendered.
type made struct {
	unit  Unit
	needs []need
	*result
}

func (b *build) find(key policies.Key) *entry {
	if e := b.fresh[key]; e != nil {
		return e
	}
	if b.index != nil {
		return b.index[key]
	}
	if b.from != nil {
		if owners := b.from.byKey[key]; len(owners) > 0 {
			return owners[0].entry
		}
	}
	return nil
}

func (b *build) state() (*State, error) {
	for round := 0; ; round++ {
		if err := b.round(); err != nil {
			return nil, err
		}
		b.index, b.fresh = b.declares(), nil
		if !slices.ContainsFunc(b.reached, func(m *made) bool { return !m.inputs.sameFound(b.find) }) {
			break
		}
		if round == maxRounds {
			for _, m := range b.reached {
				if !m.inputs.sameFound(b.find) {
					b.problems = append(b.problems, policies.Violation{Rule: RuleCycle, Message: fmt.Sprintf("%s needs objects that depend on what it renders itself", m.unit.String()), Pos: m.unit.Declared})
				}
			}
			break
		}
	}
	return b.finish()
}

// declares is what the units that were reached declare. The first of several wins.
func (b *build) declares() map[policies.Key]*entry {
	n := 0
	for _, m := range b.reached {
		n += len(m.entries)
	}
	index := make(map[policies.Key]*entry, n)
	for _, m := range b.reached {
		for _, e := range m.entries {
			if _, ok := index[e.key]; !ok {
				index[e.key] = e
			}
		}
	}
	return index
}

// round goes once from the roots to everything that is reached from them.
func (b *build) round() error {
	b.reached, b.fresh, b.problems = nil, map[policies.Key]*entry{}, nil
	seen := map[unitID]bool{}
	var level []*declaration
	for _, s := range b.renderer.o.Sources {
		level = append(level, &declaration{id: unitID{source: s.Name, name: b.renderer.sources[s.Name].Path}, source: s.Name})
	}
	for depth := 0; len(level) > 0; depth++ {
		var todo []*declaration
		for _, d := range level {
			if !seen[d.id] {
				seen[d.id] = true
				todo = append(todo, d)
			}
		}
		if len(seen) > maxUnits || depth > maxLevels {
			b.problems = append(b.problems, policies.Violation{Rule: RuleTooMany, Message: fmt.Sprintf("units are declared beyond %d units or %d levels, and not rendered", maxUnits, maxLevels), Pos: todo[0].position()})
			return nil
		}
		results, err := b.level(todo)
		if err != nil {
			return err
		}
		level = nil
		for i, m := range results {
			b.results[todo[i].id] = m
			more := b.below(todo[i], m)
			if self := b.self(todo[i], m, more); self != nil {
				// The root is applied by the unit that points at it, as after `flux bootstrap`.
				b.keep(m)
				level = append(level, self)
				continue
			}
			b.keep(m)
			b.reached = append(b.reached, m)
			level = append(level, more...)
		}
	}
	return nil
}

func (b *build) keep(m *made) {
	for _, e := range m.entries {
		if _, ok := b.fresh[e.key]; !ok {
			b.fresh[e.key] = e
		}
	}
}

// level renders units that do not depend on each other, as far as that is known.
func (b *build) level(todo []*declaration) ([]*made, error) {
	results := make([]*made, len(todo))
	var work []int
	for i, d := range todo {
		if m := b.known(d); m != nil {
			results[i] = m
		} else {
			work = append(work, i)
		}
	}
	workers := b.renderer.o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	queue := make(chan int)
	var wait sync.WaitGroup
	for range min(workers, len(work)) {
		wait.Go(func() {
			for i := range queue {
				results[i] = b.render(todo[i])
			}
		})
	}
	for _, i := range work {
		queue <- i
	}
	close(queue)
	wait.Wait()
	if b.ctx.Err() != nil {
		return nil, context.Cause(b.ctx)
	}
	return results, nil
}

// known is what was rendered from the same inputs before.
func (b *build) known(d *declaration) *made {
	if m := b.results[d.id]; m != nil && b.sameObjects(d, m.result) {
		return m // of the same trees
	}
	if b.from == nil {
		return nil
	}
	m := b.from.results[d.id]
	if m == nil || !b.sameObjects(d, m.result) {
		return nil
	}
	for source, asked := range m.inputs.asked {
		if t := b.trees[source]; t == nil || !t.SameWhere(b.ctx, asked, b.changed[source]) {
			return nil
		}
	}
	return m
}

func (b *build) sameObjects(d *declaration, r *result) bool {
	return string(r.inputs.object) == string(d.object) && r.inputs.sameFound(b.find)
}

// render renders one unit.
func (b *build) render(d *declaration) *made {
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
	m.inputs = in.inputs(d.object)
	var declared place
	if d.source == m.unit.Source {
		declared = d.place
	}
	m.layers = layersOf(m.inputs.asked[m.unit.Source], declared)
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
	if object.Kind.Kind == "" || object.Name == "" {
		return nil, errors.New("object has no kind or no name")
	}
	key := policies.Key{GroupKind: object.Kind.GroupKind(), Namespace: orElse(object.Namespace, namespace), Name: object.Name}
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
	e.hook, e.opaque, e.loose = o.hook, o.opaque, !known
	return e, nil
}

// below lists the units that a unit declares.
func (b *build) below(d *declaration, m *made) []*declaration {
	if m.unit.Elsewhere != "" {
		return nil
	}
	var out []*declaration
	for _, e := range m.entries {
		if !declaresUnit(e.key.GroupKind) {
			continue
		}
		content, err := e.words.Unpack(e.content)
		if err != nil {
			continue
		}
		o := policies.NewObject(content, e.place.origin(), b.renderer.locator(m.unit.Source, e, content, m.layers), nil)
		o.Namespace = e.key.Namespace
		out = append(out, &declaration{
			id: unitID{kind: e.key.Kind, namespace: e.key.Namespace, name: e.key.Name}, object: e.content, source: m.unit.Source, from: o, place: e.place,
		})
	}
	return out
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
		p, _ := textAt(child.from, "spec", "path")
		return path.Clean("/"+p) == "/"+m.unit.Path
	})
	if i < 0 {
		return nil
	}
	return below[i]
}

// finish makes the state of what was reached.
func (b *build) finish() (*State, error) {
	b.results = make(map[unitID]*made, len(b.reached))
	objects := 0
	for _, m := range b.reached {
		b.results[m.unit.id()] = m
		objects += len(m.entries)
	}
	s := &State{
		renderer: b.renderer, trees: b.trees, results: b.results, reached: b.reached, problems: b.problems,
		byID: map[unitID]*Unit{}, byKey: make(map[policies.Key][]owned, objects), definitions: map[policies.GroupKind]*entry{},
	}
	for _, m := range b.reached {
		u := m.unit
		u.result, u.state = m.result, s
		u.Problems, u.Opaque = slices.Clone(m.problems), m.opaque
		s.units = append(s.units, &u)
		s.byID[u.id()] = &u
	}
	slices.SortFunc(s.units, func(a, b *Unit) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Source, b.Source))
	})
	s.define(b.from)
	for _, m := range b.reached {
		u := s.byID[m.unit.id()]
		for _, n := range m.needs {
			if s.byID[n.id] == nil {
				u.Problems = append(u.Problems, policies.Violation{Rule: RuleDependency, Message: fmt.Sprintf("%s waits for %s %s/%s, which Git does not declare", u.String(), n.id.kind, n.id.namespace, n.id.name), Pos: n.pos})
			}
		}
		if u.Elsewhere != "" {
			continue
		}
		for _, e := range m.entries {
			s.own(u, e)
		}
	}
	s.cycles(b.reached)
	return s, nil
}

// own notes that a unit declares an object, and tells when another one does too.
func (s *State) own(u *Unit, e *entry) {
	key, other := s.keys(e)
	owners := s.byKey[key]
	if len(owners) > 0 {
		first := owners[0]
		u.Problems = append(u.Problems, policies.Violation{
			Rule:    RuleTwice,
			Message: fmt.Sprintf("%s of %s is declared by %s too (%s)", keyText(key), u.String(), first.unit.String(), placeText(first.entry.place)),
			Pos:     policies.Position{File: e.place.file, Line: e.place.line, Column: e.place.column},
			Fix:     "let one unit declare it",
		})
	}
	s.byKey[key] = append(owners, owned{u, e})
	if other != key {
		s.byKey[other] = append(s.byKey[other], owned{u, e})
	}
}

// keys are the keys of an entry. There are two of an object whose kind nothing defines: it is in a namespace or in none, and no
// kind is both.
func (s *State) keys(e *entry) (key, other policies.Key) {
	key = e.key
	if !e.loose {
		return key, key
	}
	_, namespaced, known := s.renderer.o.Rules.Resource(s.set, e.kind)
	other = key
	other.Namespace = ""
	switch {
	case known && namespaced:
		return key, key
	case known:
		return other, other
	}
	return key, other
}

func keyText(k policies.Key) string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

func placeText(p place) string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// cycles tells units that wait for each other.
func (s *State) cycles(reached []*made) {
	needs := map[unitID][]need{}
	for _, m := range reached {
		needs[m.unit.id()] = m.needs
	}
	done := map[unitID]int{} // 1 on the way, 2 done
	var visit func(id unitID)
	visit = func(id unitID) {
		done[id] = 1
		for _, n := range needs[id] {
			switch done[n.id] {
			case 0:
				visit(n.id)
			case 1:
				if u := s.byID[id]; u != nil && s.byID[n.id] != nil {
					u.Problems = append(u.Problems, policies.Violation{Rule: RuleCycle, Message: fmt.Sprintf("%s and %s wait for each other", u.String(), s.byID[n.id].String()), Pos: n.pos})
				}
			}
		}
		done[id] = 2
	}
	for _, m := range reached {
		if done[m.unit.id()] == 0 {
			visit(m.unit.id())
		}
	}
}

// define collects the CustomResourceDefinitions. The set of another state is taken over when it is the same.
func (s *State) define(from *State) {
	owners := map[policies.GroupKind]*Unit{}
	for _, u := range s.units {
		if u.Elsewhere != "" {
			continue
		}
		for _, e := range u.result.entries {
			if e.key.GroupKind != kindDefinition {
				continue
			}
			content, err := e.words.Unpack(e.content)
			if err != nil {
				continue
			}
			group, _ := policies.Lookup(content, policies.Path{"spec", "group"})
			kind, _ := policies.Lookup(content, policies.Path{"spec", "names", "kind"})
			g, _ := group.(string)
			k, _ := kind.(string)
			s.definitions[policies.GroupKind{Group: g, Kind: k}] = e
			owners[policies.GroupKind{Group: g, Kind: k}] = u
		}
	}
	if from != nil && sameDefinitions(s.definitions, from.definitions) {
		s.definitions, s.set = from.definitions, from.set
		return
	}
	var objects []*policies.Object
	for gk, e := range s.definitions {
		objects = append(objects, s.object(owners[gk], e))
	}
	s.set = policies.NewSet(objects...)
}

func sameDefinitions(a, b map[policies.GroupKind]*entry) bool {
	if len(a) != len(b) {
		return false
	}
	for gk, e := range a {
		if other := b[gk]; other == nil || string(other.content) != string(e.content) {
			return false
		}
	}
	return true
}
