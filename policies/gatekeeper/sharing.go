package gatekeeper

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies/opa"
)

// Many templates of a library have rules in common, word for word: which containers a Pod has, where the specification of a workload is. A rule
// that looks at nothing but the review has one value for all of them, and is evaluated once for each review.

// commonTree finds the number of a common rule of one template by its reference.
type commonTree struct {
	id       int // -1 for none
	children map[string]*commonTree
}

func (t *commonTree) find(what ast.String, ref ast.Ref) (id int, left ast.Ref, ok bool) {
	if t == nil {
		return 0, nil, false
	}
	t = t.children[string(what)]
	for i, step := range ref {
		if t == nil {
			return 0, nil, false
		}
		if t.id >= 0 {
			return t.id, ref[i:], true
		}
		s, isName := step.Value.(ast.String)
		if !isName {
			return 0, nil, false
		}
		t = t.children[string(s)]
	}
	if t == nil || t.id < 0 {
		return 0, nil, false
	}
	return t.id, nil, true
}

func (t *commonTree) add(path []string, id int) {
	for _, step := range path {
		next := t.children[step]
		if next == nil {
			next = &commonTree{id: -1}
			if t.children == nil {
				t.children = map[string]*commonTree{}
			}
			t.children[step] = next
		}
		t = next
	}
	t.id = id
}

// commonRules numbers the rules that several templates can share.
type commonRules struct {
	ids map[string]int // by what a rule and all that it refers to say
}

// ruleGroup is all rules of one reference.
type ruleGroup struct {
	path  []string // templates or libs, and then what follows the kind
	text  string
	deps  [][]string // references to others: templates or libs, and the constant steps after the kind
	plain bool       // looks at nothing but the review and the inventory, apart from its deps
}

var localVar = regexp.MustCompile(`__local\d+__`)

// of finds the common rules of t, whose modules are compiled.
func (r *commonRules) of(t *template) *commonTree {
	roots := map[string]ast.Ref{"templates": t.ref("templates"), "libs": t.ref("libs")}
	groups := map[string]*ruleGroup{}
	for _, s := range t.sources {
		m := t.compiler.Modules[s.id]
		if m == nil {
			return nil
		}
		for _, rule := range m.Rules {
			path, ok := pathOf(rule.Ref().GroundPrefix(), roots)
			if !ok {
				continue
			}
			key := strings.Join(path, separator)
			g := groups[key]
			if g == nil {
				g = &ruleGroup{path: path, plain: true}
				groups[key] = g
			}
			g.look(rule, roots)
		}
	}
	tree := &commonTree{id: -1}
	for key, g := range groups {
		closure := map[string]bool{}
		if !isPlain(key, groups, closure) {
			continue
		}
		var said []string
		for k := range closure {
			said = append(said, k+"="+groups[k].text)
		}
		slices.Sort(said)
		full := key + "\x01" + strings.Join(said, "\x01")
		id, known := r.ids[full]
		if !known {
			id = len(r.ids)
			r.ids[full] = id
		}
		tree.add(g.path, id)
	}
	return tree
}

// isPlain says whether a group and all that it refers to look at nothing but the review, and collects them.
func isPlain(key string, groups map[string]*ruleGroup, closure map[string]bool) bool {
	if closure[key] {
		return true
	}
	g := groups[key]
	if g == nil || !g.plain {
		return false
	}
	closure[key] = true
	for _, dep := range g.deps {
		if !isPlain(groupOf(dep, groups), groups, closure) {
			return false
		}
	}
	return true
}

// groupOf is the key of the group that a reference leads to, or into; "" for none.
func groupOf(steps []string, groups map[string]*ruleGroup) string {
	for n := len(steps); n > 1; n-- {
		if key := strings.Join(steps[:n], separator); groups[key] != nil {
			return key
		}
	}
	return ""
}

const separator = "\x00"

// pathOf is the steps of a reference to a rule of the template, without its kind.
func pathOf(ref ast.Ref, roots map[string]ast.Ref) ([]string, bool) {
	for name, root := range roots {
		if !ref.HasPrefix(root) || len(ref) == len(root) {
			continue
		}
		path := []string{name}
		for _, step := range ref[len(root):] {
			s, ok := step.Value.(ast.String)
			if !ok {
				return nil, false
			}
			path = append(path, string(s))
		}
		return path, true
	}
	return nil, false
}

// look adds a rule to its group.
func (g *ruleGroup) look(rule *ast.Rule, roots map[string]ast.Ref) {
	text := rule.String()
	for name, root := range roots {
		text = strings.ReplaceAll(text, root.String(), "<"+name+">")
	}
	numbers := map[string]string{}
	g.text += localVar.ReplaceAllStringFunc(text, func(s string) string {
		if numbers[s] == "" {
			numbers[s] = fmt.Sprintf("<%d>", len(numbers))
		}
		return numbers[s]
	}) + "\n"
	if len(rule.Ref()) != len(rule.Ref().GroundPrefix()) {
		g.plain = false // a rule whose name has variables is looked up in ways of its own
	}
	for one := rule; one != nil; one = one.Else {
		ast.WalkNodes(one, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Expr:
				if len(n.With) > 0 {
					g.plain = false
				}
				if n.IsCall() {
					if name := n.Operator().String(); name == "time.now_ns" || name == externalData || name == "trace" || name == "print" || opa.IsGuarded(name) {
						g.plain = false
					}
				}
			case *ast.Term:
				switch v := n.Value.(type) {
				case ast.Call:
					if name := v[0].String(); name == "time.now_ns" || name == externalData || opa.IsGuarded(name) {
						g.plain = false
					}
				case ast.Var:
					if v.Equal(ast.InputRootDocument.Value) {
						g.plain = false // the whole input, with its parameters
					}
				case ast.Ref:
					return g.refer(v, roots)
				}
			}
			return false
		})
	}
}

// refer notes what a reference is to. It says that its first step is not to be looked at by itself.
func (g *ruleGroup) refer(ref ast.Ref, roots map[string]ast.Ref) (seen bool) {
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		if len(ref) < 2 || !ref[1].Equal(ast.StringTerm("review")) {
			g.plain = false
		}
	case ref.HasPrefix(inventoryRef):
	case ref[0].Equal(ast.DefaultRootDocument):
		steps := constantSteps(ref, roots)
		if steps == nil {
			g.plain = false
			return false
		}
		g.deps = append(g.deps, steps)
	default:
		return false
	}
	for _, step := range ref[1:] {
		ast.WalkTerms(step, func(t *ast.Term) bool {
			if r, ok := t.Value.(ast.Ref); ok {
				return g.refer(r, roots)
			}
			if t.Equal(ast.InputRootDocument) {
				g.plain = false
			}
			return false
		})
	}
	return true
}

// constantSteps is a reference to something of the template, up to its first variable; nil for other references.
func constantSteps(ref ast.Ref, roots map[string]ast.Ref) []string {
	for name, root := range roots {
		if ref.HasPrefix(root) {
			steps := []string{name}
			for _, step := range ref[len(root):] {
				s, ok := step.Value.(ast.String)
				if !ok {
					break
				}
				steps = append(steps, string(s))
			}
			return steps
		}
	}
	return nil
}
