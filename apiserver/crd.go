package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	structuralcel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	structuraldefaulting "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apiextensionsvalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gitgate.dev/gitgate/policies"
)

// crdKind is the kind of which objects define kinds.
var crdKind = policies.GroupKind{Group: apiextensions.GroupName, Kind: "CustomResourceDefinition"}

// maxCustomRules bounds the CEL rules of one version of a CRD. The API server has no such bound, and each costs about a
// millisecond to compile; the greatest CRDs in use have some hundred.
const maxCustomRules = 2000

// definition is a CustomResourceDefinition of one change set.
type definition struct {
	object *policies.Object
	crd    *apiextensionsv1.CustomResourceDefinition
	// versions by name, each compiled when first needed
	versions map[string]*customVersion
	storage  *customVersion // the version that is kept; nil when none is
}

// customVersion is one version of a custom kind.
type customVersion struct {
	definition *definition
	spec       *apiextensionsv1.CustomResourceDefinitionVersion
	// form is what decoding and defaulting need, strategy what validation needs: CEL programs are dear.
	form     func() (*customForm, error)
	strategy func() (strategy, error)
}

type customForm struct {
	props      *apiextensions.JSONSchemaProps
	structural *structuralschema.Structural
	hasStatus  bool // status is a subresource, so that it is not written with the object
	rules      int  // how many CEL rules there are
	transition bool // one of them asks for the old object
}

type (
	crdIndexKey   struct{}
	definitionKey struct{}
)

// definitionOf returns the CRD of set that defines gk, or nil. Its error says why the CRD cannot be used.
func definitionOf(set *policies.Set, gk policies.GroupKind) (*definition, error) {
	if set == nil || len(set.Of(crdKind)) == 0 {
		return nil, nil
	}
	v, err := set.Derive(crdIndexKey{}, func() (any, error) { return indexCRDs(set), nil })
	if err != nil {
		return nil, err
	}
	found := v.(map[policies.GroupKind][]*policies.Object)[gk]
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, fmt.Errorf("%s is defined by %s and by %s: expected one of them, for the API server accepts the names of the one that it had first", gk, found[0], found[1])
	}
	o := found[0]
	v, err = o.Derive(definitionKey{}, func() (any, error) {
		return guarded(func() (*definition, error) { return newDefinition(o) })
	})
	if err != nil {
		return nil, fmt.Errorf("%s, which defines it, cannot be used: %w", o, err)
	}
	return v.(*definition), nil
}

// indexCRDs finds what the CRDs of a set define. The API server accepts a kind for the CRD that had it first, which no change set
// tells, so that one which comes under another name must not take the place of the first: two are kept for a kind, which is
// enough to see that. Of two with one name the first counts.
func indexCRDs(set *policies.Set) map[policies.GroupKind][]*policies.Object {
	index := map[policies.GroupKind][]*policies.Object{}
	for _, o := range set.Of(crdKind) {
		gk, ok := definedKind(o)
		if ok && (len(index[gk]) == 0 || len(index[gk]) == 1 && index[gk][0].Name != o.Name) {
			index[gk] = append(index[gk], o)
		}
	}
	return index
}

// definedKind is the kind that a CRD defines.
func definedKind(o *policies.Object) (gk policies.GroupKind, ok bool) {
	if o.Kind.Version != "v1" {
		return gk, false
	}
	group, _ := policies.Lookup(o.Map(), policies.Path{"spec", "group"})
	kind, _ := policies.Lookup(o.Map(), policies.Path{"spec", "names", "kind"})
	gk.Group, _ = group.(string)
	gk.Kind, _ = kind.(string)
	return gk, gk.Group != "" && gk.Kind != ""
}

// rivals are what the API server says of a CRD that defines a kind which another one of the set defines too: it takes the object
// and never accepts its names (k8s.io/apiextensions-apiserver/pkg/controller/status/naming_controller.go).
func rivals(set *policies.Set, o *policies.Object) []policies.Violation {
	gk, ok := definedKind(o)
	if !ok || set == nil {
		return nil
	}
	v, err := set.Derive(crdIndexKey{}, func() (any, error) { return indexCRDs(set), nil })
	if err != nil {
		return nil
	}
	for _, other := range v.(map[policies.GroupKind][]*policies.Object)[gk] {
		if other.Name != o.Name {
			return []policies.Violation{{
				Rule: ruleDuplicate, Path: policies.Path{"spec", "names", "kind"},
				Message: fmt.Sprintf("spec.names.kind: %s is defined by %s too, and the API server accepts one of them", gk, other),
				Fix:     "use a kind that no other CustomResourceDefinition of the group has",
			}}
		}
	}
	return nil
}

