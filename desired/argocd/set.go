package argocd

import (
	"encoding/json"
	"fmt"

	"gitgate.dev/gitgate/policies"
)

// ApplicationSet is the part of argoproj.io/v1alpha1 ApplicationSet that says which Applications it makes.
type ApplicationSet struct {
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		GoTemplate        bool             `json:"goTemplate"`
		GoTemplateOptions []string         `json:"goTemplateOptions"`
		Generators        []map[string]any `json:"generators"`
		Template          map[string]any   `json:"template"`
		TemplatePatch     string           `json:"templatePatch"`
		SyncPolicy        struct {
			PreserveResourcesOnDeletion bool   `json:"preserveResourcesOnDeletion"`
			ApplicationsSync            string `json:"applicationsSync"`
		} `json:"syncPolicy"`
	} `json:"spec"`

	object *policies.Object
}

// ParseSet reads an ApplicationSet.
func ParseSet(o *policies.Object) (*ApplicationSet, error) {
	text, err := json.Marshal(o.Map())
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o, err)
	}
	s := &ApplicationSet{object: o}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, policies.ErrorAt(o.Locate(policies.Path{"spec"}, policies.AtKey), fmt.Errorf("%s cannot be read: %w", o, err))
	}
	return s, nil
}

func (s *ApplicationSet) at(field policies.Path, err error) error {
	return policies.ErrorAt(s.object.Locate(field, policies.AtValue), err)
}
