package breakglass

import _ "embed"

// CRDs are the CustomResourceDefinitions of grants and approvals, as YAML.
//
//go:embed manifests/crds.yaml
var CRDs string

// AdmissionPolicy is the ValidatingAdmissionPolicy, with its binding, by which the API server itself asks that grants name who makes
// them, as YAML.
//
//go:embed manifests/policy.yaml
var AdmissionPolicy string
