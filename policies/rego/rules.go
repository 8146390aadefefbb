package rego

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
)

// The names of rules that conftest asks (its README and documentation, "Writing policies").
var (
	ruleName = regexp.MustCompile(`^(deny|violation|warn)(_[a-zA-Z0-9]+)*$`)
	unitName = regexp.MustCompile(`__gitgate[0-9]+_([a-zA-Z0-9_]+)`)
)

const exceptionRule = "exception"

// pkg is one Rego package that is a policy.
type pkg struct {
	path       string // without data: "main", "kubernetes.admission"
	ref        ast.Ref
	origin     *ast.Location
	units      []*unit
	exceptions *unit // nil when the package has none
	needs      needs
	operations []policies.Operation // that it is asked about; empty: CREATE and UPDATE
	combine    bool                 // it is asked once, of the whole change set
}

// unit is what can be asked by itself: one definition of a set rule, or all definitions of another rule. A definition is given
// a name of its own and its set is joined to the rule's name again, so that a violation can be told from that of another
// definition of the same name: by its METADATA, its kinds, its place.
type unit struct {
	name  string      // of the rule, as its author wrote it
	ref   ast.Ref     // what to query: always a set
	asked ast.Ref     // the rule as its author named it
	rule  *ast.Rule   // the definition, or the first of them
	all   []*ast.Rule // every definition that the unit asks
	own   bool        // ref is a definition that was given a name of its own
	place *place      // where its violations stand; nil when that is not known
	value bool        // the set's one member is the value of a complete rule
	meta  metadata
	at    policies.Position   // of the definition
	kinds []policies.KindRule // that it can hold for; nil is every kind
}

// split finds the packages that are policies and gives each definition of their rules a name, in the modules of all.
func split(all sources, namespaces []string) ([]*pkg, error) {
	known := map[string]bool{}
	byPath := map[string]*pkg{}
	for _, s := range all.inOrder() {
		path := packagePath(s.module.Package.Path)
		known[path] = true
		if byPath[path] == nil {
			byPath[path] = &pkg{path: path, ref: s.module.Package.Path, origin: s.module.Package.Location}
		}
	}
	if err := checkNamespaces(namespaces, known); err != nil {
		return nil, err
	}
	sp := splitter{all: all, meta: usesMetadata(all)}
	for _, s := range all.inOrder() {
		path := packagePath(s.module.Package.Path)
		if len(namespaces) == 0 || slices.Contains(namespaces, path) {
			sp.module(byPath[path], s.module)
		}
	}
	if len(sp.errs) > 0 {
		return nil, errors.Join(sp.errs...)
	}
	var packages []*pkg
	for _, p := range byPath {
		if len(p.units) > 0 {
			packages = append(packages, p)
			continue
		}
		if slices.Contains(namespaces, p.path) {
			sp.errs = append(sp.errs, policies.ErrorAt(all.position(p.origin), fmt.Errorf("package %s has no rule deny, warn or violation, expected one as it is a namespace of policies", p.path)))
		}
	}
	if len(packages) == 0 && len(all) > 0 {
		for _, p := range byPath {
			sp.errs = append(sp.errs, policies.ErrorAt(all.position(p.origin), fmt.Errorf("package %s has no rule deny, warn or violation, and neither has any other package: nothing would be judged", p.path)))
		}
	}
	slices.SortFunc(sp.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	slices.SortFunc(packages, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })
	return packages, errors.Join(sp.errs...)
}

func packagePath(ref ast.Ref) string { return strings.TrimPrefix(ref.String(), "data.") }

type splitter struct {
	all   sources
	meta  map[string]bool // rules that ask for their own METADATA: package and name
	count int
	errs  []error
}

func (sp *splitter) module(p *pkg, m *ast.Module) {
	defined := m.Rules
	for _, rule := range defined {
		name := headName(rule.Head)
		switch {
		case len(rule.Head.Args) > 0: // a function is asked by nobody
		case name == exceptionRule && p.exceptions == nil:
			p.exceptions = sp.ask(m, rule, exceptionRule, func(x *ast.Term) *ast.Term {
				return ast.NewTerm(p.ref.Append(ast.StringTerm(exceptionRule)).Append(ast.VarTerm("$gitgate1")).Append(ast.VarTerm("$gitgate2")))
			})
		case !ruleName.MatchString(name):
		case len(rule.Head.Ref()) > 1 || rule.Head.DocKind() == ast.PartialObjectDoc:
			sp.refuse(rule, fmt.Errorf("rule %s makes a map, expected a set of messages: write %s contains msg if { … }", name, name))
		case rule.Head.DocKind() == ast.PartialSetDoc && !sp.meta[p.path+"."+name]:
			p.units = append(p.units, sp.rename(m, rule, name))
		default:
			sp.gather(p, m, rule, name)
		}
	}
}

