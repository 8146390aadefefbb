// Package notes reads what a Kyverno policy says of itself in its annotations. It knows nothing else of policies.
package notes

import (
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Describe sets what the annotations of a policy say of it: its description, severity, category, controls and address.
func Describe(annotations map[string]string, out *policies.Policy) {
	out.Doc = strings.TrimSpace(annotations["policies.kyverno.io/description"])
	if title := annotations["policies.kyverno.io/title"]; out.Doc == "" {
		out.Doc = title
	}
	switch s := policies.Severity(strings.ToLower(annotations["policies.kyverno.io/severity"])); s {
	case policies.Info, policies.Low, policies.Medium, policies.High, policies.Critical:
		out.Severity = s
	}
	for _, id := range strings.Split(annotations["gitgate.dev/controls"], ",") {
		if id = strings.TrimSpace(id); id != "" {
			out.Controls = append(out.Controls, id)
		}
	}
	if category := annotations["policies.kyverno.io/category"]; category != "" {
		out.Controls = append(out.Controls, category)
	}
	out.URL = annotations["gitgate.dev/url"]
}
