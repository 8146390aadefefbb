package clitest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno"
	"gitgate.dev/gitgate/policies/strict"
)

// load reads the test and all that it names. What is wrong goes to t.errs.
func (t *test) load(ctx context.Context) {
	if _, errs := strict.Decode(t.doc, nil, t.doc.Map(), &t.spec, strict.Options{}); len(errs) > 0 {
		t.errs = errs
		return
	}
	if t.spec.Checks != nil {
		t.wrong(t.at("checks"), errors.New("checks is not supported: expected results"))
	}
	var given *values
	if t.spec.Values != nil {
		given = t.spec.Values
	} else if t.spec.Variables != "" {
		given = &values{}
		t.decode(given, t.spec.Variables, "variables")
	}
	t.giveTrial(given)
	t.giveNamespaces(given)
	if t.spec.UserInfo != "" {
		var u userInfo
		t.decode(&u, t.spec.UserInfo, "userinfo")
		t.trial.Roles, t.trial.ClusterRoles = u.Roles, u.ClusterRoles
		t.actor = &policies.Actor{User: u.UserInfo.Username, UID: u.UserInfo.UID, Groups: u.UserInfo.Groups, Extra: u.UserInfo.Extra}
	}
	crds, cluster := t.cluster()
	t.set = policies.NewSet(crds...)
	t.giveGlobals()
	var context contextFile
	if t.spec.Context != "" {
		t.decode(&context, t.spec.Context, "context")
		t.trial.Images = context.Spec.Images
		for _, r := range context.Spec.Resources {
			cluster = append(cluster, inline(t.spec.Context, r)...)
		}
	}
	for i, name := range t.spec.Resources {
		if file, err := t.near(name); err == nil {
			if _, err := t.options.List(file); errors.Is(err, fs.ErrNotExist) {
				t.absent = append(t.absent, name) // told of those that are looked for, as the CLI goes on without it
				continue
			}
		}
		files := t.files(name, t.at("resources", i), i == 0)
		for _, f := range files {
			t.resources = append(t.resources, t.created(t.read(f, t.at("resources", i), true))...)
		}
	}
	t.resources = unique(t.resources)
	var others []*policies.Object
	for _, l := range []list{{"targetResources", t.spec.TargetResources}, {"paramResources", t.spec.ParamResources}} {
		for i, name := range l.names {
			for _, f := range t.files(name, t.at(l.key, i), true) {
				others = append(others, t.created(t.read(f, t.at(l.key, i), true))...)
			}
		}
	}
	t.set = policies.NewSet(unique(slices.Concat(crds, cluster, t.resources, others))...)
	t.payload(list{"jsonPayload", []string{t.spec.JSONPayload}})
	t.payload(list{"jsonPayloads", t.spec.JSONPayloads})
	for _, p := range slices.Concat(t.spec.HTTPPayloads, t.spec.EnvoyPayloads) {
		t.requests = append(t.requests, path.Clean(p))
	}
	t.policies(ctx, others)
}

// list is files that a field of the test names.
type list struct {
	key   string
	names []string
}

// decode reads a file that is one document into a struct.
func (t *test) decode(into any, name, key string) {
	file, err := t.near(name)
	var text []byte
	if err == nil {
		text, err = t.options.Read(file)
	}
	if err != nil {
		t.wrong(t.at(key), err)
		return
	}
	o, err := document(t.options, file, text)
	if err != nil {
		t.wrong(t.at(key), err)
		return
	}
	if _, errs := strict.Decode(o, nil, o.Map(), into, strict.Options{}); len(errs) > 0 {
		t.errs = append(t.errs, errs...)
	}
}

// document reads a file of one document, which need not say its kind.
func document(o Options, file string, text []byte) (*policies.Object, error) {
	if objects, err := o.Decode(file, text, false); err == nil && len(objects) == 1 {
		return objects[0], nil
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", file, err)
	}
	var value any
	if err := json.UnmarshalCaseSensitivePreserveInts(asJSON, &value); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", file, err)
	}
	content, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: expected a map", file)
	}
	return policies.NewObject(content, policies.Origin{File: file, Line: 1, Column: 1}, nil, nil), nil
}

// Document reads a test that does not say its kind, as tests of before did not; nil for a file that is none.
func Document(o Options, file string, text []byte) *policies.Object {
	doc, err := document(o, file, text)
	if err != nil || doc.Map()["policies"] == nil || doc.Map()["results"] == nil || doc.Kind.Kind != "" && doc.Kind.Kind != "Test" {
		return nil
	}
	return doc
}

// files lists the files of a name: of a folder those in it, without the folders below.
func (t *test) files(name string, pos policies.Position, folder bool) []string {
	file, err := t.near(name)
	if err != nil {
		t.wrong(pos, err)
		return nil
	}
	found, err := t.options.List(file)
	if err != nil {
		t.wrong(pos, err)
		return nil
	}
	if found == nil {
		return []string{file}
	}
	if !folder {
		t.wrong(pos, fmt.Errorf("%s is a folder: expected a file", name))
		return nil
	}
	return slices.DeleteFunc(found, func(f string) bool { return path.Dir(f) != path.Clean(file) })
}

func (t *test) objects(file string, pos policies.Position) []*policies.Object {
	return t.read(file, pos, false)
}

func (t *test) read(file string, pos policies.Position, resources bool) []*policies.Object {
	text, err := t.options.Read(file)
	if err != nil {
		t.wrong(pos, err)
		return nil
	}
	objects, err := t.options.Decode(file, text, resources)
	if err != nil {
		t.errs = append(t.errs, err)
	}
	return objects
}

