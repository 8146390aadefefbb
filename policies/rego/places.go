package rego

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// place is the field that a rule's last condition looks at: where a violation stands when the rule does not say. Rego forgets
// which container of a list it was at when a rule held; so the rule is made to answer that beside its message.
type place struct {
	base     *ast.Term // a value that is looked for in the object, and that steps start from; nil for the object itself
	listed   bool      // base is a list with the value, or without one
	steps    []*ast.Term
	captured []*ast.Term // what the rule answers beside its message: base when it is not nil, then the steps that are variables
}

// placing finds the place of each definition of a set rule and has the compiled rules answer it.
type placing struct {
	compiler *ast.Compiler
	review   bool
}

// unit changes the compiled rules of u, and what reads them under the rule's own name.
func (pl placing) unit(u *unit) {
	rules := pl.compiler.GetRulesExact(u.ref)
	if u.value || len(rules) != 1 || !u.own {
		return
	}
	rule := rules[0]
	at := pl.find(rule)
	if at == nil {
		return
	}
	u.place = at
	if len(at.captured) == 0 {
		return
	}
	rule.Head.Key = ast.ArrayTerm(append([]*ast.Term{rule.Head.Key}, at.captured...)...)
	for _, reader := range pl.compiler.GetRulesExact(u.asked) {
		for _, e := range reader.Body {
			t, ok := e.Terms.(*ast.Term)
			if !ok {
				continue
			}
			ref, ok := t.Value.(ast.Ref)
			if !ok || !ref.HasPrefix(u.ref) || len(ref) != len(u.ref)+1 {
				continue
			}
			pattern := []*ast.Term{ref[len(ref)-1]}
			for i := range at.captured {
				pattern = append(pattern, ast.VarTerm(ast.WildcardPrefix+"gitgate"+string(rune('a'+i))))
			}
			e.Terms = &ast.Term{Value: ref[:len(ref)-1].Append(ast.ArrayTerm(pattern...)), Location: t.Location}
		}
	}
}

// maxCaptured bounds what a rule answers beside its message.
const maxCaptured = 8

// find is the place that a rule is about, or nil.
func (pl placing) find(rule *ast.Rule) *place {
	at := aliases(pl.compiler, rule.Body)
	bound := boundVars(rule.Body)
	telling := tellingExprs(pl.compiler, rule)
	var best *ast.Term
	weight := func(e *ast.Expr, defines bool) int {
		w := e.Location.Row*1000 + min(e.Location.Col, 999)
		if telling[e] {
			return w
		}
		if defines {
			return w + 1<<40
		}
		return w + 1<<50
	}
	heaviest := -1
	for _, e := range rule.Body {
		if len(e.With) > 0 || e.Location == nil {
			continue
		}
		terms, defines := conditionTerms(pl.compiler, e)
		for _, t := range terms {
			ref := pl.follow(t, at)
			if ref == nil {
				continue
			}
			w := weight(e, defines)
			if w > heaviest || w == heaviest && len(ref) > len(best.Value.(ast.Ref)) {
				heaviest, best = w, ast.NewTerm(ref)
			}
		}
	}
	if best == nil {
		return nil
	}
	return pl.make(rule, best.Value.(ast.Ref), bound, at)
}

// follow is the reference that a term stands for, when it leads into the object: from input, or from a rule's value.
func (pl placing) follow(t *ast.Term, at bindings) ast.Ref {
	ref, ok := at.resolve(t).Value.(ast.Ref)
	if !ok {
		return nil
	}
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		steps := ref[1:]
		if pl.review {
			if len(steps) < 2 || !steps[0].Equal(ast.StringTerm("request")) || !steps[1].Equal(ast.StringTerm("object")) {
				return nil
			}
			steps = steps[2:]
		}
		if len(steps) == 0 || isIdentity(steps) {
			return nil
		}
		return ref
	case ref[0].Equal(ast.DefaultRootDocument):
		if _, n := pl.ruleIn(ref); n > 0 {
			return ref
		}
	}
	return nil
}

