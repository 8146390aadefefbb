package opa

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// How Reach follows values: a variable, an argument or a rule's value that stands for a field is that field under another name.

// scope is where the variables of a rule come from.
type scope map[ast.Var][]ast.Ref

func (s scope) add(v ast.Var, refs []ast.Ref) bool {
	grew := false
	for _, ref := range refs {
		if len(s[v]) < maxOrigins && len(ref) <= maxRef && !contains(s[v], ref) {
			s[v] = append(s[v], ref)
			grew = true
		}
	}
	return grew
}

func contains(refs []ast.Ref, ref ast.Ref) bool {
	return slices.ContainsFunc(refs, func(other ast.Ref) bool { return other.Equal(ref) })
}

// rules follows rules that are called with arguments from the given places, and says where their values come from.
func (r *Reach) rules(rules []*ast.Rule, args [][]ast.Ref) []ast.Ref {
	var out []ast.Ref
	for _, rule := range rules {
		for _, ref := range r.rule(rule, args) {
			if !contains(out, ref) {
				out = append(out, ref)
			}
		}
	}
	return out
}

func (r *Reach) rule(rule *ast.Rule, args [][]ast.Ref) []ast.Ref {
	if rule.Module == nil {
		return nil
	}
	var key strings.Builder
	fmt.Fprintf(&key, "%p", rule) // its place is a line, which can have several
	for _, refs := range args {
		key.WriteByte('|')
		for _, ref := range refs {
			key.WriteString(ref.String())
			key.WriteByte(',')
		}
	}
	if known, ok := r.seen[key.String()]; ok {
		return known
	}
	r.seen[key.String()] = nil
	if len(r.seen) > maxVisits {
		r.look(ast.InputRootRef)
		r.look(ast.DefaultRootRef)
		return nil
	}
	var out []ast.Ref
	for one := rule; one != nil; one = one.Else {
		s := scope{}
		for i, arg := range one.Head.Args {
			if v, ok := arg.Value.(ast.Var); ok && i < len(args) {
				s.add(v, args[i])
			} else if i < len(args) {
				r.whole(args[i])
			}
		}
		r.body(one.Body, s)
		for _, ref := range one.Head.Ref()[1:] {
			r.term(ref, s)
		}
		if one.Head.Key != nil {
			r.term(one.Head.Key, s)
		}
		if v := one.Head.Value; v != nil {
			if origins := r.origins(v, s); origins != nil {
				out = append(out, origins...)
			} else {
				r.term(v, s)
			}
		}
	}
	r.seen[key.String()] = out
	return out
}

func (r *Reach) body(body ast.Body, s scope) {
	for grew := true; grew; {
		grew = false
		for _, e := range body {
			if r.bind(e, s) {
				grew = true
			}
		}
	}
	for _, e := range body {
		r.expr(e, s)
	}
}

// bind follows what an expression gives a variable.
func (r *Reach) bind(e *ast.Expr, s scope) bool {
	terms, ok := e.Terms.([]*ast.Term)
	if !ok || len(terms) < 2 {
		return false
	}
	if IsEquality(e) {
		return r.bindTo(terms[1], terms[2], s) || r.bindTo(terms[2], terms[1], s)
	}
	op, ok := terms[0].Value.(ast.Ref)
	if !ok {
		return false
	}
	out, isVar := terms[len(terms)-1].Value.(ast.Var)
	if !isVar {
		return false
	}
	if rules := r.compiler.GetRulesExact(op); len(rules) > 0 && len(rules[0].Head.Args) == len(terms)-2 {
		return s.add(out, r.rules(rules, r.arguments(terms[1:len(terms)-1], s)))
	}
	if got := r.objectGet(op, terms, s); got != nil {
		return s.add(out, got)
	}
	return false
}

func (r *Reach) bindTo(to, from *ast.Term, s scope) bool {
	v, ok := to.Value.(ast.Var)
	return ok && s.add(v, r.origins(from, s))
}

// IsEquality says whether an expression is one of =, := and ==.
func IsEquality(e *ast.Expr) bool {
	terms, ok := e.Terms.([]*ast.Term)
	if !ok || len(terms) != 3 {
		return false
	}
	op, ok := terms[0].Value.(ast.Ref)
	return ok && (op.Equal(ast.Equality.Ref()) || op.Equal(ast.Assign.Ref()) || op.Equal(ast.Equal.Ref()))
}

