package bundle

import _ "embed"

//go:embed gitgate.schema.json
var schemaText string

// JSONSchema is the JSON Schema (2020-12) of gitgate.yaml, for editors. Decode asks for more: names that are unique, paths that
// do not lead out, patterns that can be read.
func JSONSchema() string { return schemaText }
