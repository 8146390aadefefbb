package clitest

import (
	"path"
	"slices"

	"gitgate.dev/gitgate/policies"
)

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
