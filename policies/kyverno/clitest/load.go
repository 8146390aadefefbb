package clitest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

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

const (
	classic  = "kyverno.io"
	newer    = "policies.kyverno.io"
	builtins = "admissionregistration.k8s.io"
)