// ruleIn is the rule that a reference begins with, and how many of its steps name it.
func (pl placing) ruleIn(ref ast.Ref) (*ast.Rule, int) {
	for n := len(ref); n > 1; n-- {
		if rules := pl.compiler.GetRulesExact(ref[:n]); len(rules) > 0 && len(rules[0].Head.Args) == 0 {
			return rules[0], n
		}
	}
	return nil, 0
}

// isIdentity says that a field says which object it is, rather than how.
func isIdentity(steps ast.Ref) bool {
	first := steps[0].Value.Compare
	switch {
	case first(ast.String("kind")) == 0, first(ast.String("apiVersion")) == 0:
		return true
	case first(ast.String("metadata")) == 0:
		return len(steps) == 1 || steps[1].Equal(ast.StringTerm("name")) || steps[1].Equal(ast.StringTerm("namespace"))
	}
	return false
}

// make turns a reference into a place. It ends where a step is not known once the rule holds.
func (pl placing) make(rule *ast.Rule, ref ast.Ref, bound map[ast.Var]bool, at bindings) *place {
	out := &place{}
	steps := ref[1:]
	if ref[0].Equal(ast.DefaultRootDocument) {
		source, n := pl.ruleIn(ref)
		steps = ref[n:]
		switch {
		case source.Head.DocKind() == ast.CompleteDoc:
			// In a list of one or none: a rule that has no value, as under "not", must not take the answer with it.
			out.base, out.listed = ast.VarTerm("__gitgate_base__"), true
			value := ast.VarTerm("__gitgate_value__")
			rule.Body.Append(ast.Equality.Expr(out.base, ast.ArrayComprehensionTerm(value, ast.NewBody(ast.Equality.Expr(value, ast.NewTerm(ref[:n]))))))
		case source.Head.DocKind() == ast.PartialSetDoc && len(steps) > 0:
			v, ok := steps[0].Value.(ast.Var)
			if !ok || !bound[v] {
				return nil
			}
			out.base, steps = steps[0], steps[1:]
		default:
			return nil
		}
		out.captured = append(out.captured, out.base)
	} else if pl.review {
		steps = steps[2:]
	}
	for _, step := range steps {
		if known, ok := at.resolve(step).Value.(ast.String); ok {
			step = ast.NewTerm(known)
		}
		switch v := step.Value.(type) {
		case ast.String, ast.Number:
		case ast.Var:
			if !bound[v] || len(out.captured) >= maxCaptured {
				return out.orNil()
			}
			out.captured = append(out.captured, step)
		default:
			return out.orNil()
		}
		out.steps = append(out.steps, step)
	}
	return out.orNil()
}

func (p *place) orNil() *place {
	if p.base == nil && len(p.steps) == 0 {
		return nil
	}
	return p
}

// boundVars are the variables of a body that have a value in each of its answers.
func boundVars(body ast.Body) map[ast.Var]bool {
	out := map[ast.Var]bool{}
	for _, e := range body {
		if e.Negated || len(e.With) > 0 {
			continue
		}
		vis := ast.NewVarVisitor().WithParams(ast.VarVisitorParams{SkipClosures: true, SkipRefCallHead: true, SkipRefHead: true})
		vis.Walk(e)
		for v := range vis.Vars() {
			out[v] = true
		}
	}
	return out
}

// conditionTerms are the terms of an expression that a condition is about, and whether it rather gives a variable its value.
func conditionTerms(c *ast.Compiler, e *ast.Expr) (terms []*ast.Term, defines bool) {
	switch t := e.Terms.(type) {
	case *ast.Term:
		return []*ast.Term{t}, false
	case *ast.Every:
		return []*ast.Term{t.Domain}, false
	case []*ast.Term:
		if opa.IsEquality(e) {
			_, left := t[1].Value.(ast.Var)
			_, right := t[2].Value.(ast.Var)
			_, fromLeft := t[1].Value.(ast.Ref)
			_, fromRight := t[2].Value.(ast.Ref)
			return t[1:], left && fromRight || right && fromLeft
		}
		if op, ok := t[0].Value.(ast.Ref); ok && c.GetArity(op) == len(t)-2 {
			return t[1 : len(t)-1], true
		}
		return t[1:], false
	}
	return nil, false
}

