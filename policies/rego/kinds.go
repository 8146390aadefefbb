package rego

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// kinds finds in compiled rules which kinds of objects they can hold for: those that a condition names. A policy that is written
// for Pods is then known as one, and no rule is asked about what it cannot hold for.
type kinds struct {
	compiler *ast.Compiler
	fields   []ast.Ref // where the input says the kind
	known    map[*ast.Rule]names
}

// names is a set of constants; nil is all there are.
type names map[string]bool

var (
	objectKind = []ast.Ref{inputRef("kind")}
	reviewKind = []ast.Ref{inputRef("request", "kind", "kind"), inputRef("request", "object", "kind")}
)

func inputRef(steps ...string) ast.Ref {
	ref := ast.Ref{ast.InputRootDocument}
	for _, step := range steps {
		ref = append(ref, ast.StringTerm(step))
	}
	return ref
}

// ofUnit is the kinds that a unit can hold for; nil is all.
func (k *kinds) ofUnit(u *unit) []policies.KindRule {
	rules := k.compiler.GetRulesExact(u.ref)
	if u.value {
		rules = k.compiler.GetRulesExact(u.asked)
	}
	found := k.ofRules(rules, true)
	if found == nil {
		return nil
	}
	out := []policies.KindRule{}
	for name := range found {
		out = append(out, policies.KindRule{Group: "*", Kind: name})
	}
	slices.SortFunc(out, func(a, b policies.KindRule) int {
		if a.Kind < b.Kind {
			return -1
		}
		return 1
	})
	return out
}

// ofRules is the union over the definitions of a rule, one of which has to have a value, or a value other than false.
func (k *kinds) ofRules(rules []*ast.Rule, truth bool) names {
	out := names{}
	for _, rule := range rules {
		if rule.Default {
			if truth && isFalse(rule.Head.Value) {
				continue
			}
			return nil
		}
		for one := rule; one != nil; one = one.Else {
			if truth && isFalse(one.Head.Value) {
				continue
			}
			these := k.ofRule(one)
			if these == nil {
				return nil
			}
			for name := range these {
				out[name] = true
			}
		}
	}
	return out
}

func isFalse(t *ast.Term) bool { return t != nil && t.Value.Compare(ast.Boolean(false)) == 0 }

func (k *kinds) ofRule(rule *ast.Rule) names {
	if known, ok := k.known[rule]; ok {
		return known
	}
	k.known[rule] = nil // Rego has no recursion; this is for sources that do not compile
	found := k.ofBody(rule.Body)
	k.known[rule] = found
	return found
}

// ofBody is the intersection over the conditions of a body, each of which has to hold.
func (k *kinds) ofBody(body ast.Body) names {
	at := aliases(k.compiler, body)
	var out names
	for _, e := range body {
		if e.Negated || len(e.With) > 0 {
			continue
		}
		these := k.ofExpr(e, at)
		switch {
		case these == nil:
		case out == nil:
			out = these
		default:
			both := names{}
			for name := range out {
				if these[name] {
					both[name] = true
				}
			}
			out = both
		}
	}
	return out
}

func (k *kinds) ofExpr(e *ast.Expr, at bindings) names {
	switch terms := e.Terms.(type) {
	case *ast.Term:
		return k.ofTerm(terms, at, true)
	case []*ast.Term:
		op, ok := terms[0].Value.(ast.Ref)
		switch {
		case !ok:
			return nil
		case opa.IsEquality(e):
			for _, sides := range [][2]*ast.Term{{terms[1], terms[2]}, {terms[2], terms[1]}} {
				if k.isKind(sides[0], at) {
					if constants := k.scalars(sides[1], at); constants != nil {
						return constants
					}
				}
				if found := k.ofTerm(sides[0], at, false); found != nil {
					return found
				}
			}
		case op.Equal(ast.Member.Ref()) && len(terms) == 3:
			if k.isKind(terms[1], at) {
				return k.members(terms[2], at)
			}
		case len(k.compiler.GetRulesExact(op)) > 0:
			rules := k.compiler.GetRulesExact(op)
			return k.ofRules(rules, len(terms)-1 == len(rules[0].Head.Args))
		}
	}
	return nil
}

// ofTerm is the kinds for which a reference has a value, or a value other than false.
func (k *kinds) ofTerm(t *ast.Term, at bindings, truth bool) names {
	ref, ok := t.Value.(ast.Ref)
	if !ok {
		return nil
	}
	if ref[0].Equal(ast.DefaultRootDocument) {
		for n := len(ref); n > 1; n-- {
			rules := k.compiler.GetRulesExact(ref[:n])
			if len(rules) == 0 {
				continue
			}
			if n == len(ref) && rules[0].Head.DocKind() != ast.CompleteDoc {
				return nil // a set is there even when nothing is in it
			}
			if n == len(ref)-1 && k.isKind(ref[n], at) {
				if constants := k.members(ast.NewTerm(ref[:n]), at); constants != nil {
					return constants
				}
			}
			return k.ofRules(rules, truth && n == len(ref))
		}
		return nil
	}
	if len(ref) == 2 && k.isKind(ref[1], at) {
		return k.members(ref[0], at)
	}
	return nil
}

func (k *kinds) isKind(t *ast.Term, at bindings) bool {
	ref, ok := at.resolve(t).Value.(ast.Ref)
	return ok && slices.ContainsFunc(k.fields, func(field ast.Ref) bool { return field.Equal(ref) })
}

