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

	again     sync.Once
	templates map[string]policies.Source // by identity; made when a place in a template is asked for
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
