package gatekeeper

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/strict"
)

// The documents as Gatekeeper's API has them (frameworks/constraint pkg/apis/templates, gatekeeper pkg/mutation/match). All versions of
// a template have the same fields.

type templateDocument struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   any    `json:"metadata"`
	Status     any    `json:"status"`
	Spec       struct {
		CRD struct {
			Spec struct {
				Names struct {
					Kind       string   `json:"kind"`
					ShortNames []string `json:"shortNames"`
				} `json:"names"`
				Validation *struct {
					OpenAPIV3Schema any   `json:"openAPIV3Schema"`
					LegacySchema    *bool `json:"legacySchema"`
				} `json:"validation"`
			} `json:"spec"`
		} `json:"crd"`
		Targets []targetDocument `json:"targets"`
	} `json:"spec"`
}

type targetDocument struct {
	Target     string   `json:"target"`
	Rego       string   `json:"rego"`
	Libs       []string `json:"libs"`
	Operations []string `json:"operations"`
	Code       []struct {
		Engine string `json:"engine"`
		Source any    `json:"source"`
	} `json:"code"`
}

type regoDocument struct {
	Rego    string   `json:"rego"`
	Version string   `json:"version"`
	Libs    []string `json:"libs"`
}

// nativeDocument is the source of the engine K8sNativeValidation (gatekeeper pkg/drivers/k8scel/schema). Its match conditions have a
// name in the singular.
type nativeDocument struct {
	Validations []struct {
		Expression        string `json:"expression"`
		Message           string `json:"message"`
		MessageExpression string `json:"messageExpression"`
	} `json:"validations"`
	FailurePolicy   *string `json:"failurePolicy"`
	MatchConditions []struct {
		Name       string `json:"name"`
		Expression string `json:"expression"`
	} `json:"matchCondition"`
	Variables []struct {
		Name       string `json:"name"`
		Expression string `json:"expression"`
	} `json:"variables"`
	GenerateVAP *bool `json:"generateVAP"`
}

type constraintDocument struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   any    `json:"metadata"`
	Status     any    `json:"status"`
	Spec       struct {
		Match                    *matchDocument `json:"match"`
		Parameters               any            `json:"parameters"`
		EnforcementAction        string         `json:"enforcementAction"`
		ScopedEnforcementActions []struct {
			Action            string `json:"action"`
			EnforcementPoints []struct {
				Name string `json:"name"`
			} `json:"enforcementPoints"`
		} `json:"scopedEnforcementActions"`
	} `json:"spec"`
}

type matchDocument struct {
	Kinds []struct {
		APIGroups []string `json:"apiGroups"`
		Kinds     []string `json:"kinds"`
	} `json:"kinds"`
	Scope              string                `json:"scope"`
	Source             string                `json:"source"`
	Name               string                `json:"name"`
	Namespaces         []string              `json:"namespaces"`
	ExcludedNamespaces []string              `json:"excludedNamespaces"`
	LabelSelector      *metav1.LabelSelector `json:"labelSelector"`
	NamespaceSelector  *metav1.LabelSelector `json:"namespaceSelector"`
}

func errorAt(o *policies.Object, path policies.Path, at policies.Aspect, err error) error {
	return policies.ErrorAt(o.Locate(path, at), err)
}

// decode fills into, a pointer to a struct, from what o holds at path. Every unknown field and every value of a wrong type is an error
// at its place.
func decode(o *policies.Object, path policies.Path, content, into any) []error {
	_, errs := strict.Decode(o, path, content, into, strict.Options{})
	return errs
}
