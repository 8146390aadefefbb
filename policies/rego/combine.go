package rego

import (
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// A package whose METADATA says custom.combine: true has the input of `conftest test --combine`: a list of all objects of the
// change set, each as {"path": file, "contents": object}, by path. It is asked once for the set. What it finds is told at the
// object that it is about: the one its path begins with (input[3].contents.spec), or the first of the file that it names in _loc.
// What is about no object is told at the first of the set or, where only some of the set are changes, at each of those.

type combinedKey struct {
	*suite
	index int
}

// combined is what a package says of a change set.
type combined struct {
	answer
	order  []*policies.Object
	owners []int // of each violation: index in order, or -1
}

func (s *suite) judgeCombined(ctx context.Context, c *policies.Change, index int) (policies.Finding, error) {
	p := s.packages[index]
	subject := c.Subject()
	if subject.Origin.File == "" {
		return policies.Finding{}, &policies.NeedError{What: "the files of the change set"}
	}
	if err := p.needs.missing(c); err != nil {
		return policies.Finding{}, err
	}
	v, err := c.Set.Derive(combinedKey{s, index}, func() (any, error) { return s.combine(ctx, c, p), nil })
	if err != nil {
		return policies.Finding{}, err
	}
	all := v.(*combined)
	if all.err != nil {
		return policies.Finding{}, all.err
	}
	finding := policies.Finding{Evidence: all.finding.Evidence}
	first := len(all.order) == 0 || sameOrigin(all.order[0], subject)
	for i, violation := range all.finding.Violations {
		owner := all.owners[i]
		if owner < 0 && (first || c.Knows.Has(policies.KnowsOld)) || owner >= 0 && sameOrigin(all.order[owner], subject) {
			finding.Violations = append(finding.Violations, violation)
		}
	}
	return finding, nil
}

func sameOrigin(a, b *policies.Object) bool {
	return a.Origin.File == b.Origin.File && a.Origin.Document == b.Origin.Document
}

func (s *suite) combine(ctx context.Context, c *policies.Change, p *pkg) *combined {
	out := &combined{}
	for o := range c.Set.All() {
		out.order = append(out.order, o)
	}
	slices.SortFunc(out.order, func(a, b *policies.Object) int {
		if by := strings.Compare(a.Origin.File, b.Origin.File); by != 0 {
			return by
		}
		return a.Origin.Document - b.Origin.Document
	})
	items := make([]*ast.Term, len(out.order))
	for i, o := range out.order {
		t, err := opa.Named(o)
		if err != nil {
			out.err = err
			return out
		}
		items[i] = ast.ObjectTerm(
			ast.Item(ast.InternedTerm("path"), ast.StringTerm(o.Origin.File)),
			ast.Item(ast.InternedTerm("contents"), t))
	}
	in := &input{term: ast.ArrayTerm(items...), virtual: topdown.NewVirtualCache()}
	q := queryOf(0, p, p.units)
	bindings, undefined, err := s.run(ctx, q.body, in, &opa.View{Root: s.data.value.Value.(ast.Object), Extra: s.extra(c)})
	if err != nil {
		out.err = s.failure(p, err)
		return out
	}
	out.finding, out.err = read(p, q, bindings, in.term.Value, "")
	out.finding.Evidence = append(out.finding.Evidence, s.undefined(undefined)...)
	for i := range out.finding.Violations {
		out.owners = append(out.owners, out.own(&out.finding.Violations[i]))
	}
	return out
}

// own finds the object that a violation is about and makes its path one in that.
func (all *combined) own(v *policies.Violation) int {
	if len(v.Path) > 0 {
		if i, ok := v.Path[0].(int); ok && i < len(all.order) {
			v.Path = v.Path[1:]
			if len(v.Path) > 0 && v.Path[0] == "contents" {
				v.Path = v.Path[1:]
			}
			return i
		}
		v.Path = nil
	}
	file := v.Pos.File
	if v.Pos.Line == 0 {
		v.Pos = policies.Position{}
	}
	return slices.IndexFunc(all.order, func(o *policies.Object) bool { return file != "" && o.Origin.File == file })
}
