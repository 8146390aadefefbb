package desired

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"gitgate.dev/gitgate/policies"
)

// finish makes the state of what was reached.
func (b *build) finish() (*State, error) {
	b.results = make(map[unitID]*made, len(b.reached))
	for _, m := range b.reached {
		b.results[m.unit.id()] = m
	}
	s := &State{
		renderer: b.renderer, trees: b.trees, results: b.results, reached: b.reached, replaced: b.replaced, problems: b.problems,
		byID: map[unitID]*Unit{}, definitions: map[policies.GroupKind]*entry{}, foreign: map[policies.GroupKind]bool{},
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
			gk := policies.GroupKind{Group: g, Kind: k}
			foreign := s.renderer.foreign(u, "")
			if owners[gk] != nil && foreign && !s.foreign[gk] {
				continue
			}
			s.definitions[gk], s.foreign[gk], owners[gk] = e, foreign, u
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

// Definitions are the CustomResourceDefinitions, one for each kind, and beside them those that tenants alone declare: what a cluster has
// goes before these.
func (s *State) Definitions() (own, foreign []*policies.Object) {
	for gk, o := range s.definitions {
		for _, d := range s.set.Of(kindDefinition) {
			if d.Name != o.key.Name {
				continue
			}
			if s.foreign[gk] {
				foreign = append(foreign, d)
			} else {
				own = append(own, d)
			}
		}
	}
	return own, foreign
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
