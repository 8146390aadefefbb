package gatekeeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown/cache"

	"gitgate.dev/gitgate/policies"
)

// targetName is the one target that Gatekeeper has (gatekeeper pkg/target).
const targetName = "admission.k8s.gatekeeper.sh"

// The engines of a template's code, as its API spells them.
const (
	engineRego = "Rego"
	engineCEL  = "K8sNativeValidation"
)

// template is a ConstraintTemplate. It is immutable once it is compiled.
type template struct {
	doc        *policies.Object
	kind       string // of its constraints
	params     *parameters
	operations []policies.Operation // that it is asked about
	limited    bool                 // the operations are those that the template names
	native     *native              // its code in CEL, which goes before Rego; nil when it has none
	sources    []*source            // its Rego: the first has the rule violation

	compiler *ast.Compiler
	query    ast.Body // what is asked: the rule violation
	rules    *commonRules
	common   *commonTree // which of its rules are among them
	values   cache.InterQueryValueCache
	needs    needs
}

// source is one Rego text of a template.
type source struct {
	doc    *policies.Object
	path   policies.Path // where the text stands in doc
	text   string
	id     string // names it in OPA's locations
	module *ast.Module
}

// constraintKind is the kind of a template's constraints, as far as it is readable.
func constraintKind(o *policies.Object) string {
	v, _ := policies.Lookup(o.Map(), policies.Path{"spec", "crd", "spec", "names", "kind"})
	s, _ := v.(string)
	return s
}

// newTemplate reads and parses a template. The errors are all that is wrong with it.
func newTemplate(o *policies.Object) (*template, []error) {
	at := func(steps ...any) policies.Path { return append(policies.Path{"spec"}, steps...) }
	var errs []error
	fail := func(path policies.Path, aspect policies.Aspect, format string, args ...any) {
		errs = append(errs, errorAt(o, path, aspect, fmt.Errorf(format, args...)))
	}
	if o.Kind.Kind != templateKind {
		fail(policies.Path{"kind"}, policies.AtValue, "%s (%s) is nothing that Gatekeeper knows: expected %s", o.Kind.Kind, o.Kind.APIVersion(), templateKind)
		return nil, errs
	}
	if !slices.Contains([]string{"v1", "v1beta1", "v1alpha1"}, o.Kind.Version) {
		fail(policies.Path{"apiVersion"}, policies.AtValue, "%s has no version %s: expected v1, v1beta1 or v1alpha1", templateKind, o.Kind.Version)
		return nil, errs
	}
	var d templateDocument
	if errs := decode(o, nil, o.Map(), &d); len(errs) > 0 {
		return nil, errs
	}
	t := &template{doc: o, kind: d.Spec.CRD.Spec.Names.Kind}
	switch {
	case o.Name == "":
		fail(policies.Path{"metadata"}, policies.AtKey, "template has no name: expected the kind of its constraints in lower case")
	case t.kind == "":
		fail(at("crd", "spec", "names"), policies.AtKey, "template %s has no spec.crd.spec.names.kind: expected the kind of its constraints", o.Name)
	case o.Name != strings.ToLower(t.kind):
		fail(policies.Path{"metadata", "name"}, policies.AtValue, "template %s is for the kind %s: expected the name %s", o.Name, t.kind, strings.ToLower(t.kind))
	case !isKind(t.kind):
		fail(at("crd", "spec", "names", "kind"), policies.AtValue, "%q is no kind: expected letters and digits", t.kind)
	}
	legacy := o.Kind.Version != "v1"
	var schema any
	if v := d.Spec.CRD.Spec.Validation; v != nil {
		schema = v.OpenAPIV3Schema
		if v.LegacySchema != nil {
			legacy = *v.LegacySchema
		}
	}
	var err error
	schemaAt := at("crd", "spec", "validation", "openAPIV3Schema")
	if t.params, err = newParameters(schema, legacy); err != nil {
		fail(schemaAt, policies.AtKey, "template %s: openAPIV3Schema %w", o.Name, err)
	}
	if len(d.Spec.Targets) != 1 {
		fail(at("targets"), policies.AtKey, "template %s has %d targets: expected one, %s", o.Name, len(d.Spec.Targets), targetName)
		return nil, errs
	}
	errs = append(errs, t.readTarget(&d.Spec.Targets[0], at("targets", 0))...)
	return t, errs
}

