package celpolicy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/admission"
)

// maxTemplates bounds how many Pods one object is taken to make.
const maxTemplates = 1000

// each judges every Pod whose template an object has, whatever its kind (Kyverno's evaluateExtracted and pkg/cel/autogen/extract).
// An object in which none is found could not be judged.
func (p *program) each(ctx context.Context, r *admission.Request, in *inputs, needs admission.Needs) (policies.Finding, error) {
	spec, _ := in.content["spec"].(map[string]any)
	found := podTemplates(spec, policies.Path{"spec"}, nil)
	if len(found) == 0 || len(found) > maxTemplates {
		return policies.Finding{}, fmt.Errorf("%s has %d pod templates: expected at least one, and at most %d", r.Change.Subject(), len(found), maxTemplates)
	}
	var out policies.Finding
	var errs error
	judged, skipped := false, ""
	for _, path := range found {
		f, err := p.evaluate(ctx, r, in.pod(r, path), needs).finding(path)
		switch {
		case err != nil && errs == nil:
			errs = err
		case err != nil:
		case f.Skipped != "":
			skipped = f.Skipped
		default:
			judged = true
			out.Violations = append(out.Violations, f.Violations...)
			out.Evidence = append(out.Evidence, f.Evidence...)
		}
	}
	switch {
	case len(out.Violations) > 0:
		return out, nil
	case errs != nil:
		return policies.Finding{}, errs
	case !judged:
		return policies.Finding{Skipped: skipped}, nil
	}
	return out, nil
}

// podTemplates lists where the templates of Pods stand below v: maps whose spec has containers with names and images. None is looked
// for inside another.
func podTemplates(v any, at policies.Path, into []policies.Path) []policies.Path {
	if len(into) > maxTemplates {
		return into
	}
	switch v := v.(type) {
	case map[string]any:
		if isPodTemplate(v) {
			return append(into, at)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			into = podTemplates(v[key], at.Append(key), into)
		}
	case []any:
		for i, item := range v {
			into = podTemplates(item, at.Append(i), into)
		}
	}
	return into
}

func isPodTemplate(m map[string]any) bool {
	if meta, ok := m["metadata"]; ok {
		if _, ok := meta.(map[string]any); !ok {
			return false
		}
	}
	spec, _ := m["spec"].(map[string]any)
	containers, _ := spec["containers"].([]any)
	for _, c := range containers {
		container, _ := c.(map[string]any)
		name, _ := container["name"].(string)
		if _, ok := container["image"].(string); !ok || name == "" {
			return false
		}
	}
	return len(containers) > 0
}

// pod makes the variables of the request that would write the Pod of the template at path.
func (in *inputs) pod(r *admission.Request, path policies.Path) *inputs {
	out := *in
	out.shared = nil
	made := func(v any) any {
		m, ok := v.(map[string]any)
		if !ok {
			return v // unknown
		}
		found, _ := policies.Lookup(m, path)
		if template, _ := found.(map[string]any); template != nil && isPodTemplate(template) {
			return podOf(template, r)
		}
		return nil
	}
	out.object, out.oldObject = made(in.object), made(in.oldObject)
	if out.content, _ = out.object.(map[string]any); out.content == nil {
		out.content, _ = out.oldObject.(map[string]any)
	}
	object, old, content := out.object, out.oldObject, out.content
	out.admissionRequest = sync.OnceValue(func() map[string]any {
		pod := map[string]any{"group": "", "version": "v1", "kind": "Pod"}
		pods := map[string]any{"group": "", "version": "v1", "resource": "pods"}
		request := maps.Clone(in.admissionRequest())
		maps.Copy(request, map[string]any{"kind": pod, "requestKind": pod, "resource": pods, "requestResource": pods, "object": object, "oldObject": old})
		if meta, ok := content["metadata"].(map[string]any); ok {
			request["name"], request["namespace"] = meta["name"], meta["namespace"]
		}
		return request
	})
	return &out
}

// podOf is the Pod of a template, with the name of what makes it where the template gives none.
func podOf(template map[string]any, r *admission.Request) map[string]any {
	meta, _ := template["metadata"].(map[string]any)
	if meta = maps.Clone(meta); meta == nil {
		meta = map[string]any{}
	}
	for key, value := range map[string]string{"name": r.Name, "namespace": r.Namespace} {
		if s, _ := meta[key].(string); s == "" {
			meta[key] = value
		}
	}
	return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
}
