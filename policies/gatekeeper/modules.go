package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
	"github.com/open-policy-agent/opa/v1/types"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// Each template is compiled under names of its own: the rules under data.gatekeeper.templates[kind], its libraries under
// data.gatekeeper.libs[kind]. What a template may refer to is what Gatekeeper lets it: data.lib, which are its own libraries, and
// data.inventory (frameworks/constraint pkg/regorewriter).

const violationRule = "violation"

var (
	libRef       = ast.Ref{ast.DefaultRootDocument, ast.StringTerm("lib")}
	inventoryRef = ast.Ref{ast.DefaultRootDocument, ast.StringTerm("inventory")}
	futureRef    = ast.Ref{ast.VarTerm("future")}
)

func (t *template) ref(what string) ast.Ref {
	return ast.DefaultRootRef.Append(ast.StringTerm("gatekeeper")).Append(ast.StringTerm(what)).Append(ast.StringTerm(t.kind))
}

func (t *template) violation() ast.Ref {
	return t.ref("templates").Append(ast.StringTerm(violationRule))
}

// rewrite gives the modules of t names of their own. The errors are those of what they may not refer to.
func (t *template) rewrite() []error {
	var errs []error
	all := t.byID()
	fail := func(loc *ast.Location, format string, args ...any) {
		errs = append(errs, policies.ErrorAt(all.position(loc), fmt.Errorf(format, args...)))
	}
	found := false
	for _, rule := range t.sources[0].module.Rules {
		if !rule.Head.Ref().HasPrefix(ast.Ref{ast.VarTerm(violationRule)}) || len(rule.Head.Args) > 0 {
			continue
		}
		found = true
		if rule.Head.DocKind() != ast.PartialSetDoc || len(rule.Head.Ref()) > 1 {
			fail(rule.Location, "rule violation makes no set: expected violation[{\"msg\": msg}] { … }, or in v1 violation contains {\"msg\": msg} if { … }")
		}
	}
	if !found {
		fail(t.sources[0].module.Package.Location, "template %s has no rule violation: expected one, since nothing else is asked", t.doc.Name)
	}
	for i, s := range t.sources {
		path := s.module.Package.Path
		if i > 0 && (!path.HasPrefix(libRef) || path.Equal(libRef)) {
			fail(s.module.Package.Location, "library has the package %s: expected a name below lib", path)
		}
		for _, imported := range s.module.Imports {
			ref, ok := imported.Path.Value.(ast.Ref)
			if !ok || !ref.HasPrefix(libRef) && !ref.HasPrefix(futureRef) {
				fail(imported.Location, "import of %s: expected data.lib or future.keywords, as Gatekeeper allows no other", imported.Path)
			}
		}
		for _, rule := range s.module.Rules {
			ast.WalkRefs(rule, func(ref ast.Ref) bool {
				if ref[0].Equal(ast.DefaultRootDocument) && !ref.HasPrefix(libRef) && !ref.HasPrefix(inventoryRef) {
					loc := ref[0].Location
					if loc == nil {
						loc = rule.Location
					}
					fail(loc, "reference to %s: expected data.inventory or data.lib, as Gatekeeper allows no other", ref)
				}
				return false
			})
		}
	}
	if len(errs) > 0 {
		return errs
	}
	for i, s := range t.sources {
		_, err := ast.TransformRefs(s.module, func(ref ast.Ref) (ast.Value, error) {
			if ref.HasPrefix(libRef) {
				moved := make(ast.Ref, 0, len(ref)+2)
				for _, step := range t.ref("libs") {
					moved = append(moved, &ast.Term{Value: step.Value, Location: ref[0].Location})
				}
				return moved.Concat(ref[1:]), nil
			}
			return ref, nil
		})
		if err != nil {
			return []error{errorAt(s.doc, s.path, policies.AtKey, fmt.Errorf("rego of template %s: %w", t.doc.Name, err))}
		}
		if i == 0 {
			s.module.Package.Path = t.ref("templates")
		}
	}
	return nil
}

