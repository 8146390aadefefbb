package desired

import (
	"bytes"
	"errors"
	"sync"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// result is what rendering one unit gave, and what it depended on: with the same inputs it would be given again.
type result struct {
	inputs   inputs
	entries  []*entry
	problems []policies.Violation
	opaque   []Opaque
	layers   map[string]git.Hash // files of the unit's source that may say something of its objects
	owner    *owner              // what declares the unit; nil for the root of a source

	special sync.Once
	units   []*entry // of the entries, those that declare units
	crds    []*entry // and those that are CustomResourceDefinitions

	again     sync.Once
	templates map[string]policies.Source // by identity; made when a place in a template is asked for
}

// share takes over what another rendering of the unit made of the objects that are still the same: their contents, and how the API
// server stores them.
func (r *result) share(old *result) {
	known := make(map[policies.Key]*entry, len(old.entries))
	for _, e := range old.entries {
		known[e.key] = e
	}
	for _, e := range r.entries {
		if o := known[e.key]; o != nil && bytes.Equal(o.content, e.content) {
			e.content = o.content
			e.stored.Store(o.stored.Load())
		}
	}
}

// sort finds the entries that say something of others.
func (r *result) sort() {
	r.special.Do(func() {
		for _, e := range r.entries {
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
	object []byte                         // packed content of the object that declares the unit; nil for a root
	asked  map[string]map[string]git.Hash // source -> what was asked of its files
	found  map[policies.Key][]byte        // declared objects that were looked up -> their essence, nil for none
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
	in := inputs{object: object, asked: map[string]map[string]git.Hash{}, found: r.found}
	for source, v := range r.views {
		in.asked[source] = v.Asked()
	}
	return in
}
