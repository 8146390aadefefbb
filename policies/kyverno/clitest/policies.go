package clitest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno"
)

// foreign is a policy of another kind than Kyverno's classic one.
type foreign struct {
	name, namespace, kind string
	scored                bool
	json                  bool // it judges any JSON, by no kind
	compiled              []*policies.Policy
	err                   error
}

// idleKinds are policies that validate nothing that is admitted, or, for images, nothing that is judged here.
var idleKinds = []string{"MutatingAdmissionPolicy", "MutatingPolicy", "GeneratingPolicy", "DeletingPolicy", "ImageValidatingPolicy"}

// policies reads and compiles the policies and exceptions.
func (t *test) policies(ctx context.Context, params []*policies.Object) {
	t.idle = map[string]string{}
	var docs []*policies.Object
	for _, l := range []list{{"policies", t.spec.Policies}, {"exceptions", t.spec.Exceptions}} {
		for i, name := range l.names {
			pos := t.at(l.key, i)
			file, err := t.near(name)
			if err != nil {
				t.wrong(pos, err)
				continue
			}
			files, err := t.options.List(file)
			if err != nil {
				t.wrong(pos, err)
				continue
			}
			if files == nil {
				files = []string{file}
			}
			for _, f := range files {
				docs = append(docs, t.objects(f, pos)...)
			}
		}
	}
	if len(t.errs) > 0 {
		return
	}
	var bindings []policies.Document
	for _, o := range docs {
		if o.Kind.Group == builtins && o.Kind.Kind == "ValidatingAdmissionPolicyBinding" || o.Kind.Group == newer && o.Kind.Kind == "PolicyException" {
			bindings = append(bindings, policies.Document{File: o.Origin.File, Object: o})
		}
	}
	for _, o := range docs {
		d := policies.Document{File: o.Origin.File, Object: o}
		kind := o.Kind.Kind
		switch {
		case kyverno.Classic(d):
			if t.documents = append(t.documents, d); changes(o) {
				t.mutates = cmp.Or(t.mutates, o.String())
			}
		case o.Kind.Group != newer && o.Kind.Group != builtins || strings.HasSuffix(kind, "Binding") || kind == "PolicyException":
		case t.options.Claims(d):
			t.foreign = append(t.foreign, t.compile(ctx, d, bindings, params))
		case !slices.Contains(idleKinds, strings.TrimPrefix(kind, "Namespaced")):
			t.foreign = append(t.foreign, &foreign{name: o.Name, err: policies.ErrorAt(o.Locate(policies.Path{"kind"}, policies.AtValue), fmt.Errorf("%s is not supported", o))})
		default:
			t.idle[o.Name] = kind
			if strings.Contains(kind, "Mutating") {
				t.mutates = cmp.Or(t.mutates, o.String())
			}
		}
	}
	var err error
	if t.rehearsal, err = kyverno.Rehearse(ctx, t.documents, t.trial); err != nil {
		t.wrong(t.at("policies"), err)
	}
}

// changes says whether a policy has rules that change objects.
func changes(o *policies.Object) bool {
	v, _ := policies.Lookup(o.Map(), policies.Path{"spec", "rules"})
	rules, _ := v.([]any)
	return slices.ContainsFunc(rules, func(r any) bool {
		m, _ := r.(map[string]any)
		return m["mutate"] != nil
	})
}

// compile compiles a policy of another kind with what binds or excepts it.
func (t *test) compile(ctx context.Context, d policies.Document, beside []policies.Document, params []*policies.Object) *foreign {
	o := d.Object
	out := &foreign{name: o.Name, namespace: o.Namespace, kind: o.Kind.Kind, scored: true}
	if v, _ := policies.Lookup(o.Map(), policies.Path{"metadata", "annotations", "policies.kyverno.io/scored"}); v == "false" {
		out.scored = false
	}
	mode, _ := policies.Lookup(o.Map(), policies.Path{"spec", "evaluation", "mode"})
	out.json = mode == "JSON"
	docs := []policies.Document{d}
	for _, b := range beside {
		name, _ := policies.Lookup(b.Object.Map(), policies.Path{"spec", "policyName"})
		if b.Object.Kind.Group == o.Kind.Group && (name == o.Name || b.Object.Kind.Kind == "PolicyException") {
			docs = append(docs, b)
		}
	}
	param, _ := policies.Lookup(o.Map(), policies.Path{"spec", "paramKind"})
	if m, ok := param.(map[string]any); ok {
		for _, p := range params {
			if p.Kind.APIVersion() == m["apiVersion"] && p.Kind.Kind == m["kind"] {
				docs = append(docs, policies.Document{File: p.Origin.File, Object: p})
			}
		}
	}
	for i := range docs {
		docs[i].Object = completed(docs[i].Object)
	}
	out.compiled, out.err = t.options.Compile(ctx, docs, t.trial)
	return out
}

// completed is an admission policy or binding with what the API server wants to be written and the CLI does without.
func completed(o *policies.Object) *policies.Object {
	if o.Kind.Group != builtins {
		return o
	}
	m, _ := settled(o.Map()).(map[string]any)
	fill := func(in any, key string, value any) {
		if into, ok := in.(map[string]any); ok && into[key] == nil {
			into[key] = value
		}
	}
	rules, _ := policies.Lookup(m, policies.Path{"spec", "matchConstraints", "resourceRules"})
	list, _ := rules.([]any)
	for _, r := range list {
		fill(r, "operations", []any{"*"})
	}
	if o.Kind.Kind == "ValidatingAdmissionPolicyBinding" {
		fill(m["spec"], "validationActions", []any{"Deny"})
		ref, _ := policies.Lookup(m, policies.Path{"spec", "paramRef"})
		fill(ref, "parameterNotFoundAction", "Deny")
	}
	return policies.NewObject(m, o.Origin, nil, nil)
}
