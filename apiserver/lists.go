package apiserver

import (
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"

	"gitgate.dev/gitgate/policies"
)

// List says how server-side apply merges the list at a path of a kind's objects: by the values of its items (set), by their keys,
// or, where both are empty, as one value. Where the kind or the path is not known, it is one value.
func (r *Rules) List(set *policies.Set, gvk policies.GroupVersionKind, p policies.Path) (values bool, keys []string) {
	chosen, _, err := r.forms()
	if err != nil {
		return false, nil
	}
	if k := chosen.Kind(gvk); k != nil {
		return chosen.List(k, p)
	}
	if len(p) > 0 && p[0] == "metadata" {
		switch {
		case len(p) == 2 && p[1] == "finalizers":
			return true, nil
		case len(p) == 2 && p[1] == "ownerReferences":
			return false, []string{"uid"}
		}
		return false, nil
	}
	d, err := definitionOf(set, gvk.GroupKind())
	if err != nil || d == nil || d.versions[gvk.Version] == nil {
		return false, nil
	}
	form, err := d.versions[gvk.Version].form()
	if err != nil {
		return false, nil
	}
	return customList(form.structural, p)
}

func customList(s *structuralschema.Structural, p policies.Path) (values bool, keys []string) {
	for _, step := range p {
		switch step := step.(type) {
		case int:
			if s.Items == nil {
				return false, nil
			}
			s = s.Items
		case string:
			switch property, ok := s.Properties[step]; {
			case ok:
				s = &property
			case s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil:
				s = s.AdditionalProperties.Structural
			default:
				return false, nil
			}
		}
	}
	if s.XListType == nil {
		return false, nil
	}
	switch *s.XListType {
	case "set":
		return true, nil
	case "map":
		return false, s.XListMapKeys
	}
	return false, nil
}
