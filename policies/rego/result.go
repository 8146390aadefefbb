package rego

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policies"
)

// What is kept of the answer of one package on one change.
const (
	maxViolations = 1000
	maxMessage    = 4096 // bytes
	maxEvidence   = 100
	maxFix        = 2048
	maxSteps      = 128 // of a path
)

// reader turns what the rules of a package found into a finding.
type reader struct {
	pkg      *pkg
	file     string // of the object
	object   ast.Value
	answer   []*ast.Term // what the rule answered for its place
	excepted map[string]bool
	finding  policies.Finding
	seen     map[found]bool
	left     int // violations beyond maxViolations
	dropped  map[string]int
	err      error
}

// found is a result of a rule: a text, or the Rego text of another value.
type found struct{ rule, text, value string }

// read makes a finding of what q's package p answers.
func read(p *pkg, q query, bindings topdown.QueryResult, object ast.Value, file string) (policies.Finding, error) {
	r := reader{pkg: p, object: object, file: file}
	for i, u := range q.units {
		t := bindings[q.unitVar(i)]
		if t == nil {
			return policies.Finding{}, fmt.Errorf("rule %s has no answer", u.name)
		}
		set, ok := t.Value.(ast.Set)
		if !ok {
			return policies.Finding{}, fmt.Errorf("rule %s answers %s, expected a set", u.name, ast.ValueName(t.Value))
		}
		if set.Len() == 0 {
			continue
		}
		if r.excepted == nil {
			r.exceptions(bindings[q.exceptionsVar()])
		}
		set.Foreach(func(t *ast.Term) {
			r.answer = nil
			if u.value {
				r.complete(u, t)
				return
			}
			if u.place != nil && len(u.place.captured) > 0 {
				pair := t.Value.(*ast.Array)
				t = pair.Elem(0)
				for i := 1; i < pair.Len(); i++ {
					r.answer = append(r.answer, pair.Elem(i))
				}
			}
			r.element(u, t)
		})
	}
	if r.err != nil {
		return policies.Finding{}, r.err
	}
	r.finish()
	return r.finding, nil
}

// exceptions reads the names of rules that the package's exception rules take out.
func (r *reader) exceptions(t *ast.Term) {
	r.excepted = map[string]bool{}
	if t == nil {
		return
	}
	if set, ok := t.Value.(ast.Set); ok {
		set.Foreach(func(t *ast.Term) {
			if name, ok := t.Value.(ast.String); ok {
				r.excepted[string(name)] = true
			}
		})
	}
}

// suffix is how an exception names a rule: deny_foo is foo, deny is "".
func suffix(rule string) string {
	_, after, _ := strings.Cut(rule, "_")
	return after
}

// complete reads the value of a rule that is no set: nothing, one result, or a list of them.
func (r *reader) complete(u *unit, t *ast.Term) {
	switch v := t.Value.(type) {
	case ast.Boolean:
		if v {
			r.add(u, t, policies.Violation{})
		}
	case ast.Null:
	case *ast.Array:
		v.Foreach(func(t *ast.Term) { r.element(u, t) })
	case ast.Set:
		v.Foreach(func(t *ast.Term) { r.element(u, t) })
	case ast.String:
		if v != "" {
			r.element(u, t)
		}
	default:
		r.element(u, t)
	}
}

// element reads one result: a message, or a map with a message.
func (r *reader) element(u *unit, t *ast.Term) {
	switch v := t.Value.(type) {
	case ast.String:
		r.add(u, t, policies.Violation{Message: string(v)})
	case ast.Object:
		violation, evidence, err := result(v)
		if err != nil {
			r.fail(u, err)
			return
		}
		if r.add(u, t, violation) {
			r.evidence(evidence)
		}
	default:
		r.fail(u, fmt.Errorf("result is %s, expected a message or a map with the message in msg", ast.ValueName(t.Value)))
	}
}

func (r *reader) fail(u *unit, err error) {
	if r.err == nil {
		r.err = u.errorAt(fmt.Errorf("rule %s: %w", u.name, err))
	}
}

// add keeps a violation, once, unless an exception takes its rule out. It says whether it did.
func (r *reader) add(u *unit, t *ast.Term, v policies.Violation) bool {
	if r.excepted[suffix(u.name)] {
		if r.dropped == nil {
			r.dropped = map[string]int{}
		}
		r.dropped[u.name]++
		return false
	}
	key := found{rule: u.name}
	if s, ok := t.Value.(ast.String); ok {
		key.text = string(s)
	} else {
		key.value = t.String()
	}
	if r.seen[key] {
		return false
	}
	if r.seen == nil {
		r.seen = map[found]bool{}
	}
	r.seen[key] = true
	if len(r.finding.Violations) >= maxViolations {
		r.left++
		return false
	}
	if v.Message = trimMessage(v.Message); v.Message == "" {
		v.Message = trimMessage(u.holds())
	}
	u.describe(&v)
	if v.Path == nil && u.place != nil {
		v.Path = u.place.path(r.answer, r.object)
	}
	if v.Pos.Line > 0 && v.Pos.File == "" {
		v.Pos.File = r.file
	}
	r.finding.Violations = append(r.finding.Violations, v)
	return true
}