// created are objects as the CLI creates them: without defaults, in the namespace default when they have none, and with empty
// maps where a chart left a key without a value.
func (t *test) created(objects []*policies.Object) []*policies.Object {
	var out []*policies.Object
	for _, o := range objects {
		m, _ := settled(o.Map()).(map[string]any)
		if _, namespaced, known := t.options.Resource(t.set, o.Kind); o.Namespace == "" && (namespaced || !known) {
			meta, ok := m["metadata"].(map[string]any)
			if !ok {
				meta = map[string]any{}
				m["metadata"] = meta
			}
			meta["namespace"] = "default"
		}
		out = append(out, policies.NewObject(m, o.Origin, nil, nil))
	}
	return out
}

var mapFields = []string{"annotations", "labels", "matchLabels", "nodeSelector", "data", "stringData"}

func settled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			if item == nil && slices.Contains(mapFields, k) {
				item = map[string]any{}
			}
			out[k] = settled(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = settled(item)
		}
		return out
	}
	return v
}

// payload reads payloads.
func (t *test) payload(l list) {
	for _, name := range l.names {
		if name == "" {
			continue
		}
		file, err := t.near(name)
		var text []byte
		if err == nil {
			text, err = t.options.Read(file)
		}
		var o *policies.Object
		if err == nil {
			o, err = document(t.options, file, text)
		}
		if err != nil {
			t.wrong(t.at(l.key), err)
			continue
		}
		t.payloads = append(t.payloads, payload{path.Clean(name), bare(o)})
	}
}

// bare is an object as JSON that has no kind.
func bare(o *policies.Object) *policies.Object {
	out := policies.NewObject(o.Map(), o.Origin, nil, nil)
	out.Kind, out.Name, out.Namespace = policies.GroupVersionKind{}, "", ""
	return out
}

// unique keeps the first of several objects of one name.
func unique(objects []*policies.Object) []*policies.Object {
	seen := map[policies.Key]bool{}
	return slices.DeleteFunc(objects, func(o *policies.Object) bool {
		key := policies.KeyOf(o, o.Namespace)
		defer func() { seen[key] = true }()
		return seen[key]
	})
}

func inline(file string, v any) []*policies.Object {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	return []*policies.Object{policies.NewObject(m, policies.Origin{File: file, Line: 1, Column: 1}, nil, nil)}
}

// cluster reads the CRDs and objects that stand for a cluster's.
func (t *test) cluster() (crds, objects []*policies.Object) {
	for i, name := range t.spec.ClusterResources {
		var c clusterResource
		t.decode(&c, name, "clusterResources")
		for _, crd := range c.Spec.CRDs {
			for _, f := range t.files(crd, t.at("clusterResources", i), false) {
				crds = append(crds, t.objects(f, t.at("clusterResources", i))...)
			}
		}
		for _, r := range c.Spec.Resources {
			objects = append(objects, inline(name, r)...)
		}
	}
	return crds, objects
}

// giveNamespaces makes the Namespaces that values tell of: by their labels, or in full.
func (t *test) giveNamespaces(v *values) {
	t.namespaces = map[string]*policies.Object{}
	if v == nil {
		return
	}
	for _, n := range v.NamespaceSelectors {
		t.namespaces[n.Name] = namespace(n.Name, n.Labels)
	}
	for _, n := range v.Namespaces {
		m, _ := n.(map[string]any)
		if m == nil {
			continue
		}
		m = settled(m).(map[string]any)
		m["apiVersion"], m["kind"] = "v1", "Namespace"
		o := policies.NewObject(m, policies.Origin{File: t.file}, nil, nil)
		t.namespaces[o.Name] = o
	}
}

func namespace(name string, labels map[string]any) *policies.Object {
	meta := map[string]any{"name": name}
	if labels != nil {
		meta["labels"] = labels
	}
	return policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}, policies.Origin{}, nil, nil)
}

// holder is the Namespace of that name, as far as the test tells of it.
func (t *test) holder(name string) *policies.Object {
	if o := t.namespaces[name]; o != nil {
		return o
	}
	if o := t.set.Find(policies.GroupKind{Kind: "Namespace"}, "", name); o != nil && t.trial.Cluster {
		return o
	}
	return namespace(name, nil)
}

func (t *test) giveGlobals() {
	for i, g := range t.spec.GlobalContextEntries {
		e := kyverno.GlobalEntry{Name: g.Name, Data: g.Data, FieldPath: g.FieldPath}
		for _, p := range g.Projections {
			e.Projections = append(e.Projections, kyverno.Projection{Name: p.Name, Path: p.Path})
		}
		var list []any
		list = append(list, g.Resources...)
		for j, name := range g.ResourceFiles {
			for _, f := range t.files(name, t.at("globalContextEntries", i, "resourceFiles", j), false) {
				for _, o := range t.objects(f, t.at("globalContextEntries", i, "resourceFiles", j)) {
					list = append(list, o.Map())
				}
			}
		}
		if list != nil {
			e.Data = list
		}
		t.trial.Globals = append(t.trial.Globals, e)
	}
}

// foreign is a policy of another kind than Kyverno's classic one.
type foreign struct {
	name, namespace, kind string
	scored                bool
	json                  bool // it judges any JSON, by no kind
	compiled              []*policies.Policy
	err                   error
}

const (
	classic  = "kyverno.io"
	newer    = "policies.kyverno.io"
	builtins = "admissionregistration.k8s.io"
)

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
