package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// writeKubeconformSchemas writes the JSON Schemas of Kubernetes' own OpenAPI document as kubeconform reads them: one file a
// kind, references inlined, unknown fields refused, optional fields nullable (the form of the public kubernetes-json-schema
// collection's *-standalone-strict folders), so that the peer needs no network.
func writeKubeconformSchemas(ctx context.Context, dir string) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Module.Dir}}", "k8s.io/kubernetes/pkg/api/legacyscheme").Output()
	if err != nil {
		return fmt.Errorf("module k8s.io/kubernetes: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "api", "openapi-spec", "swagger.json"))
	if err != nil {
		return err
	}
	var doc struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("swagger.json: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	in := inliner{doc.Definitions}
	for name, def := range doc.Definitions {
		kinds, _ := def["x-kubernetes-group-version-kind"].([]any)
		for _, k := range kinds {
			gvk, _ := k.(map[string]any)
			group, _ := gvk["group"].(string)
			version, _ := gvk["version"].(string)
			kind, _ := gvk["kind"].(string)
			suffix := "-" + version
			if group != "" {
				suffix = "-" + strings.Split(group, ".")[0] + "-" + version
			}
			schema, err := json.Marshal(in.resolve(def, []string{name}))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, strings.ToLower(kind)+suffix+".json"), schema, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

type inliner struct{ definitions map[string]map[string]any }

// resolve returns schema with its references replaced. within names the definitions around it, so that a recursive one ends.
func (in inliner) resolve(schema map[string]any, within []string) map[string]any {
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/definitions/")
		for _, outer := range within {
			if outer == name {
				return map[string]any{}
			}
		}
		return in.resolve(in.definitions[name], append(within[:len(within):len(within)], name))
	}
	if format, _ := schema["format"].(string); format == "int-or-string" {
		return map[string]any{"oneOf": []any{map[string]any{"type": "string"}, map[string]any{"type": "integer"}}}
	}
	if len(within) > 0 && strings.HasSuffix(within[len(within)-1], "api.resource.Quantity") {
		return map[string]any{"oneOf": []any{map[string]any{"type": "string"}, map[string]any{"type": "number"}}}
	}
	out := map[string]any{}
	for _, key := range []string{"type", "required", "enum", "pattern", "minimum", "maximum"} {
		if v, ok := schema[key]; ok {
			out[key] = v
		}
	}
	required := map[string]bool{}
	if names, ok := schema["required"].([]any); ok {
		for _, n := range names {
			required[n.(string)] = true
		}
	}
	if properties, ok := schema["properties"].(map[string]any); ok {
		resolved := map[string]any{}
		for name, p := range properties {
			sub := in.resolve(p.(map[string]any), within)
			if t, ok := sub["type"].(string); ok && !required[name] {
				sub["type"] = []any{t, "null"}
			}
			resolved[name] = sub
		}
		out["properties"], out["additionalProperties"] = resolved, false
	} else if additional, ok := schema["additionalProperties"].(map[string]any); ok {
		out["additionalProperties"] = in.resolve(additional, within)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		out["items"] = in.resolve(items, within)
	}
	return out
}
