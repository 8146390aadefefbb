package desired

import (
	"bytes"
	"errors"
	"slices"
	"sync"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// result is what rendering one unit gave, and what it depended on: with the same inputs it would be given again.
type result struct {
	inputs   inputs
	entries  []*entry // to be asked for by all: those of a cached result are read when somebody wants them
	kept     *kept    // nil for a result that was rendered by this process
	problems []policies.Violation
	opaque   []Opaque
	owner    *owner // what declares the unit; nil for the root of a source

	layered sync.Once
	layers  map[string]git.Hash // by files

	special sync.Once
	units   []*entry // of the entries, those that declare units
	crds    []*entry // and those that are CustomResourceDefinitions

	again     sync.Once
	templates map[string]policies.Source // by identity; made when a place in a template is asked for
}

// share takes over what another rendering of the unit made of the objects that are still the same: their contents, and how the API
// server stores them.
func (r *result) share(old *result) {
	known := make(map[policies.Key]*entry, old.size())
	for _, e := range old.all() {
		known[e.key] = e
	}
	for _, e := range r.entries {
		if o := known[e.key]; o != nil && bytes.Equal(o.content, e.content) {
			e.content = o.content
			e.stored.Store(o.stored.Load())
		}
	}
}

// all lists what the unit declares.
func (r *result) all() []*entry {
	if r.kept != nil {
		r.kept.once.Do(func() { r.entries = r.kept.read() })
	}
	return r.entries
}

// size is how many objects the unit declares.
func (r *result) size() int {
	if r.kept != nil {
		return r.kept.count
	}
	return len(r.entries)
}

// has says whether the unit may declare an object of a kind that wanted says so of.
func (r *result) has(wanted func(policies.GroupKind) bool) bool {
	return r.kept == nil || slices.ContainsFunc(r.kept.kinds, wanted)
}

// files are those of the unit's source that may say something of its objects.
func (r *result) files(source string) map[string]git.Hash {
	r.layered.Do(func() {
		if asked := r.inputs.asked[source]; asked != nil {
			r.layers = layersOf(asked.All())
		}
	})
	return r.layers
}

// special says whether an object of a kind says something of others.
func special(gk policies.GroupKind) bool { return declaresUnit(gk) || gk == kindDefinition }

// sort finds the entries that say something of others.
func (r *result) sort() {
	r.special.Do(func() {
		if !r.has(special) {
			return
		}
		for _, e := range r.all() {
			if declaresUnit(e.key.GroupKind) {
				r.units = append(r.units, e)
			}
			if e.key.GroupKind == kindDefinition {
				r.crds = append(r.crds, e)
			}
		}
	})
}

// declarations are the entries that declare units.
func (r *result) declarations() []*entry {
	r.sort()
	return r.units
}

// definitions are the entries that are CustomResourceDefinitions.
func (r *result) definitions() []*entry {
	r.sort()
	return r.crds
}

// inputs is everything that the rendering of a unit looked at.
type inputs struct {
	object []byte                  // packed content of the object that declares the unit; nil for a root
	asked  map[string]tree.Answers // source -> what was asked of its files
	found  map[policies.Key][]byte // declared objects that were looked up -> their essence, nil for none
}

// same says whether the objects that were looked up are still what they were.
func (in *inputs) sameFound(find func(policies.Key) *entry) bool {
	for key, was := range in.found {
		e := find(key)
		if (e == nil) != (was == nil) || e != nil && !bytes.Equal(e.essence(), was) {
			return false
		}
	}
	return true
}

// fail notes why a unit cannot be rendered: as opaque when it is nobody's mistake.
func (r *result) fail(err error, fallback policies.Position) {
	pos := fallback
	var placed *policies.PositionError
	if errors.As(err, &placed) {
		pos, err = placed.Pos, placed.Err
	}
	var opaque *kustomize.OpaqueError
	if errors.As(err, &opaque) {
		r.opaque = append(r.opaque, Opaque{What: opaque.What, Reason: opaque.Reason, Pos: pos})
		return
	}
	r.problems = append(r.problems, policies.Violation{Rule: RuleNotRendered, Message: err.Error(), Pos: pos})
}

// reader gives a unit's rendering the files of the sources, and notes what it asks.
type reader struct {
	trees map[string]*tree.Tree
	views map[string]*tree.View
	find  func(policies.Key) *entry
	found map[policies.Key][]byte
}

func (r *reader) view(source string) *tree.View {
	v := r.views[source]
	if v == nil {
		v = r.trees[source].View()
		r.views[source] = v
	}
	return v
}

// lookup is the declared object of a key, nil when Git declares none.
func (r *reader) lookup(key policies.Key) *entry {
	e := r.find(key)
	r.found[key] = nil
	if e != nil {
		r.found[key] = e.essence()
	}
	return e
}

func (r *reader) inputs(object []byte) inputs {
	in := inputs{object: object, asked: map[string]tree.Answers{}, found: r.found}
	for source, v := range r.views {
		in.asked[source] = v.Asked()
	}
	return in
}