// objectGet is where object.get(from, key, default) finds its value, when the key is known.
func (r *Reach) objectGet(op ast.Ref, terms []*ast.Term, s scope) []ast.Ref {
	if !op.Equal(ast.ObjectGet.Ref()) || len(terms) < 4 {
		return nil
	}
	var steps []*ast.Term
	switch key := terms[2].Value.(type) {
	case ast.String:
		steps = []*ast.Term{terms[2]}
	case *ast.Array:
		for i := range key.Len() {
			steps = append(steps, key.Elem(i))
		}
	default:
		return nil
	}
	var out []ast.Ref
	for _, ref := range r.origins(terms[1], s) {
		out = append(out, ref.Concat(steps))
	}
	return out
}

func (r *Reach) arguments(terms []*ast.Term, s scope) [][]ast.Ref {
	out := make([][]ast.Ref, len(terms))
	for i, t := range terms {
		out[i] = r.origins(t, s)
	}
	return out
}

// origins is where a term's value comes from: fields of input or data. Nil is nowhere that matters.
func (r *Reach) origins(t *ast.Term, s scope) []ast.Ref {
	switch v := t.Value.(type) {
	case ast.Var:
		return s[v]
	case ast.Ref:
		return r.refOrigins(v, s)
	}
	return nil
}

func (r *Reach) refOrigins(ref ast.Ref, s scope) []ast.Ref {
	head, ok := ref[0].Value.(ast.Var)
	if !ok {
		return nil
	}
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		return []ast.Ref{ref}
	case ref[0].Equal(ast.DefaultRootDocument):
		return r.data(ref)
	}
	var out []ast.Ref
	for _, origin := range s[head] {
		out = append(out, origin.Concat(ref[1:]))
	}
	return out
}

// data is where the value of data.… comes from: the rules that it names, or a data document.
func (r *Reach) data(ref ast.Ref) []ast.Ref {
	for n := len(ref); n > 1; n-- {
		rules := r.compiler.GetRulesExact(ref[:n])
		if len(rules) == 0 {
			continue
		}
		origins := r.rules(rules, nil)
		for _, rule := range r.compiler.GetRulesDynamicWithOpts(ref, ast.RulesOptions{}) {
			if len(rule.Head.Args) == 0 && !slices.Contains(rules, rule) {
				r.whole(r.rule(rule, nil)) // of what the document has further down
			}
		}
		if rules[0].Head.DocKind() != ast.CompleteDoc {
			return nil // what goes into a set or a map was looked at as a whole
		}
		out := make([]ast.Ref, len(origins))
		for i, origin := range origins {
			out[i] = origin.Concat(ref[n:])
		}
		return out
	}
	if rules := r.compiler.GetRulesDynamicWithOpts(ref, ast.RulesOptions{}); len(rules) > 0 {
		for _, rule := range rules {
			if len(rule.Head.Args) == 0 {
				r.whole(r.rule(rule, nil))
			}
		}
	}
	return []ast.Ref{ref}
}

// expr looks at what an expression looks at.
func (r *Reach) expr(e *ast.Expr, s scope) {
	for _, w := range e.With {
		r.term(w.Value, s)
		if ref, ok := w.Value.Value.(ast.Ref); ok && ast.BuiltinMap[ref.String()] != nil {
			r.calls[ref.String()] = true // in the place of another function
		}
	}
	switch terms := e.Terms.(type) {
	case *ast.Term:
		r.term(terms, s)
	case *ast.Every:
		inner := scope{}
		for v, refs := range s {
			inner[v] = refs
		}
		anyStep := ast.VarTerm("$any")
		var items []ast.Ref
		for _, ref := range r.origins(terms.Domain, s) {
			items = append(items, ref.Append(anyStep))
		}
		if v, ok := terms.Value.Value.(ast.Var); ok {
			inner.add(v, items)
		}
		r.used(terms.Domain, s)
		r.body(terms.Body, inner)
	case []*ast.Term:
		r.call(e, terms, s)
	}
}

