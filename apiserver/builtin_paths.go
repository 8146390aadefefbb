package apiserver

import "gitgate.dev/gitgate/policies"

// writtenPath turns a path as the API server's validation names it into the path of the field in the version as written.
// Validation sees the internal type, which mostly has the same fields in the same places.
func writtenPath(p policies.Path, o *policies.Object, m *made) policies.Path {
	return p
}
