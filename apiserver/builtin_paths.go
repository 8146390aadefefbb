package apiserver

import (
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// writtenPath turns a path as the API server's validation names it into the path of a field of the version as written.
// Validation sees the internal type, which mostly has the same fields in the same places; where not, the path is renamed by
// the table below, and cut at the first step that the written version does not have; whole says that it was not.
func writtenPath(p policies.Path, m *made) (written policies.Path, whole bool) {
	root := planOf(m.kind.typ)
	p = respelled(root, p)
	if holds(root, p) == len(p) {
		return p, true
	}
	for _, rename := range renames {
		if rename.kind != m.kind.gvk.GroupKind() && rename.kind.Kind != "*" {
			continue
		}
		if renamed, ok := rename.apply(p); ok && (holds(root, renamed) == len(renamed) || holds(root, renamed) > holds(root, p)) {
			p = renamed
		}
	}
	n := holds(root, p)
	return p[:n], n == len(p)
}

// respelled puts right the case of names: validation writes some as Go does (JSONPath, LoadBalancerSourceRanges).
func respelled(root *plan, p policies.Path) policies.Path {
	for n := holds(root, p); n < len(p); {
		name, ok := p[n].(string)
		parent := at(root, p[:n])
		if !ok || parent == nil || parent.shape != shapeStruct {
			return p
		}
		i := slices.IndexFunc(parent.fields, func(f fieldPlan) bool { return strings.EqualFold(f.name, name) })
		if i < 0 {
			return p
		}
		p = slices.Clone(p)
		p[n] = parent.fields[i].name
		n = holds(root, p)
	}
	return p
}

// at is the type of the field at p, which the root has, without pointers.
func at(t *plan, p policies.Path) *plan {
	for i := 0; ; i++ {
		for t.shape == shapePointer {
			t = t.elem
		}
		if i == len(p) {
			return t
		}
		switch t.shape {
		case shapeStruct:
			t = t.fields[t.byName[p[i].(string)]].plan
		case shapeSlice, shapeMap:
			t = t.elem
		default:
			return nil
		}
	}
}

// holds says how many steps of p the type has fields for.
func holds(t *plan, p policies.Path) int {
	for i, step := range p {
		for t != nil && t.shape == shapePointer {
			t = t.elem
		}
		if t == nil {
			return i
		}
		switch t.shape {
		case shapeStruct:
			name, ok := step.(string)
			if !ok {
				return i
			}
			field, ok := t.byName[name]
			if !ok {
				return i
			}
			t = t.fields[field].plan
		case shapeSlice:
			if _, ok := step.(int); !ok {
				return i
			}
			t = t.elem
		case shapeMap:
			t = t.elem
		case shapeCustom, shapeRaw, shapeAny:
			return len(p) // holds any JSON
		default:
			return i
		}
	}
	return len(p)
}

// rename says that a run of steps in the internal type is another in the versions of a kind.
type rename struct {
	kind policies.GroupKind
	from policies.Path
	to   policies.Path
}

func (r *rename) apply(p policies.Path) (policies.Path, bool) {
	for i := range p {
		if i+len(r.from) <= len(p) && slices.Equal(p[i:i+len(r.from)], r.from) {
			return append(append(slices.Clone(p[:i]), r.to...), p[i+len(r.from):]...), true
		}
	}
	return nil, false
}

// renames lists where the internal types differ from the versions, as far as validation names such fields.
var renames = func() []rename {
	crd := policies.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
	hpa := policies.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}
	driver := policies.GroupKind{Group: "storage.k8s.io", Kind: "CSIDriver"}
	node := policies.GroupKind{Kind: "Node"}
	volume := policies.GroupKind{Kind: "PersistentVolume"}
	claim := policies.GroupKind{Kind: "PersistentVolumeClaim"}
	event := policies.GroupKind{Group: "events.k8s.io", Kind: "Event"}
	any := policies.GroupKind{Group: "*", Kind: "*"}
	return []rename{
		{any, policies.Path{"template", "labels"}, policies.Path{"template", "metadata", "labels"}},
		{any, policies.Path{"template", "annotations"}, policies.Path{"template", "metadata", "annotations"}},
		{any, policies.Path{"template", "name"}, policies.Path{"template", "metadata", "name"}},
		{any, policies.Path{"securityContext", "hostNetwork"}, policies.Path{"hostNetwork"}},
		{any, policies.Path{"securityContext", "hostPID"}, policies.Path{"hostPID"}},
		{any, policies.Path{"securityContext", "hostIPC"}, policies.Path{"hostIPC"}},
		{any, policies.Path{"securityContext", "hostUsers"}, policies.Path{"hostUsers"}},
		{any, policies.Path{"securityContext", "shareProcessNamespace"}, policies.Path{"shareProcessNamespace"}},
		{any, policies.Path{"exactly"}, policies.Path{}}, // resource.k8s.io/v1beta1 has the request's fields inline
		{node, policies.Path{"metadata", "taints"}, policies.Path{"spec", "taints"}},
		{policies.GroupKind{Kind: "Event"}, policies.Path{"namespace"}, policies.Path{"metadata", "namespace"}},
		{event, policies.Path{"namespace"}, policies.Path{"metadata", "namespace"}},
		{volume, policies.Path{"nodeAffinity"}, policies.Path{"spec", "nodeAffinity"}},
		{volume, policies.Path{"volumeMode"}, policies.Path{"spec", "volumeMode"}},
		{claim, policies.Path{"volumeMode"}, policies.Path{"spec", "volumeMode"}},
		{driver, policies.Path{"spec", "attachedRequired"}, policies.Path{"spec", "attachRequired"}},
		{claim, policies.Path{"resources", "storage"}, policies.Path{"resources", "requests", "storage"}},
		{crd, policies.Path{"spec", "validation"}, policies.Path{"spec", "versions", 0, "schema"}},
		{crd, policies.Path{"spec", "subresources"}, policies.Path{"spec", "versions", 0, "subresources"}},
		{crd, policies.Path{"spec", "additionalPrinterColumns"}, policies.Path{"spec", "versions", 0, "additionalPrinterColumns"}},
		{crd, policies.Path{"spec", "selectableFields"}, policies.Path{"spec", "versions", 0, "selectableFields"}},
		{crd, policies.Path{"spec", "version"}, policies.Path{"spec", "versions", 0, "name"}},
		{crd, policies.Path{"spec", "conversion", "webhookClientConfig"}, policies.Path{"spec", "conversion", "webhook", "clientConfig"}},
		{crd, policies.Path{"spec", "conversion", "conversionReviewVersions"}, policies.Path{"spec", "conversion", "webhook", "conversionReviewVersions"}},
		{hpa, policies.Path{"spec", "metrics", 0, "resource"}, policies.Path{"spec", "targetCPUUtilizationPercentage"}},
		{event, policies.Path{"involvedObject"}, policies.Path{"regarding"}},
		{event, policies.Path{"message"}, policies.Path{"note"}},
		{event, policies.Path{"firstTimestamp"}, policies.Path{"deprecatedFirstTimestamp"}},
		{event, policies.Path{"lastTimestamp"}, policies.Path{"deprecatedLastTimestamp"}},
		{event, policies.Path{"count"}, policies.Path{"deprecatedCount"}},
		{event, policies.Path{"source"}, policies.Path{"deprecatedSource"}},
	}
}()

// pinpoint goes from a map or list that is wrong because of one entry to that entry, which errors of the API server name by
// its key or value alone.
func pinpoint(p policies.Path, bad string, content map[string]any) (policies.Path, policies.Aspect) {
	at, ok := policies.Lookup(content, p)
	if !ok {
		return p, policies.AtValue
	}
	switch at := at.(type) {
	case map[string]any:
		if _, ok := at[bad]; ok {
			return p.Append(bad), policies.AtKey
		}
		found := ""
		for key, v := range at {
			if v == bad {
				if found != "" {
					return p, policies.AtValue
				}
				found = key
			}
		}
		if found != "" {
			return p.Append(found), policies.AtValue
		}
	case []any:
		if i := slices.Index(at, any(bad)); i >= 0 {
			return p.Append(i), policies.AtValue
		}
	}
	return p, policies.AtValue
}
