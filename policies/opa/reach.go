package opa

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// Reach is what rules look at, found in the compiled sources without running them: so that a policy is deferred
// where the door does not know what it looks at, and the cluster's objects are kept only for a policy that looks at them. It
// errs to the side of more: a value that goes where it cannot be followed counts as looked at as a whole.
type Reach struct {
	compiler *ast.Compiler
	seen     map[string][]ast.Ref // rule and where its arguments come from -> where its value comes from
	refs     map[string]ast.Ref   // fields of input and data that are looked at; a step that is no text is any
	texts    map[string]bool      // constants
	calls    map[string]bool      // builtins
}

// What bounds the search. Beyond it everything counts as looked at.
const (
	maxVisits  = 20000
	maxOrigins = 8
	maxRef     = 12
)

// NewReach is empty: Follow fills it.
func NewReach(c *ast.Compiler) *Reach {
	return &Reach{compiler: c, seen: map[string][]ast.Ref{}, refs: map[string]ast.Ref{}, texts: map[string]bool{}, calls: map[string]bool{}}
}

// Follow adds what rules without arguments look at.
func (r *Reach) Follow(rules []*ast.Rule) { r.rules(rules, nil) }

// Calls says which builtins are called, by name.
func (r *Reach) Calls() map[string]bool { return r.calls }

// Says says whether a text stands as a constant somewhere.
func (r *Reach) Says(text string) bool { return r.texts[text] }

// LooksAt says whether the field at path, something in it, or the whole of something around it is looked at.
func (r *Reach) LooksAt(root *ast.Term, path ...string) bool {
	return len(r.Under(root, path...)) > 0
}

// Under lists what is looked at at, in or around path.
func (r *Reach) Under(root *ast.Term, path ...string) []ast.Ref {
	var out []ast.Ref
	for _, ref := range r.refs {
		if !ref[0].Equal(root) {
			continue
		}
		matches := true
		for i, step := range path {
			if i+1 >= len(ref) {
				break
			}
			if s, ok := ref[i+1].Value.(ast.String); ok && string(s) != step {
				matches = false
				break
			}
		}
		if matches {
			out = append(out, ref)
		}
	}
	return out
}

// Reserved lists what is looked at under a name that data files cannot have.
func (r *Reach) Reserved(name string) []ast.Ref {
	var out []ast.Ref
	for _, ref := range r.Under(ast.DefaultRootDocument, name) {
		if len(ref) > 1 && ref[1].Equal(ast.StringTerm(name)) {
			out = append(out, ref)
		}
	}
	return out
}

// Inventory says of which kinds data.inventory is asked for objects, and whether it is asked for at all. With all it is asked for
// objects that cannot be told by their kind.
func (r *Reach) Inventory() (kinds map[string]bool, all, asked bool) {
	kinds = map[string]bool{}
	for _, ref := range r.Reserved("inventory") {
		asked = true
		at := 4 // data.inventory.cluster[apiVersion][kind]
		if len(ref) > 2 && !ref[2].Equal(ast.StringTerm("cluster")) {
			at = 5
		}
		if len(ref) > at && len(ref) > 2 {
			if kind, ok := ref[at].Value.(ast.String); ok {
				kinds[string(kind)] = true
				continue
			}
		}
		all = true
	}
	return kinds, all, asked
}

func (r *Reach) look(ref ast.Ref) {
	if len(ref) > maxRef {
		ref = ref[:maxRef]
	}
	r.refs[ref.String()] = ref
}
