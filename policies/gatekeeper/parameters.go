package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gitgate.dev/gitgate/policies"
)

// parameters is what the constraints of a template may say under spec.parameters, judged and filled in as the API server does for the
// CustomResourceDefinition that Gatekeeper makes of the template.
type parameters struct {
	declared   bool // the template has a schema
	legacy     bool // any parameters are taken where there is no schema
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
}

// newParameters reads an openAPIV3Schema; nil is none. A legacy one needs no types and keeps all fields.
func newParameters(schema any, legacy bool) (*parameters, error) {
	p := &parameters{declared: schema != nil, legacy: legacy}
	if schema == nil {
		return p, nil
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	var v1 apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(text, &v1); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if legacy {
		if err := keepUnknown(&v1); err != nil {
			return nil, err
		}
	}
	// A schema applies to parameters that are there: so it is that of a map that may have them.
	props := &apiextensions.JSONSchemaProps{Type: "object", Properties: map[string]apiextensions.JSONSchemaProps{}}
	var own apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &own, nil); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	props.Properties["parameters"] = own
	if p.structural, err = structuralschema.NewStructural(props); err != nil {
		return nil, fmt.Errorf("is not structural: %w", err)
	}
	if errs := structuralschema.ValidateStructural(nil, p.structural); len(errs) > 0 {
		return nil, fmt.Errorf("is not structural: %w", errs.ToAggregate())
	}
	if p.validator, _, err = validation.NewSchemaValidator(props); err != nil {
		return nil, fmt.Errorf("cannot be used: %w", err)
	}
	return p, nil
}

// keepUnknown makes a schema take what it does not know, as legacySchema says (frameworks/constraint pkg/schema,
// AddPreserveUnknownFields).
func keepUnknown(s *apiextensionsv1.JSONSchemaProps) error {
	yes := true
	switch s.Type {
	case "", "object":
		s.XPreserveUnknownFields = &yes
	case "array":
		if s.Items == nil || s.Items.Schema == nil && s.Items.JSONSchemas == nil {
			s.Items = &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &apiextensionsv1.JSONSchemaProps{XPreserveUnknownFields: &yes}}
		}
	}
	for name, property := range s.Properties {
		if err := keepUnknown(&property); err != nil {
			return err
		}
		s.Properties[name] = property
	}
	if s.Items != nil {
		if s.Items.JSONSchemas != nil {
			return errors.New("has several schemas for items: expected one")
		}
		if err := keepUnknown(s.Items.Schema); err != nil {
			return err
		}
	}
	if a := s.AdditionalProperties; a != nil && a.Schema != nil {
		return keepUnknown(a.Schema)
	}
	return nil
}

// settle returns the parameters of a constraint with their defaults, and whether there are any. The errors are at their places in o.
func (p *parameters) settle(o *policies.Object) (params any, has bool, errs []error) {
	value, given := policies.Lookup(o.Map(), policies.Path{"spec", "parameters"})
	if !p.declared {
		if m, isMap := value.(map[string]any); given && !p.legacy && value != nil && (!isMap || len(m) > 0) {
			return nil, false, []error{errorAt(o, policies.Path{"spec", "parameters"}, policies.AtKey, fmt.Errorf("unknown field spec.parameters: the template of %s has no openAPIV3Schema", o.Kind.Kind))}
		}
		return value, given, nil
	}
	holder := map[string]any{}
	if given {
		holder["parameters"] = value
		holder = runtime.DeepCopyJSON(holder)
	}
	unknown := pruning.PruneWithOptions(runtime.DeepCopyJSON(holder), p.structural, false, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, name := range unknown {
		at := append(policies.Path{"spec"}, policies.ParsePath(name)...)
		errs = append(errs, errorAt(o, at, policies.AtKey, fmt.Errorf("unknown field %s: the template of %s does not have it", at, o.Kind.Kind)))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(holder, p.structural)
	defaulting.Default(holder, p.structural)
	for _, e := range validation.ValidateCustomResource(field.NewPath("spec"), holder, p.validator) {
		at := policies.ParsePath(e.Field)
		aspect := policies.AtValue
		if e.Type == field.ErrorTypeRequired {
			aspect = policies.AtKey
		}
		errs = append(errs, errorAt(o, at, aspect, &SchemaError{fmt.Errorf("%s: %s", at, lowered(e.ErrorBody()))}))
	}
	params, has = holder["parameters"]
	return params, has, errs
}

// orEmpty is what Gatekeeper hands to a template when a constraint has no parameters.
func orEmpty(value any) any {
	if value == nil {
		return map[string]any{}
	}
	return value
}
