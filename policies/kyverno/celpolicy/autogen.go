package celpolicy

import (
	"encoding/json"
	"maps"
	"slices"

	kyvernoautogen "github.com/kyverno/kyverno/pkg/cel/autogen"

	kyvernov1beta1 "github.com/kyverno/api/api/policies.kyverno.io/v1beta1"
)

// generated is what Kyverno makes of a policy for Pods, for the controllers that make Pods.
type generated struct {
	spec      *spec
	templates bool // the Pods are looked for in the objects, and the expressions are those for Pods
}

// autogen follows Kyverno's pkg/cel/policies/vpol/autogen: the texts of the policy, whichever they are, are moved from the Pod to
// the Pod's template.
func autogen(s *spec) ([]generated, error) {
	if !kyvernoautogen.CanAutoGen(s.MatchConstraints) {
		return nil, nil
	}
	controllers := slices.Collect(maps.Keys(kyvernoautogen.AllConfigs))
	if s.Autogen != nil && s.Autogen.PodControllers != nil && s.Autogen.PodControllers.Controllers != nil {
		controllers = s.Autogen.PodControllers.Controllers
	}
	slices.Sort(controllers)
	targets := map[string][]kyvernov1beta1.Target{}
	for _, name := range slices.Compact(controllers) {
		if c := kyvernoautogen.ResolveConfig(name); c != nil {
			targets[c.ReplacementsRef] = append(targets[c.ReplacementsRef], c.Target)
		}
	}
	var out []generated
	for _, way := range slices.Sorted(maps.Keys(targets)) {
		text, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		moved := &spec{}
		if err := json.Unmarshal(kyvernoautogen.Apply(text, kyvernoautogen.ReplacementsMap[way]...), moved); err != nil {
			return nil, err
		}
		moved.MatchConstraints = kyvernoautogen.CreateMatchConstraints(targets[way], s.MatchConstraints.ResourceRules[0].Operations, s.MatchConstraints.NamespaceSelector)
		if moved.MatchConstraints == nil {
			continue
		}
		out = append(out, generated{moved, way == kyvernoautogen.ExtractionReplacementsRef})
	}
	return out, nil
}
