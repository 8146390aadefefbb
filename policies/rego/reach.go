package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// reach is what the rules of a package look at, found in the compiled sources without running them: so that a policy is deferred
// where the door does not know what it looks at, and the cluster's objects are kept only for a policy that looks at them. It
// errs to the side of more: a value that goes where it cannot be followed counts as looked at as a whole.
type reach struct {
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

func reachOf(c *ast.Compiler, p *pkg) *reach {
	r := &reach{compiler: c, seen: map[string][]ast.Ref{}, refs: map[string]ast.Ref{}, texts: map[string]bool{}, calls: map[string]bool{}}
	for _, u := range p.units {
		r.rules(c.GetRulesExact(u.ref), nil)
	}
	if p.exceptions != nil {
		r.rules(c.GetRulesExact(p.exceptions.ref), nil)
	}
	return r
}

// looksAt says whether the field at path, something in it, or the whole of something around it is looked at.
func (r *reach) looksAt(root *ast.Term, path ...string) bool {
	return len(r.under(root, path...)) > 0
}

// under lists what is looked at at, in or around path.
func (r *reach) under(root *ast.Term, path ...string) []ast.Ref {
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

func (r *reach) look(ref ast.Ref) {
	if len(ref) > maxRef {
		ref = ref[:maxRef]
	}
	r.refs[ref.String()] = ref
}