func isKind(s string) bool {
	return len(s) <= 63 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
}

func (t *template) readTarget(target *targetDocument, at policies.Path) []error {
	var errs []error
	fail := func(path policies.Path, aspect policies.Aspect, format string, args ...any) {
		errs = append(errs, errorAt(t.doc, path, aspect, fmt.Errorf(format, args...)))
	}
	if target.Target != targetName {
		fail(at.Append("target"), policies.AtValue, "target %q does not exist: expected %s", target.Target, targetName)
	}
	for i, op := range target.Operations {
		switch o := policies.Operation(op); {
		case op == "*" && len(target.Operations) > 1:
			fail(at.Append("operations", i), policies.AtValue, "%q stands beside others: expected it alone", op)
		case op == "*":
			t.operations = []policies.Operation{policies.Create, policies.Update, policies.Delete, policies.Connect}
		case slices.Contains([]policies.Operation{policies.Create, policies.Update, policies.Delete, policies.Connect}, o):
			t.operations = append(t.operations, o)
		default:
			fail(at.Append("operations", i), policies.AtValue, "operation %q does not exist: expected CREATE, UPDATE, DELETE, CONNECT or *", op)
		}
	}
	t.limited = len(target.Operations) > 0
	code := regoDocument{Rego: target.Rego, Libs: target.Libs}
	where, engines := at, map[string]bool{}
	for i, c := range target.Code {
		codeAt := at.Append("code", i)
		switch {
		case engines[c.Engine]:
			fail(codeAt.Append("engine"), policies.AtValue, "engine %s is named twice: expected its code once", c.Engine)
		case c.Engine == engineRego && target.Rego != "":
			fail(codeAt, policies.AtKey, "template %s has Rego in rego and in code: expected it in one of them", t.doc.Name)
		case c.Engine == engineRego:
			where, code = codeAt.Append("source"), regoDocument{}
			if c.Source == nil {
				fail(codeAt, policies.AtKey, "code of the engine %s has no source", engineRego)
			}
			errs = append(errs, decode(t.doc, where, c.Source, &code)...)
		case c.Engine == engineCEL:
			native, wrong := newNative(t.doc, codeAt.Append("source"), c.Source)
			t.native, errs = native, append(errs, wrong...)
		default:
			fail(codeAt.Append("engine"), policies.AtValue, "engine %q does not exist: expected %s or %s", c.Engine, engineRego, engineCEL)
		}
		engines[c.Engine] = true
	}
	switch {
	case len(errs) > 0:
		return errs
	case t.native != nil:
		if !t.limited && t.native.deletes {
			t.operations = []policies.Operation{policies.Create, policies.Update, policies.Delete}
		}
		return nil
	case code.Rego == "":
		fail(where, policies.AtKey, "template %s has no code: expected Rego in targets[0].rego, or code for an engine in targets[0].code", t.doc.Name)
		return errs
	}
	version := ast.RegoV0
	switch code.Version {
	case "", "v0":
	case "v1":
		version = ast.RegoV1
	default:
		fail(where.Append("version"), policies.AtValue, "rego version %q does not exist: expected v0 or v1", code.Version)
		return errs
	}
	t.sources = append(t.sources, &source{doc: t.doc, path: where.Append("rego"), text: code.Rego})
	for i, lib := range code.Libs {
		t.sources = append(t.sources, &source{doc: t.doc, path: where.Append("libs", i), text: lib})
	}
	for _, s := range t.sources {
		s.id = fmt.Sprintf("%s#%s", t.kind, s.path)
		errs = append(errs, s.parse(version)...)
	}
	if len(errs) > 0 {
		return errs
	}
	return t.rewrite()
}

func (s *source) parse(version ast.RegoVersion) []error {
	m, err := ast.ParseModuleWithOpts(s.id, s.text, ast.ParserOptions{RegoVersion: version})
	switch {
	case err != nil:
		return sources{s.id: s}.located(err)
	case m == nil:
		return []error{errorAt(s.doc, s.path, policies.AtKey, errors.New("rego text is empty: expected a package and rules"))}
	}
	s.module = m
	return nil
}
