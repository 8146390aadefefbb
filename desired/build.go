package desired

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
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

	index    map[policies.Key]ranked // what the round before declared, but for what was taken over from the state before
	standing map[*made]bool          // what the round before took over; nil in the first round, when it may be all
	fresh    map[policies.Key]ranked // what this round has declared so far
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

// ranked is an entry, and whether a unit declares it that is foreign to its namespace.
type ranked struct {
	*entry
	foreign bool
}

// foreign says whether what a unit declares in a namespace, "" for none, is in another one than those of who applies it: the service account
// of a tenant. That it may write there, only the cluster's permissions say, and mostly it may not. So what it declares there takes nobody's
// place who is at home. Accounts of a reconciler's own namespace are at home everywhere.
func (r *Renderer) foreign(u *Unit, namespace string) bool {
	home, _, named := strings.Cut(u.ServiceAccount, ":")
	return named && home != namespace && home != r.o.FluxNamespace && home != r.o.ArgoCDNamespace
}

// put adds an entry of a unit, the first of several.
func (b *build) put(to map[policies.Key]ranked, u *Unit, e *entry) {
	foreign := b.renderer.foreign(u, e.key.Namespace)
	if had, ok := to[e.key]; !ok || had.foreign && !foreign {
		to[e.key] = ranked{e, foreign}
	}
}

func (b *build) find(key policies.Key) *entry {
	var other *entry
	for _, e := range []ranked{b.fresh[key], b.index[key]} {
		if e.entry != nil && !e.foreign {
			return e.entry
		}
		if other == nil {
			other = e.entry
		}
	}
	if b.from != nil {
		for _, h := range b.from.byKey.get(key) {
			if b.standing != nil && !b.standing[h.made] {
				continue
			}
			if !b.renderer.foreign(&h.made.unit, key.Namespace) {
				return h.entry
			}
			if other == nil {
				other = h.entry
			}
		}
	}
	return other
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
func (b *build) declares() (map[policies.Key]ranked, map[*made]bool) {
	index, standing := map[policies.Key]ranked{}, make(map[*made]bool, len(b.reached))
	for _, m := range b.reached {
		if b.old(m) {
			standing[m] = true
			continue
		}
		for _, e := range m.entries {
			b.put(index, &m.unit, e)
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
	b.reached, b.replaced, b.fresh, b.problems = nil, nil, map[policies.Key]ranked{}, nil
	seen := map[unitID]bool{}
	// What is declared by who is foreign comes when all else is there: the first of several declarations of a unit counts.
	var level, foreign []*declaration
	for _, s := range b.renderer.o.Sources {
		if b.rootless[s.Name] {
			continue
		}
		level = append(level, &declaration{id: unitID{source: s.Name, name: b.renderer.sources[s.Name].Path}, source: s.Name})
	}
	for depth := 0; len(level)+len(foreign) > 0; depth++ {
		if len(level) == 0 {
			level, foreign = foreign, nil
		}
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
			for _, below := range more {
				if b.renderer.foreign(&m.unit, below.id.namespace) {
					foreign = append(foreign, below)
				} else {
					level = append(level, below)
				}
			}
		}
	}
	return nil
}

func (b *build) keep(m *made) {
	if b.old(m) {
		return // find finds it in the state before
	}
	for _, e := range m.entries {
		b.put(b.fresh, &m.unit, e)
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