// scalars is the constants that a term can be.
func (k *kinds) scalars(t *ast.Term, at bindings) names {
	switch v := at.resolve(t).Value.(type) {
	case ast.String:
		return names{string(v): true}
	case ast.Ref:
		if last, ok := v[len(v)-1].Value.(ast.Var); ok && len(v) > 1 && last.IsGenerated() || ok && last.IsWildcard() {
			if len(v) == 2 {
				return k.members(v[0], at)
			}
			return k.members(ast.NewTerm(v[:len(v)-1]), at)
		}
		for _, rule := range k.compiler.GetRulesExact(v) {
			if s, ok := constant(rule).(ast.String); ok && len(k.compiler.GetRulesExact(v)) == 1 {
				return names{string(s): true}
			}
		}
	}
	return nil
}

// members is the constants that are in a collection.
func (k *kinds) members(t *ast.Term, at bindings) names {
	out := names{}
	add := func(t *ast.Term) bool {
		s, ok := t.Value.(ast.String)
		out[string(s)] = true
		return ok
	}
	whole := true
	switch v := at.resolve(t).Value.(type) {
	case ast.Set:
		v.Foreach(func(t *ast.Term) { whole = add(t) && whole })
	case *ast.Array:
		v.Foreach(func(t *ast.Term) { whole = add(t) && whole })
	case ast.Call:
		if op, ok := v[0].Value.(ast.Ref); !ok || !op.Equal(ast.Or.Ref()) || len(v) != 3 {
			return nil
		}
		a, b := k.members(v[1], at), k.members(v[2], at)
		if a == nil || b == nil {
			return nil
		}
		for name := range b {
			a[name] = true
		}
		return a
	case ast.Ref:
		return k.constantsOf(v)
	default:
		return nil
	}
	if !whole {
		return nil
	}
	return out
}

// constantsOf is the members of a rule that is a constant collection.
func (k *kinds) constantsOf(ref ast.Ref) names {
	rules := k.compiler.GetRulesExact(ref)
	if len(rules) == 0 {
		return nil
	}
	if rules[0].Head.DocKind() == ast.CompleteDoc {
		if v := constant(rules[0]); v != nil && len(rules) == 1 {
			return k.members(ast.NewTerm(v), nil)
		}
		return nil
	}
	out := names{}
	for _, rule := range rules {
		if rule.Head.DocKind() != ast.PartialSetDoc || rule.Head.Key == nil || !isTrue(rule.Body) {
			return nil
		}
		s, ok := rule.Head.Key.Value.(ast.String)
		if !ok {
			return nil
		}
		out[string(s)] = true
	}
	return out
}

// constant is the value of a rule that has no condition and is ground, or nil.
func constant(rule *ast.Rule) ast.Value {
	if rule.Else == nil && len(rule.Head.Args) == 0 && rule.Head.Value != nil && rule.Head.Value.IsGround() && isTrue(rule.Body) {
		if _, isRef := rule.Head.Value.Value.(ast.Ref); !isRef {
			return rule.Head.Value.Value
		}
	}
	return nil
}

func isTrue(body ast.Body) bool {
	if len(body) != 1 || body[0].Negated {
		return false
	}
	t, ok := body[0].Terms.(*ast.Term)
	return ok && t.Value.Compare(ast.Boolean(true)) == 0
}

// bindings is what the variables of a body stand for: a constant, a reference, a call of a builtin.
type bindings map[ast.Var]*ast.Term

// aliases finds what the equalities and calls of a body say of its variables. All of it holds: what leads on is kept, a reference
// before a constant.
func aliases(c *ast.Compiler, body ast.Body) bindings {
	at := bindings{}
	define := func(to, from *ast.Term) {
		v, ok := to.Value.(ast.Var)
		if !ok {
			return
		}
		_, isRef := from.Value.(ast.Ref)
		if known, twice := at[v]; twice {
			if _, wasRef := known.Value.(ast.Ref); wasRef || !isRef {
				return
			}
		}
		at[v] = from
	}
	for _, e := range body {
		terms, ok := e.Terms.([]*ast.Term)
		if !ok || e.Negated || len(e.With) > 0 {
			continue
		}
		if opa.IsEquality(e) {
			if _, isVar := terms[1].Value.(ast.Var); isVar {
				define(terms[1], terms[2])
			} else {
				define(terms[2], terms[1])
			}
			continue
		}
		if op, ok := terms[0].Value.(ast.Ref); ok && c.GetArity(op) == len(terms)-2 {
			define(terms[len(terms)-1], ast.NewTerm(ast.Call(terms[:len(terms)-1])))
		}
	}
	return at
}

// resolve replaces a variable by what it stands for, also at the head of a reference.
func (at bindings) resolve(t *ast.Term) *ast.Term {
	for range 64 {
		switch v := t.Value.(type) {
		case ast.Var:
			to, ok := at[v]
			if !ok {
				return t
			}
			t = to
		case ast.Ref:
			head, ok := v[0].Value.(ast.Var)
			if !ok {
				return t
			}
			to, ok := at[head]
			if !ok {
				return t
			}
			switch base := to.Value.(type) {
			case ast.Ref:
				t = ast.NewTerm(base.Concat(v[1:]))
			case ast.Var:
				t = ast.NewTerm(ast.Ref{to}.Concat(v[1:]))
			default:
				return ast.NewTerm(ast.Ref{to}.Concat(v[1:]))
			}
		default:
			return t
		}
	}
	return t
}