func (r *reader) evidence(es []policies.Evidence) {
	for _, e := range es {
		if len(r.finding.Evidence) < maxEvidence {
			r.finding.Evidence = append(r.finding.Evidence, e)
		}
	}
}

// finish says what was left out.
func (r *reader) finish() {
	if r.left > 0 {
		r.finding.Violations = append(r.finding.Violations, policies.Violation{
			Message: fmt.Sprintf("policy %s found %d violations more, expected at most %d to be told", r.pkg.path, r.left, maxViolations),
		})
	}
	for _, u := range r.pkg.units {
		if n := r.dropped[u.name]; n > 0 {
			r.evidence([]policies.Evidence{{Kind: "exception", Value: fmt.Sprintf("rule %s: %d results are excepted by the policy itself", u.name, n)}})
			delete(r.dropped, u.name)
		}
	}
}

// trimMessage makes a message one that a report can show: bounded, without space around it.
func trimMessage(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxMessage {
		s = cut(s, maxMessage) + "…"
	}
	return s
}

// result reads a map: msg, and what gitgate and conftest know beside it. Other fields are evidence when they are no lists or
// maps.
func result(o ast.Object) (policies.Violation, []policies.Evidence, error) {
	var v policies.Violation
	var evidence []policies.Evidence
	var err error
	hasMessage := false
	o.Foreach(func(k, t *ast.Term) {
		key, ok := k.Value.(ast.String)
		if !ok || err != nil {
			return
		}
		text, isText := t.Value.(ast.String)
		switch {
		case key == "msg":
			if hasMessage = isText; isText {
				v.Message = string(text)
			}
		case key == "path" || key == "field":
			v.Path, ok = pathOf(t.Value)
			if !ok {
				err = fmt.Errorf("%s is %s, expected a path such as spec.replicas or [\"spec\", \"replicas\"]", string(key), ast.ValueName(t.Value))
			}
		case key == "_loc":
			v.Pos = location(t.Value)
		case isText && (key == "fix" || key == "remediation"):
			v.Fix = cut(strings.TrimSpace(string(text)), maxFix)
		case isText && key == "url":
			v.URL = cut(string(text), maxFix)
		case isText && key == "rule":
			v.Rule = cut(string(text), 256)
		case isText:
			evidence = append(evidence, policies.Evidence{Kind: string(key), Value: cut(string(text), maxMessage)})
		case ast.IsScalar(t.Value):
			evidence = append(evidence, policies.Evidence{Kind: string(key), Value: t.Value.String()})
		}
	})
	if err == nil && !hasMessage {
		err = fmt.Errorf("result has no message, expected a string in msg")
	}
	return v, evidence, err
}

// pathOf reads a field path as text or as a list of steps, from the object or from Rego's input.
func pathOf(v ast.Value) (policies.Path, bool) {
	var p policies.Path
	switch v := v.(type) {
	case ast.String:
		if len(v) > maxMessage {
			return nil, false
		}
		p = policies.ParsePath(string(v))
	case *ast.Array:
		for i := range v.Len() {
			switch step := v.Elem(i).Value.(type) {
			case ast.String:
				p = append(p, string(step))
			case ast.Number:
				n, ok := step.Int()
				if !ok || n < 0 {
					return nil, false
				}
				p = append(p, n)
			default:
				return nil, false
			}
		}
	default:
		return nil, false
	}
	for _, prefix := range []policies.Path{{"input"}, {"request", "object"}, {"request", "oldObject"}} {
		if hasPrefix(p, prefix) {
			p = p[len(prefix):]
		}
	}
	return p[:min(len(p), maxSteps)], true
}

func hasPrefix(p, prefix policies.Path) bool {
	if len(p) < len(prefix) {
		return false
	}
	for i := range prefix {
		if p[i] != prefix[i] {
			return false
		}
	}
	return true
}

// location reads conftest's _loc: the file and the line that a result is about.
func location(v ast.Value) policies.Position {
	o, ok := v.(ast.Object)
	if !ok {
		return policies.Position{}
	}
	var pos policies.Position
	if t := o.Get(ast.InternedTerm("file")); t != nil {
		if s, ok := t.Value.(ast.String); ok {
			pos.File = cut(string(s), maxMessage)
		}
	}
	if t := o.Get(ast.InternedTerm("line")); t != nil {
		if n, ok := t.Value.(ast.Number); ok {
			if line, ok := n.Int(); ok && line > 0 {
				pos.Line = line
			}
		}
	}
	return pos
}