func (r *Reach) call(e *ast.Expr, terms []*ast.Term, s scope) {
	if IsEquality(e) {
		r.side(terms[1], terms[2], s)
		r.side(terms[2], terms[1], s)
		return
	}
	op, ok := terms[0].Value.(ast.Ref)
	if !ok {
		return
	}
	if rules := r.compiler.GetRulesExact(op); len(rules) > 0 {
		arity := len(rules[0].Head.Args)
		args := terms[1:min(len(terms), arity+1)]
		r.rules(rules, r.arguments(args, s))
		for _, arg := range args {
			r.used(arg, s)
		}
		return
	}
	r.calls[op.String()] = true
	args := terms[1:]
	if got := r.objectGet(op, terms, s); got != nil {
		r.whole(got)
		args = terms[2:]
	}
	for _, arg := range args {
		r.term(arg, s)
	}
}

// side looks at one side of an equality. Where the other side gives it a name, or has it from there, it is followed under that.
func (r *Reach) side(t, other *ast.Term, s scope) {
	_, otherVar := other.Value.(ast.Var)
	_, otherRef := other.Value.(ast.Ref)
	_, isVar := t.Value.(ast.Var)
	if otherVar || isVar && otherRef {
		r.used(t, s)
		return
	}
	r.term(t, s)
}

// used looks at a term whose value is given a name, under which it is followed further: what matters of it is that it is there,
// except of what is always there.
func (r *Reach) used(t *ast.Term, s scope) {
	switch v := t.Value.(type) {
	case ast.Var:
	case ast.Ref:
		for _, ref := range r.refOrigins(v, s) {
			if !always(ref) {
				r.look(ref)
			}
		}
		r.steps(v, s)
	default:
		r.term(t, s)
	}
}

// always says that a field is there whatever the change: only what is taken from it matters.
func always(ref ast.Ref) bool {
	if ref[0].Equal(ast.InputRootDocument) {
		return len(ref) == 1 || len(ref) == 2 && (ref[1].Equal(ast.StringTerm("request")) || ref[1].Equal(ast.StringTerm("review")))
	}
	if len(ref) == 1 {
		return true
	}
	first, _ := ref[1].Value.(ast.String)
	switch first {
	case "conftest", "kubernetes":
		return len(ref) == 2
	case "inventory":
		return len(ref) < 4 || len(ref) == 4 && ref[2].Equal(ast.StringTerm("namespace"))
	}
	return false
}

// whole looks at the whole of fields.
func (r *Reach) whole(refs []ast.Ref) {
	for _, ref := range refs {
		r.look(ref)
	}
}

// term looks at the whole of a term.
func (r *Reach) term(t *ast.Term, s scope) {
	switch v := t.Value.(type) {
	case ast.String:
		r.texts[string(v)] = true
	case ast.Var:
		r.whole(s[v])
	case ast.Ref:
		r.whole(r.refOrigins(v, s))
		r.steps(v, s)
	case *ast.Array:
		v.Foreach(func(t *ast.Term) { r.term(t, s) })
	case ast.Set:
		v.Foreach(func(t *ast.Term) { r.term(t, s) })
	case ast.Object:
		v.Foreach(func(k, t *ast.Term) { r.term(k, s); r.term(t, s) })
	case *ast.ArrayComprehension:
		r.comprehension(v.Body, s, v.Term)
	case *ast.SetComprehension:
		r.comprehension(v.Body, s, v.Term)
	case *ast.ObjectComprehension:
		r.comprehension(v.Body, s, v.Key, v.Value)
	}
}

func (r *Reach) comprehension(body ast.Body, s scope, terms ...*ast.Term) {
	inner := scope{}
	for v, refs := range s {
		inner[v] = slices.Clone(refs)
	}
	r.body(body, inner)
	for _, t := range terms {
		r.term(t, inner)
	}
}

// steps looks at what stands in the brackets of a reference.
func (r *Reach) steps(ref ast.Ref, s scope) {
	for _, step := range ref[1:] {
		switch v := step.Value.(type) {
		case ast.String: // a name of a field is no constant that is compared
		case ast.Var:
			if _, bound := s[v]; bound {
				r.term(step, s)
			}
		default:
			r.term(step, s)
		}
	}
}