// tellingExprs are the expressions that only make the message: what they define is used by the head and by each other alone.
func tellingExprs(c *ast.Compiler, rule *ast.Rule) map[*ast.Expr]bool {
	uses := map[ast.Var][]*ast.Expr{} // nil for the head
	note := func(node any, e *ast.Expr) {
		vis := ast.NewVarVisitor().WithParams(ast.VarVisitorParams{SkipRefCallHead: true})
		vis.Walk(node)
		for v := range vis.Vars() {
			uses[v] = append(uses[v], e)
		}
	}
	note(rule.Head.Key, nil)
	for _, e := range rule.Body {
		note(e, e)
	}
	out := map[*ast.Expr]bool{}
	for grew := true; grew; {
		grew = false
		for _, e := range rule.Body {
			v, ok := defined(c, e)
			if !ok || out[e] || e.Negated {
				continue
			}
			all := slices.ContainsFunc(uses[v], func(user *ast.Expr) bool { return user != e })
			for _, user := range uses[v] {
				all = all && (user == nil || user == e || out[user])
			}
			if all {
				out[e], grew = true, true
			}
		}
	}
	return out
}

// defined is the variable that an expression gives a value.
func defined(c *ast.Compiler, e *ast.Expr) (ast.Var, bool) {
	terms, ok := e.Terms.([]*ast.Term)
	if !ok {
		return "", false
	}
	if opa.IsEquality(e) {
		for _, t := range terms[1:] {
			if v, ok := t.Value.(ast.Var); ok {
				return v, true
			}
		}
		return "", false
	}
	op, ok := terms[0].Value.(ast.Ref)
	if !ok || c.GetArity(op) != len(terms)-2 {
		return "", false
	}
	v, ok := terms[len(terms)-1].Value.(ast.Var)
	return v, ok
}

// path is where the place is in an object, given what the rule answered for what place captures; nil when that cannot be told.
func (p *place) path(answer []*ast.Term, object ast.Value) policies.Path {
	var out policies.Path
	if p.base != nil {
		if len(answer) == 0 {
			return nil
		}
		value := answer[0].Value
		if p.listed {
			list, ok := value.(*ast.Array)
			if !ok || list.Len() == 0 {
				return nil
			}
			value = list.Elem(0).Value
		}
		found, ok := pathTo(object, value, 0)
		if !ok {
			return nil
		}
		out, answer = found, answer[1:]
	}
	for _, step := range p.steps {
		if _, isVar := step.Value.(ast.Var); isVar {
			if len(answer) == 0 {
				return out
			}
			step, answer = answer[0], answer[1:]
		}
		switch v := step.Value.(type) {
		case ast.String:
			out = append(out, string(v))
		case ast.Number:
			n, ok := v.Int()
			if !ok || n < 0 {
				return out
			}
			out = append(out, n)
		default:
			return out
		}
	}
	return out
}

// pathTo finds a map or a list in another. The path is made on the way back, so that looking costs nothing.
func pathTo(in, wanted ast.Value, depth int) (policies.Path, bool) {
	if depth > maxSteps {
		return nil, false
	}
	var step any
	var below policies.Path
	found := false
	switch v := in.(type) {
	case ast.Object:
		if o, ok := wanted.(ast.Object); ok && o.Hash() == v.Hash() && v.Compare(o) == 0 {
			return make(policies.Path, depth), true
		}
		found = v.Until(func(k, t *ast.Term) bool {
			key, ok := k.Value.(ast.String)
			if !ok || ast.IsScalar(t.Value) {
				return false
			}
			if below, ok = pathTo(t.Value, wanted, depth+1); ok {
				step = string(key)
			}
			return ok
		})
	case *ast.Array:
		if a, ok := wanted.(*ast.Array); ok && a.Hash() == v.Hash() && v.Compare(a) == 0 {
			return make(policies.Path, depth), true
		}
		for i := range v.Len() {
			if below, found = pathTo(v.Elem(i).Value, wanted, depth+1); found {
				step = i
				break
			}
		}
	}
	if found {
		below[depth] = step
	}
	return below, found
}
