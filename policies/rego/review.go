package rego

import (
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// admissionPackage is where OPA's own admission webhook has its policies (openpolicyagent.org, "Kubernetes"): it and what lies
// below it get the AdmissionReview as input.
var admissionPackage = ast.Ref{ast.DefaultRootDocument, ast.StringTerm("kubernetes"), ast.StringTerm("admission")}

func (p *pkg) isReview() bool { return !p.combine && p.ref.HasPrefix(admissionPackage) }

// needs is what a package looks at that not every door knows.
type needs struct {
	facts     policies.Facts
	operation bool // it asks whether the object is created or updated
	options   bool // it asks for the request's options
	inventory bool // it asks for the other objects
	file      bool // it asks for the file
	moment    bool // it asks for the time, for chance or the network
}

func needsOf(c *ast.Compiler, p *pkg, r *opa.Reach) needs {
	var n needs
	input := ast.InputRootDocument
	if p.isReview() {
		if r.LooksAt(input, "request", "userInfo") {
			n.facts |= policies.KnowsActor
		}
		if r.LooksAt(input, "request", "oldObject") {
			n.facts |= policies.KnowsOld
		}
		n.operation = r.LooksAt(input, "request", "operation")
		n.options = r.LooksAt(input, "request", "options")
	}
	for name := range r.Calls() {
		if opa.Online(name) {
			n.facts |= policies.Online
		}
		n.moment = n.moment || opa.Momentary(name)
	}
	n.inventory = wantsInventory(c, r).any()
	n.file = len(r.Reserved("conftest")) > 0
	return n
}

// alone says that the answers of a package depend on the object and on nothing else.
func (p *pkg) alone() bool {
	n := p.needs
	return !p.combine && !p.isReview() && n == needs{}
}

// refuseUnknowable refuses what no door ever knows.
func refuseUnknowable(p *pkg, r *opa.Reach, all sources) error {
	if !p.isReview() {
		return nil
	}
	var errs []error
	for _, ref := range r.Under(ast.InputRootDocument, "request", "uid") {
		if len(ref) > 2 && ref[2].Equal(ast.StringTerm("uid")) {
			errs = append(errs, policies.ErrorAt(all.position(ref[0].Location),
				errors.New("input.request.uid differs for each request and is not known before the merge: a policy may not look at it")))
		}
	}
	return errors.Join(errs...)
}

// operations is what a package is to be asked about: CREATE and UPDATE, and DELETE or CONNECT when it speaks of them.
func operations(p *pkg, r *opa.Reach, n needs) []policies.Operation {
	if !p.isReview() || !n.operation {
		return nil
	}
	out := []policies.Operation{policies.Create, policies.Update}
	for _, op := range []policies.Operation{policies.Delete, policies.Connect} {
		if r.Says(string(op)) {
			out = append(out, op)
		}
	}
	if len(out) == 2 {
		return nil
	}
	return out
}

// missing says what of a package's needs is not known of c.
func (n needs) missing(c *policies.Change) error {
	if unknown := n.facts &^ c.Knows; unknown != 0 {
		return &policies.NeedError{Facts: unknown, What: joined(unknown.Names())}
	}
	inFile := c.Subject().Origin.File != ""
	switch {
	case n.options && c.Options == nil:
		return &policies.NeedError{What: "the options of the request"}
	case n.inventory && !inFile && !c.Knows.Has(policies.KnowsCluster):
		return &policies.NeedError{Facts: policies.KnowsCluster, What: joined(policies.KnowsCluster.Names())}
	case n.file && !inFile:
		return &policies.NeedError{What: "the file of the object"}
	}
	return nil
}

// unsettled says that the package's answer may depend on whether the object is there already, which this door does not know.
func (n needs) unsettled(c *policies.Change) bool {
	return n.operation && c.Operation == policies.Create && !c.Knows.Has(policies.KnowsOld)
}

// reviewOf is c as an AdmissionReview (k8s.io/api/admission/v1), as far as it is known, as the request op.
func reviewOf(c *policies.Change, op policies.Operation) (*ast.Term, error) {
	subject := c.Subject()
	kind := opa.Texts("group", subject.Kind.Group, "version", subject.Kind.Version, "kind", subject.Kind.Kind)
	resource := opa.Texts("group", c.Resource.Group, "version", c.Resource.Version, "resource", c.Resource.Resource)
	request := ast.NewObjectWithCapacity(18)
	set := func(key string, t *ast.Term) { request.Insert(ast.InternedTerm(key), t) }
	set("kind", kind)
	set("requestKind", kind)
	set("resource", resource)
	set("requestResource", resource)
	if sub := c.Resource.Subresource; sub != "" {
		set("subResource", ast.StringTerm(sub))
		set("requestSubResource", ast.StringTerm(sub))
	}
	if subject.Name != "" {
		set("name", ast.StringTerm(subject.Name))
	}
	if c.Namespace != "" {
		set("namespace", ast.StringTerm(c.Namespace))
	}
	set("operation", ast.InternedTerm(string(op)))
	set("dryRun", ast.InternedTerm(c.DryRun))
	for _, field := range []struct {
		key    string
		object *policies.Object
	}{{"object", c.Object}, {"oldObject", c.Old}} {
		value := ast.InternedNullTerm
		if field.object != nil {
			t, err := opa.Named(field.object)
			if err != nil {
				return nil, err
			}
			value = t
		}
		set(field.key, value)
	}
	if c.Actor != nil {
		set("userInfo", opa.Actor(c.Actor))
	}
	if c.Options != nil {
		t, err := opa.Term(c.Options)
		if err != nil {
			return nil, fmt.Errorf("options of the request: %w", err)
		}
		set("options", t)
	}
	return ast.ObjectTerm(
		ast.Item(ast.InternedTerm("apiVersion"), ast.InternedTerm("admission.k8s.io/v1")),
		ast.Item(ast.InternedTerm("kind"), ast.InternedTerm("AdmissionReview")),
		ast.Item(ast.InternedTerm("request"), ast.NewTerm(request)),
	), nil
}