func newDefinition(o *policies.Object) (*definition, error) {
	text, err := json.Marshal(o.Map())
	if err != nil {
		return nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := json.Unmarshal(text, crd); err != nil {
		return nil, err
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	if crd.Spec.Names.Plural == "" {
		return nil, errors.New("spec.names.plural is required")
	}
	d := &definition{object: o, crd: crd, versions: map[string]*customVersion{}}
	for i := range crd.Spec.Versions {
		v := &customVersion{definition: d, spec: &crd.Spec.Versions[i]}
		v.form = sync.OnceValues(func() (*customForm, error) {
			f, err := guarded(v.makeForm)
			if err != nil {
				err = fmt.Errorf("%s, which defines it, cannot be used: version %s %w", o, v.spec.Name, err)
			}
			return f, err
		})
		v.strategy = sync.OnceValues(func() (strategy, error) { return guarded(v.makeStrategy) })
		d.versions[v.spec.Name] = v
		if v.spec.Storage && d.storage == nil {
			d.storage = v
		}
	}
	return d, nil
}

func (d *definition) namespaced() bool { return d.crd.Spec.Scope != apiextensionsv1.ClusterScoped }

// plain says that versions are converted by writing another apiVersion.
func (d *definition) plain() bool {
	return d.crd.Spec.Conversion == nil || d.crd.Spec.Conversion.Strategy == apiextensionsv1.NoneConverter
}

// resource is what objects of the custom kind are sent to.
func (d *definition) resource(version string) policies.Resource {
	return policies.Resource{Group: d.crd.Spec.Group, Version: version, Resource: d.crd.Spec.Names.Plural}
}

// makeForm reads the schema of a version as the API server does when it begins to serve it (customresource_handler.go).
func (v *customVersion) makeForm() (*customForm, error) {
	if v.spec.Schema == nil || v.spec.Schema.OpenAPIV3Schema == nil {
		return nil, errors.New("has no schema")
	}
	f := &customForm{props: &apiextensions.JSONSchemaProps{}, hasStatus: v.spec.Subresources != nil && v.spec.Subresources.Status != nil}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.spec.Schema.OpenAPIV3Schema, f.props, nil); err != nil {
		return nil, fmt.Errorf("has a schema that cannot be read: %w", err)
	}
	made, err := structuralschema.NewStructural(f.props)
	if err != nil {
		return nil, fmt.Errorf("has no structural schema: %w", err)
	}
	if errs := structuralschema.ValidateStructural(field.NewPath("openAPIV3Schema"), made); len(errs) > 0 {
		return nil, fmt.Errorf("has no structural schema: %w", errs.ToAggregate())
	}
	f.structural = made.DeepCopy()
	if err := structuraldefaulting.PruneDefaults(f.structural); err != nil {
		return nil, fmt.Errorf("has defaults that do not fit: %w", err)
	}
	f.countRules(f.structural)
	return f, nil
}

func (f *customForm) countRules(s *structuralschema.Structural) {
	visitor := structuralschema.Visitor{Structural: func(s *structuralschema.Structural) bool {
		f.rules += len(s.XValidations)
		for i := range s.XValidations {
			f.transition = f.transition || strings.Contains(s.XValidations[i].Rule, structuralcel.OldScopedVarName)
		}
		return false
	}}
	visitor.Visit(s)
}

// makeStrategy makes the API server's own strategy for a version, with its schema validators and compiled CEL rules.
func (v *customVersion) makeStrategy() (strategy, error) {
	f, err := v.form()
	if err != nil {
		return nil, err
	}
	if f.rules > maxCustomRules {
		return nil, fmt.Errorf("%s has %d validation rules in version %s, more than gitgate compiles: expected at most %d", v.definition.object, f.rules, v.spec.Name, maxCustomRules)
	}
	validator, _, err := apiextensionsvalidation.NewSchemaValidator(f.props)
	if err != nil {
		return nil, err
	}
	var status *apiextensions.CustomResourceSubresourceStatus
	var scale *apiextensions.CustomResourceSubresourceScale
	if v.spec.Subresources != nil {
		sub := &apiextensions.CustomResourceSubresources{}
		if err := apiextensionsv1.Convert_v1_CustomResourceSubresources_To_apiextensions_CustomResourceSubresources(v.spec.Subresources, sub, nil); err != nil {
			return nil, err
		}
		status, scale = sub.Status, sub.Scale
	}
	spec := v.definition.crd.Spec
	kind := schema.GroupVersionKind{Group: spec.Group, Version: v.spec.Name, Kind: spec.Names.Kind}
	return customresource.NewStrategy(nil, v.definition.namespaced(), kind, validator, nil, f.structural, status, scale, v.spec.SelectableFields), nil
}
