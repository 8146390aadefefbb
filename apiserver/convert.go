package apiserver

import (
	"fmt"
	"maps"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"gitgate.dev/gitgate/policies"
)

type convertedKey struct {
	version string
	to      policies.GroupVersionKind
}

// Convert is the stored form of o in another version of its kind, as the API server hands it to an admission policy that is
// written for that version. Its error says why there is none: the kind has no such version, o cannot be read, or a webhook
// converts. The result is shared: nobody may change it.
func (r *Rules) Convert(set *policies.Set, o *policies.Object, to policies.GroupVersionKind) (map[string]any, error) {
	stored, err := r.Stored(set, o)
	if err != nil || o.Kind == to {
		return stored, err
	}
	if from, target := r.builtin(o.Kind), r.builtin(to); from != nil && target != nil {
		v, err := o.Derive(convertedKey{r.version, to}, func() (any, error) {
			return guarded(func() (map[string]any, error) {
				return from.convert(policies.NewObject(stored, o.Origin, nil, nil), target)
			})
		})
		if err != nil {
			return nil, fmt.Errorf("%s as %s: %w", o, to.APIVersion(), err)
		}
		return v.(map[string]any), nil
	}
	d, err := definitionOf(set, o.Kind.GroupKind())
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", o, err)
	case d == nil || to.GroupKind() != o.Kind.GroupKind() || d.versions[to.Version] == nil:
		return nil, fmt.Errorf("%s has no version %s", o.Kind.GroupKind(), to.APIVersion())
	case d.crd.Spec.Conversion != nil && d.crd.Spec.Conversion.Strategy != apiextensionsv1.NoneConverter:
		return nil, fmt.Errorf("only the conversion webhook of %s can convert it", d.object)
	}
	content := maps.Clone(stored)
	content["apiVersion"] = to.APIVersion()
	return content, nil
}

// convert goes by way of the internal type, which all versions of a kind share.
func (b *builtin) convert(o *policies.Object, target *builtin) (map[string]any, error) {
	m, err := b.read(o)
	if err != nil {
		return nil, err
	}
	if !m.decodable {
		return nil, &UnreadableError{Violations: m.decode}
	}
	if target.gvk.Kind != b.gvk.Kind || target.resource.Resource != b.resource.Resource {
		return nil, fmt.Errorf("%s is another kind", target.gvk.Kind)
	}
	m.kind = target
	return m.stored()
}
