// Package admission evaluates CEL expressions of policies about an admission request: it makes the variables of a request, matches
// MatchResources, compiles and evaluates expressions as the API server does for a ValidatingAdmissionPolicy, and finds the field
// that made an expression false. The kinds of policy that are written in CEL share it; it is no kind itself, reads no documents
// and knows neither doors nor bindings.
package admission

import "gitgate.dev/gitgate/policies"

// API tells what the API server serves; apiserver.Rules is one.
type API interface {
	// Resource returns the resource of a kind, and whether it is namespaced; known is false for a kind that nobody declares.
	Resource(set *policies.Set, gvk policies.GroupVersionKind) (res policies.Resource, namespaced, known bool)
}

// Converter returns the stored form of an object in another version of its kind. It does not change o.
type Converter func(set *policies.Set, o *policies.Object, to policies.GroupVersionKind) (map[string]any, error)
