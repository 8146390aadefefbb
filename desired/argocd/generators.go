package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

// Bounds of an ApplicationSet.
const (
	maxApplications = 5000
	maxNested       = 2 // generators in generators
)

// params are the values that one Application is made of.
type params = map[string]any

// network are the generators that ask another machine.
var network = map[string]string{
	"clusters":                "it lists the clusters that Argo CD knows",
	"clusterDecisionResource": "it reads an object of the cluster",
	"scmProvider":             "it lists the repositories of a Git host",
	"pullRequest":             "it lists the pull requests of a Git host",
	"plugin":                  "it asks a plugin",
}

// generate gives the parameters of one generator. outer are those of the generator that it stands in.
func (g *generating) generate(generator map[string]any, field policies.Path, outer params, depth int) ([]params, error) {
	if depth > maxNested {
		return nil, g.set.at(field, fmt.Errorf("generators are more than %d levels deep", maxNested))
	}
	var kinds []string
	for name, value := range generator {
		if name != "selector" && value != nil {
			kinds = append(kinds, name)
		}
	}
	if len(kinds) != 1 {
		slices.Sort(kinds)
		return nil, g.set.at(field, fmt.Errorf("generator has %q: expected one kind of generator", kinds))
	}
	kind := kinds[0]
	at := field.Append(kind)
	if reason, ok := network[kind]; ok {
		return nil, g.set.at(at, &kustomize.OpaqueError{What: "generator " + kind + " of ApplicationSet " + g.set.Metadata.Name, Reason: reason})
	}
	body, ok := generator[kind].(map[string]any)
	if !ok {
		return nil, g.set.at(at, fmt.Errorf("generator %s: expected a map", kind))
	}
	if outer != nil {
		// A generator in a matrix is itself a template of what stands before it.
		replaced, err := g.replace(body, at, outer)
		if err != nil {
			return nil, err
		}
		body = replaced.(map[string]any)
	}
	var made []params
	var err error
	switch kind {
	case "list":
		made, err = g.list(body, at)
	case "git":
		made, err = g.git(body, at)
	case "matrix":
		made, err = g.matrix(body, at, outer, depth)
	case "merge":
		made, err = g.merge(body, at, outer, depth)
	default:
		return nil, g.set.at(at, fmt.Errorf("generator %q is unknown", kind))
	}
	if err != nil {
		return nil, err
	}
	selector, _ := generator["selector"].(map[string]any)
	kept, err := choose(made, selector)
	if err != nil {
		return nil, g.set.at(field.Append("selector"), err)
	}
	return kept, nil
}

// list are elements that are written down.
func (g *generating) list(body map[string]any, field policies.Path) ([]params, error) {
	elements, _ := body["elements"].([]any)
	if written, _ := body["elementsYaml"].(string); written != "" {
		var more []any
		if err := yaml.Unmarshal([]byte(written), &more); err != nil {
			return nil, g.set.at(field.Append("elementsYaml"), fmt.Errorf("elements cannot be read: %w", err))
		}
		elements = append(slices.Clone(elements), more...)
	}
	var out []params
	for i, e := range elements {
		element, ok := e.(map[string]any)
		if !ok {
			return nil, g.set.at(field.Append("elements", i), errors.New("element: expected a map"))
		}
		if g.set.Spec.GoTemplate {
			out = append(out, maps.Clone(element))
			continue
		}
		p := params{}
		for key, value := range element {
			nested, isMap := value.(map[string]any)
			if key == "values" && isMap {
				for k, v := range nested {
					text, ok := v.(string)
					if !ok {
						return nil, g.set.at(field.Append("elements", i, key, k), fmt.Errorf("value %v: expected a text, as goTemplate is not set", v))
					}
					p["values."+k] = text
				}
				continue
			}
			text, ok := value.(string)
			if !ok {
				return nil, g.set.at(field.Append("elements", i, key), fmt.Errorf("value of %s: expected a text, as goTemplate is not set", key))
			}
			p[key] = text
		}
		out = append(out, p)
	}
	return out, g.bound(len(out), field)
}

func (g *generating) bound(n int, field policies.Path) error {
	if n > maxApplications {
		return g.set.at(field, fmt.Errorf("generator makes more than %d applications", maxApplications))
	}
	return nil
}

// choose keeps the parameters that a label selector matches.
func choose(made []params, selector map[string]any) ([]params, error) {
	if len(selector) == 0 {
		return made, nil
	}
	var s struct {
		MatchLabels      map[string]string `json:"matchLabels"`
		MatchExpressions []struct {
			Key      string   `json:"key"`
			Operator string   `json:"operator"`
			Values   []string `json:"values"`
		} `json:"matchExpressions"`
	}
	text, err := json.Marshal(selector)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("selector cannot be read: %w", err)
	}
	var out []params
	for _, p := range made {
		flat, ok := flatten(p, ""), true
		for key, value := range s.MatchLabels {
			ok = ok && flat[key] == any(value)
		}
		for _, e := range s.MatchExpressions {
			value, there := flat[e.Key]
			text, _ := value.(string)
			in := there && slices.Contains(e.Values, text)
			switch e.Operator {
			case "In":
				ok = ok && in
			case "NotIn":
				ok = ok && !in
			case "Exists":
				ok = ok && there
			case "DoesNotExist":
				ok = ok && !there
			default:
				return nil, fmt.Errorf("operator %q: expected In, NotIn, Exists or DoesNotExist", e.Operator)
			}
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

var notInName = regexp.MustCompile(`[^-a-z0-9.]`)

// normalize makes a name that Kubernetes accepts of a text.
func normalize(name string) string {
	name = notInName.ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(name[:min(253, len(name))], "-.")
}
