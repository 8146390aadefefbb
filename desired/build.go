package desired

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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

	index    map[policies.Key]*entry // what the round before declared, but for what was taken over from the state before
	standing map[*made]bool          // what the round before took over; nil in the first round, when it may be all
	fresh    map[policies.Key]*entry // what this round has declared so far
	reached  []*made
	rootless map[string]bool // sources without a unit of their own
	listed   *keyList        // of a state that is read from the cache; nil for one that is made
	replaced []*made         // roots that a unit that they declare applies
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
	if e := b.index[key]; e != nil {
		return e
	}
	if b.from != nil {
		for _, h := range b.from.byKey.get(key) {
			if b.standing == nil || b.standing[h.made] {
				return h.entry
			}
		}
	}
	return nil
}

// old says whether what was made was taken over from the state before.
func (b *build) old(m *made) bool { return b.from != nil && b.from.made(m.unit.id()) == m }

// made is what a unit gave in a state: also that of a root whose place another unit takes.
func (s *State) made(id unitID) *made {
	if m := s.results[id]; m != nil {
		return m
	}
	for _, m := range s.replaced {
		if m.unit.id() == id {
			return m
		}
	}
	return nil
}

func (b *build) state() (*State, error) {
	var before []*made
	if b.from != nil {
		before = b.from.reached
	}
	b.rootless = b.renderer.rootless(before)
	for round := 0; ; round++ {
		if err := b.round(); err != nil {
			return nil, err
		}
		if now := b.renderer.rootless(b.reached); round < maxRounds && !maps.Equal(now, b.rootless) {
			b.rootless = now
			continue
		}
		b.index, b.standing = b.declares()
		b.fresh = nil
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

// declares is what the units that were rendered anew declare, the first of several, and which of the others are still there.
func (b *build) declares() (map[policies.Key]*entry, map[*made]bool) {
	index, standing := map[policies.Key]*entry{}, make(map[*made]bool, len(b.reached))
	for _, m := range b.reached {
		if b.old(m) {
			standing[m] = true
			continue
		}
		for _, e := range m.entries {
			if _, ok := index[e.key]; !ok {
				index[e.key] = e
			}
		}
	}
	return index, standing
}

// rootless are the sources whose roots are no units, because they are listed for what refers to them: they say so, or a unit that
// another source declares renders the root folder, or renders a part of a repository whose root is all of it. The first source has a
// root unless it says that it has none.
func (r *Renderer) rootless(reached []*made) map[string]bool {
	out := map[string]bool{}
	for _, s := range r.o.Sources {
		if s.Referenced {
			out[s.Name] = true
		}
	}
	for _, m := range reached {
		s := r.sources[m.unit.Source]
		if m.owner == nil || m.owner.source == s.Name || s.Name == r.o.Sources[0].Name || m.unit.Elsewhere != "" {
			continue
		}
		if s.Path == "" || s.Path == m.unit.Path {
			out[s.Name] = true
		}
	}
	return out
}

// round goes once from the roots to everything that is reached from them.
func (b *build) round() error {
	b.reached, b.replaced, b.fresh, b.problems = nil, nil, map[policies.Key]*entry{}, nil
	seen := map[unitID]bool{}
	var level []*declaration
	for _, s := range b.renderer.o.Sources {
		if b.rootless[s.Name] {
			continue
		}
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
				b.replaced = append(b.replaced, m)
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
	if b.old(m) {
		return // find finds it in the state before
	}
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
	m := b.from.made(d.id)
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

// finish makes the state of what was reached.
func (b *build) finish() (*State, error) {
	b.results = make(map[unitID]*made, len(b.reached))
	for _, m := range b.reached {
		b.results[m.unit.id()] = m
	}
	s := &State{
		renderer: b.renderer, trees: b.trees, results: b.results, reached: b.reached, replaced: b.replaced, problems: b.problems,
		byID: map[unitID]*Unit{}, definitions: map[policies.GroupKind]*entry{},
	}
	for _, m := range b.reached {
		u := m.unit
		u.result, u.state = m.result, s
		u.Problems, u.Opaque = slices.Clone(m.problems), m.opaque
		s.units = append(s.units, &u)
		s.byID[u.id()] = &u
	}
	slices.SortFunc(s.units, compareUnits)
	s.define(b.from)
	for _, m := range b.reached {
		u := s.byID[m.unit.id()]
		for _, n := range m.needs {
			if s.byID[n.id] == nil {
				u.Problems = append(u.Problems, policies.Violation{Rule: RuleDependency, Message: fmt.Sprintf("%s waits for %s %s/%s, which Git does not declare", u.String(), n.id.kind, n.id.namespace, n.id.name), Pos: n.pos})
			}
		}
	}
	s.hold(b.from, b.listed)
	s.cycles(b.reached)
	return s, nil
}

// hold notes which unit declares which object, starting from a state that knew most of it or from a list of all of them, and tells
// objects with several.
func (s *State) hold(from *State, listed *keyList) {
	if listed != nil {
		s.byKey, s.twice = newTable[holding](listed), listed.twice
	} else if from != nil && from.set == s.set {
		s.byKey, s.twice = from.byKey.copy(), maps.Clone(from.twice)
		for id, m := range from.results {
			if s.results[id] != m {
				s.each(m, s.drop)
			}
		}
		for _, m := range s.reached {
			if from.results[m.unit.id()] != m {
				s.each(m, s.add)
			}
		}
	} else {
		s.byKey, s.twice = newTable[holding](nil), map[policies.Key]bool{}
		for _, m := range s.reached {
			s.each(m, s.add)
		}
	}
	for key := range s.twice {
		owners := s.owners(key)
		for _, o := range owners[1:] {
			p := o.entry.place
			if k, _ := s.keys(o.entry); k != key {
				continue // told under its other key
			}
			o.unit.Problems = append(o.unit.Problems, policies.Violation{
				Rule:    RuleTwice,
				Message: fmt.Sprintf("%s of %s is declared by %s too (%s)", keyText(key), o.unit.String(), owners[0].unit.String(), placeText(s.renderer.origin(owners[0].unit.Source, owners[0].entry.place))),
				Pos:     policies.Position{File: s.renderer.labelled(o.unit.Source, p.file), Line: p.line, Column: p.column},
				Fix:     "let one unit declare it",
			})
		}
	}
}

// each visits the objects that a unit declares in the cluster of the sources, under each of their keys.
func (s *State) each(m *made, visit func(policies.Key, holding)) {
	if m.unit.Elsewhere != "" {
		return
	}
	for _, e := range m.all() {
		key, other := s.keys(e)
		visit(key, holding{m, e})
		if other != key {
			visit(other, holding{m, e})
		}
	}
}

func (s *State) add(key policies.Key, h holding) {
	held := append(slices.Clip(s.byKey.get(key)), h)
	if len(held) > 1 {
		s.twice[key] = true
		slices.SortStableFunc(held, func(a, b holding) int { return compareUnits(&a.made.unit, &b.made.unit) })
	}
	s.byKey.set(key, held)
}

func (s *State) drop(key policies.Key, h holding) {
	held := slices.DeleteFunc(slices.Clone(s.byKey.get(key)), func(o holding) bool { return o == h })
	if len(held) < 2 {
		delete(s.twice, key)
	}
	s.byKey.set(key, held)
}

func compareUnits(a, b *Unit) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Source, b.Source))
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

func placeText(o policies.Origin) string {
	if o.Line == 0 {
		return o.File
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
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
		for _, e := range u.result.definitions() {
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