func (t *template) byID() sources {
	out := sources{}
	for _, s := range t.sources {
		out[s.id] = s
	}
	return out
}

// externalData is the builtin that asks Gatekeeper's external data providers.
const externalData = "external_data"

// most is how many templates are compiled together: what a compiler costs beside them is then little, and several work at once.
const most = 16

// compile compiles all templates, those in Rego on all cores, and finds out what each needs.
func (b *bundle) compile(ctx context.Context, guard opa.Guard) {
	b.compileNative(ctx)
	var kinds []string
	for kind, t := range b.templates {
		if t.native == nil {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		return
	}
	slices.Sort(kinds)
	size := min(most, (len(kinds)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	groups := slices.Collect(slices.Chunk(kinds, size))
	errs := make([][]error, len(groups))
	onAllCores(len(groups), func(i int) { errs[i] = b.compileTogether(groups[i], guard) })
	values := cache.NewInterQueryValueCache(context.Background(), nil)
	rules := &commonRules{ids: map[string]int{}}
	for i, group := range groups {
		b.errs = append(b.errs, errs[i]...)
		for _, kind := range group {
			t := b.templates[kind]
			if len(errs[i]) > 0 {
				b.broken[kind] = true
				continue
			}
			t.rules, t.values = rules, values
			t.common = rules.of(t)
		}
	}
}

// compileTogether compiles the templates of some kinds, which refer to nothing of each other. Each template is looked at by one call alone.
func (b *bundle) compileTogether(kinds []string, guard opa.Guard) (errs []error) {
	all, modules := sources{}, map[string]*ast.Module{}
	defer func() {
		if v := recover(); v != nil {
			for _, kind := range kinds {
				errs = append(errs, errorAt(b.templates[kind].doc, nil, policies.AtValue, fmt.Errorf("the compiler panicked over it or one beside it: %v", v)))
			}
		}
	}()
	for _, kind := range kinds {
		for _, s := range b.templates[kind].sources {
			all[s.id], modules[s.id] = s, s.module
		}
	}
	capabilities := guard.Capabilities()
	capabilities.Builtins = append(slices.Clone(capabilities.Builtins), &ast.Builtin{
		Name: externalData, Decl: types.NewFunction(types.Args(types.A), types.A),
	})
	compiler := ast.NewCompiler().WithCapabilities(capabilities).SetErrorLimit(0)
	compiler.Compile(modules)
	if compiler.Failed() {
		return all.located(compiler.Errors)
	}
	for _, kind := range kinds {
		t := b.templates[kind]
		t.compiler = compiler
		t.query = ast.NewBody(ast.Equality.Expr(ast.NewTerm(answerVar), ast.NewTerm(t.violation())))
		t.needs = t.findNeeds()
		if !t.limited && t.needs.operation && t.needs.deletes {
			t.operations = []policies.Operation{policies.Create, policies.Update, policies.Delete}
		}
	}
	return nil
}

// sources is Rego texts by id, for positions.
type sources map[string]*source

// position is where OPA's location stands in the template's document.
func (all sources) position(loc *ast.Location) policies.Position {
	if loc == nil {
		return policies.Position{}
	}
	s := all[loc.File]
	if s == nil {
		return policies.Position{}
	}
	return s.doc.LocateInside(s.path, s.text, loc.Row, loc.Col-1)
}

// located makes errors with positions of what OPA says.
func (all sources) located(err error) []error {
	var list ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &list):
	case errors.As(err, &one):
		list = ast.Errors{one}
	default:
		return []error{err}
	}
	var out []error
	for _, e := range list {
		located := policies.ErrorAt(all.position(e.Location), errors.New(opa.Message(e)))
		if !slices.ContainsFunc(out, func(other error) bool { return other.Error() == located.Error() }) {
			out = append(out, located)
		}
	}
	return out
}