// headName is the name that a rule begins with.
func headName(h *ast.Head) string {
	if name, ok := h.Ref()[0].Value.(ast.Var); ok {
		return string(name)
	}
	return ""
}

func (sp *splitter) refuse(rule *ast.Rule, err error) {
	sp.errs = append(sp.errs, policies.ErrorAt(sp.all.position(rule.Location), err))
}

// fresh is a name that no source has.
func (sp *splitter) fresh(name string) ast.Var {
	sp.count++
	return ast.Var("__gitgate" + strconv.Itoa(sp.count) + "_" + name)
}

// rename gives one definition of a set a name of its own, and makes what it finds part of the set again.
func (sp *splitter) rename(m *ast.Module, rule *ast.Rule, name string) *unit {
	own := sp.fresh(name)
	rule.Head.Name = own
	rule.Head.Reference = ast.Ref{&ast.Term{Value: own, Location: rule.Head.Location}}
	ref := m.Package.Path.Append(ast.StringTerm(string(own)))
	x := ast.VarTerm("x")
	m.Rules = append(m.Rules, setRule(m, rule.Location, ast.Var(name), x, ast.NewExpr(ast.NewTerm(ref.Append(x)))))
	return &unit{name: name, ref: ref, asked: m.Package.Path.Append(ast.StringTerm(name)), own: true, rule: rule, all: []*ast.Rule{rule}}
}

// gather makes one unit of all definitions of a rule.
func (sp *splitter) gather(p *pkg, m *ast.Module, rule *ast.Rule, name string) {
	for _, u := range p.units {
		if u.name == name && (u.value || sp.meta[p.path+"."+name]) {
			u.all = append(u.all, rule)
			return
		}
	}
	ref := p.ref.Append(ast.StringTerm(name))
	if rule.Head.DocKind() == ast.PartialSetDoc {
		p.units = append(p.units, &unit{name: name, ref: ref, asked: p.ref.Append(ast.StringTerm(name)), rule: rule, all: []*ast.Rule{rule}})
		return
	}
	u := sp.ask(m, rule, name, func(*ast.Term) *ast.Term { return ast.NewTerm(ref) })
	u.value = true
	p.units = append(p.units, u)
}

// ask makes a set rule whose members are all values of a term.
func (sp *splitter) ask(m *ast.Module, rule *ast.Rule, name string, term func(x *ast.Term) *ast.Term) *unit {
	own, x := sp.fresh(name), ast.VarTerm("x")
	m.Rules = append(m.Rules, setRule(m, rule.Location, own, x, ast.Equality.Expr(x, term(x))))
	return &unit{name: name, ref: m.Package.Path.Append(ast.StringTerm(string(own))), asked: m.Package.Path.Append(ast.StringTerm(name)), rule: rule, all: []*ast.Rule{rule}}
}

// setRule makes the rule: name contains key if body.
func setRule(m *ast.Module, loc *ast.Location, name ast.Var, key *ast.Term, body *ast.Expr) *ast.Rule {
	head := ast.NewHead(name, key)
	head.Location = loc
	body.Location = loc
	ast.WalkTerms(body, func(t *ast.Term) bool {
		if t.Location == nil {
			t.Location = loc
		}
		return false
	})
	return &ast.Rule{Location: loc, Head: head, Body: ast.NewBody(body), Module: m}
}

// usesMetadata finds the rules that ask rego.metadata for their own annotations, which belong to their own name: such a rule
// cannot be given another.
func usesMetadata(all sources) map[string]bool {
	out := map[string]bool{}
	for _, s := range all {
		for _, rule := range s.module.Rules {
			ast.WalkRefs(rule, func(r ast.Ref) bool {
				if r.HasPrefix(ast.RegoMetadataChain.Ref()) || r.HasPrefix(ast.RegoMetadataRule.Ref()) {
					out[packagePath(s.module.Package.Path)+"."+headName(rule.Head)] = true
				}
				return false
			})
		}
	}
	return out
}

// unused tells of the packages that are no policies and that nothing else uses: what they say is judged by nobody.
func (s *suite) unused() []error {
	used := map[string]bool{}
	for _, p := range s.packages {
		used[p.path] = true
	}
	for _, m := range s.compiler.Modules {
		own := packagePath(m.Package.Path)
		for _, rule := range m.Rules {
			for dependent := range s.compiler.Graph.Dependents(rule) {
				if r, ok := dependent.(*ast.Rule); ok && r.Module != nil && packagePath(r.Module.Package.Path) != own {
					used[own] = true
				}
			}
		}
	}
	var out []error
	for _, src := range s.all.inOrder() {
		path := packagePath(src.module.Package.Path)
		if !used[path] {
			used[path] = true
			out = append(out, policies.ErrorAt(s.all.position(src.module.Package.Location),
				fmt.Errorf("package %s has no rule deny, warn or violation and no policy uses it: nobody is judged by it", path)))
		}
	}
	return out
}
