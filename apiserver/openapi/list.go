package openapi

import "gitgate.dev/gitgate/policies"

// List says how server-side apply merges the list at a path of a kind's objects (x-kubernetes-list-type): by the values of its
// items, by their keys, or, where both are empty, as one value. A path that leads to no list, or into what has no fixed form, has
// neither.
func (v *Version) List(k *Kind, p policies.Path) (set bool, keys []string) {
	types := v.types()
	at := &form{sort: structure, shape: k.shape}
	for _, step := range p {
		switch s := step.(type) {
		case int:
			if at.sort != list {
				return false, nil
			}
			at = at.item
		case string:
			switch at.sort {
			case structure:
				m := types[at.shape].member(s)
				if m == nil {
					return false, nil
				}
				at = m.form
			case mapping:
				at = at.item
			default:
				return false, nil
			}
		}
	}
	if at.sort != list {
		return false, nil
	}
	for _, key := range at.keys {
		keys = append(keys, key.name)
	}
	return at.set, keys
}
