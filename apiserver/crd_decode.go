package apiserver

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	structuraldefaulting "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	schemaobjectmeta "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	structuralpruning "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policies"
)

// decoded reads, prunes and defaults what was written, once for an object. The result is shared and not to be changed.
func (v *customVersion) decoded(o *policies.Object) (*customObject, error) {
	made, err := o.Derive(customKey{v}, func() (any, error) {
		return guarded(func() (*customObject, error) { return v.decode(o.Map()) })
	})
	if err != nil {
		return nil, err
	}
	return made.(*customObject), nil
}

// readMeta reads metadata as far as it can be read, and says where it cannot.
func readMeta(written any, meta *metav1.ObjectMeta) *decoder {
	d := &decoder{path: []step{{key: "metadata"}}}
	d.value(objectMeta(), written, reflect.ValueOf(meta).Elem())
	return d
}

// embedded says what is wrong with the metadata, or the type, of an object inside the object.
func (d *decoder) embedded(at policies.Path, written map[string]any, why string) {
	found := len(d.mistyped)
	if value, _ := policies.Lookup(written, at); len(at) > 0 && at[len(at)-1] == "metadata" {
		inner := decoder{}
		for _, s := range at {
			switch s := s.(type) {
			case string:
				inner.path = append(inner.path, step{key: s})
			case int:
				inner.path = append(inner.path, step{index: s, list: true})
			}
		}
		inner.value(objectMeta(), value, reflect.New(objectMeta().typ).Elem())
		d.mistyped = append(d.mistyped, inner.mistyped...)
	}
	if len(d.mistyped) == found {
		d.mistyped = append(d.mistyped, policies.Violation{Rule: ruleType, Path: at, Message: nameOf(at) + ": " + why})
	}
}

// objectMeta is the plan of the type of metadata.
var objectMeta = sync.OnceValue(func() *plan { return planOf(reflect.TypeFor[metav1.ObjectMeta]()) })

// decode does what the API server does to a custom resource that it receives with fieldValidation=Strict: it reads the metadata,
// prunes what the schema does not have, drops nulls that the schema does not allow, and fills in defaults
// (k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go, unstructuredSchemaCoercer and unstructuredDefaulter).
func (v *customVersion) decode(written map[string]any) (*customObject, error) {
	f, err := v.form()
	if err != nil {
		return nil, err
	}
	c := &customObject{content: clone(written).(map[string]any)}
	meta := metav1.ObjectMeta{}
	d := readMeta(written["metadata"], &meta)
	if unknown := structuralpruning.PruneWithOptions(c.content, f.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}); len(unknown) > 0 {
		d.path = d.path[:0]
		d.pruned(f.structural, written, c.content)
	}
	c.decodable = len(d.mistyped) == 0
	structuraldefaulting.PruneNonNullableNullsWithoutDefaults(c.content, f.structural)
	fieldErr, unknown := schemaobjectmeta.CoerceWithOptions(nil, c.content, f.structural, false, schemaobjectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
	for _, p := range unknown[:min(len(unknown), maxTold)] {
		at := findPath(p, written)
		d.unknown = append(d.unknown, policies.Violation{Rule: ruleUnknownField, Path: at, At: policies.AtKey, Message: "unknown field " + at.String()})
	}
	if fieldErr != nil {
		c.decodable = false
		d.embedded(findPath(fieldErr.Field, written), written, fieldErr.Detail)
	}
	c.decode = d.violations()
	if !c.decodable {
		return c, nil
	}
	if err := schemaobjectmeta.SetObjectMeta(c.content, &meta); err != nil {
		return nil, err
	}
	structuraldefaulting.Default(c.content, f.structural)
	v.fillMeta(c)
	return c, nil
}

// fillMeta puts in what the API server or the client would: a generated name, a namespace.
func (v *customVersion) fillMeta(c *customObject) {
	u := &unstructured.Unstructured{Object: c.content}
	if u.GetName() == "" && u.GetGenerateName() != "" {
		c.named = true
		base := u.GetGenerateName()
		u.SetName(base[:min(len(base), maxGenerateName)] + placeholderSuffix)
	}
	switch namespaced := v.definition.namespaced(); {
	case !namespaced:
		u.SetNamespace("")
	case u.GetNamespace() == "":
		c.spaced = true
		u.SetNamespace(placeholderNamespace)
	}
	if metadata, ok := c.content["metadata"].(map[string]any); ok && metadata["creationTimestamp"] == nil {
		delete(metadata, "creationTimestamp")
	}
}

// pruned records the fields of written that pruning took away, at most once for a branch.
func (d *decoder) pruned(s *structuralschema.Structural, written, kept any) {
	switch w := written.(type) {
	case map[string]any:
		k, _ := kept.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(w)) {
			if _, ok := k[key]; ok {
				d.path = append(d.path, step{key: key})
				d.pruned(childOf(s, key), w[key], k[key])
				d.path = d.path[:len(d.path)-1]
				continue
			}
			if len(d.unknown) >= maxTold {
				return
			}
			at := append(d.here(), key)
			v := policies.Violation{Rule: ruleUnknownField, Path: at, At: policies.AtKey, Message: "unknown field " + at.String()}
			if s != nil {
				if near := nearest(key, slices.Sorted(maps.Keys(s.Properties)), func(name string) bool { _, taken := w[name]; return taken }); near != "" {
					v.Fix = fmt.Sprintf("did you mean %q?", near)
				}
			}
			d.unknown = append(d.unknown, v)
		}
	case []any:
		k, _ := kept.([]any)
		if s != nil {
			s = s.Items
		}
		d.path = append(d.path, step{list: true})
		for i := range min(len(w), len(k)) {
			d.path[len(d.path)-1].index = i
			d.pruned(s, w[i], k[i])
		}
		d.path = d.path[:len(d.path)-1]
	}
}

// childOf is the schema of the value under key, nil where s says nothing of it.
func childOf(s *structuralschema.Structural, key string) *structuralschema.Structural {
	if s == nil {
		return nil
	}
	if p, ok := s.Properties[key]; ok {
		return &p
	}
	if s.AdditionalProperties != nil {
		return s.AdditionalProperties.Structural
	}
	return nil
}
