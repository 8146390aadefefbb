package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/gobwas/glob"
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

// pattern is an entry of directories or files.
type pattern struct {
	Path    string `json:"path"`
	Exclude bool   `json:"exclude"`
}

// git are folders or files of a repository.
func (g *generating) git(body map[string]any, field policies.Path) ([]params, error) {
	var o struct {
		RepoURL     string            `json:"repoURL"`
		Revision    string            `json:"revision"`
		Directories []pattern         `json:"directories"`
		Files       []pattern         `json:"files"`
		Prefix      string            `json:"pathParamPrefix"`
		Values      map[string]string `json:"values"`
	}
	text, err := json.Marshal(body)
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		return nil, g.set.at(field, fmt.Errorf("generator git cannot be read: %w", err))
	}
	view, err := g.resolve(g.ctx, o.RepoURL, o.Revision)
	if err != nil {
		return nil, g.set.at(field.Append("repoURL"), err)
	}
	files, err := view.Files(g.ctx, "")
	if err != nil {
		return nil, g.set.at(field, err)
	}
	var out []params
	switch {
	case len(o.Directories) > 0 && len(o.Files) > 0, len(o.Directories) == 0 && len(o.Files) == 0:
		return nil, g.set.at(field, errors.New("generator git: expected one of directories and files"))
	case len(o.Directories) > 0:
		for _, folder := range folders(files) {
			if match(o.Directories, folder, path.Match) {
				out = append(out, g.pathParams(folder, "", o.Prefix))
			}
		}
	default:
		for _, file := range files {
			if !match(o.Files, file, pathspec) {
				continue
			}
			text, err := view.ReadFile(g.ctx, file)
			if err != nil {
				return nil, policies.ErrorAt(policies.Position{File: file}, err)
			}
			objects, err := parseParams(text)
			if err != nil {
				return nil, policies.ErrorAt(policies.Position{File: file}, err)
			}
			for _, object := range objects {
				p := g.pathParams(path.Dir(file), path.Base(file), o.Prefix)
				if g.set.Spec.GoTemplate {
					for key, value := range object {
						if _, there := p[key]; !there {
							p[key] = value
						}
					}
				} else {
					for key, value := range flatten(object, "") {
						if _, there := p[key]; !there {
							p[key] = value
						}
					}
				}
				out = append(out, p)
			}
			if err := g.bound(len(out), field); err != nil {
				return nil, err
			}
		}
	}
	for i := range out {
		if err := g.values(out[i], o.Values, field.Append("values")); err != nil {
			return nil, err
		}
	}
	return out, g.bound(len(out), field)
}

// folders are those of files, without hidden ones, sorted.
func folders(files []string) []string {
	seen := map[string]bool{}
	for _, f := range files {
		for d := path.Dir(f); d != "." && !seen[d]; d = path.Dir(d) {
			seen[d] = true
		}
	}
	maps.DeleteFunc(seen, func(d string, _ bool) bool { return strings.HasPrefix(d, ".") || strings.Contains(d, "/.") })
	return slices.Sorted(maps.Keys(seen))
}

func match(patterns []pattern, name string, matches func(pattern, name string) (bool, error)) bool {
	included := false
	for _, p := range patterns {
		ok, err := matches(p.Path, name)
		if err != nil || !ok {
			continue
		}
		if p.Exclude {
			return false
		}
		included = true
	}
	return included
}

// pathspec matches as `git ls-files` does: * matches a slash too, and a folder stands for all in it.
func pathspec(pattern, name string) (bool, error) {
	pattern = strings.TrimPrefix(path.Clean(pattern), "/")
	if pattern == name || strings.HasPrefix(name, pattern+"/") {
		return true, nil
	}
	g, err := glob.Compile(strings.NewReplacer("{", `\{`, "}", `\}`).Replace(pattern))
	if err != nil {
		return false, err
	}
	return g.Match(name), nil
}

// parseParams reads a file of parameters: a map, or a list of maps.
func parseParams(text []byte) ([]params, error) {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("parameters cannot be read: %w", err)
	}
	switch v := v.(type) {
	case nil:
		return []params{{}}, nil
	case map[string]any:
		return []params{v}, nil
	case []any:
		var out []params
		for _, x := range v {
			m, ok := x.(map[string]any)
			if !ok {
				return nil, errors.New("parameters: expected a map or a list of maps")
			}
			out = append(out, m)
		}
		return out, nil
	}
	return nil, errors.New("parameters: expected a map or a list of maps")
}

// pathParams are the parameters of a folder, and of a file in it.
func (g *generating) pathParams(folder, file, prefix string) params {
	segments := strings.Split(folder, "/")
	if g.set.Spec.GoTemplate {
		list := make([]any, len(segments))
		for i, s := range segments {
			list[i] = s
		}
		p := map[string]any{"path": folder, "basename": path.Base(folder), "basenameNormalized": normalize(path.Base(folder)), "segments": list}
		if file != "" {
			p["filename"], p["filenameNormalized"] = file, normalize(file)
		}
		if prefix != "" {
			return params{prefix: map[string]any{"path": p}}
		}
		return params{"path": p}
	}
	key := "path"
	if prefix != "" {
		key = prefix + ".path"
	}
	p := params{key: folder, key + ".basename": path.Base(folder), key + ".basenameNormalized": normalize(path.Base(folder))}
	if file != "" {
		p[key+".filename"], p[key+".filenameNormalized"] = file, normalize(file)
	}
	for i, s := range segments {
		if s != "" {
			p[fmt.Sprintf("%s[%d]", key, i)] = s
		}
	}
	return p
}

// values are parameters that are made of the others.
func (g *generating) values(p params, values map[string]string, field policies.Path) error {
	made := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		text, err := g.text(values[key], p)
		if err != nil {
			return g.set.at(field.Append(key), err)
		}
		made[key] = text
	}
	for key, value := range made {
		if g.set.Spec.GoTemplate {
			continue
		}
		p["values."+key] = value
	}
	if g.set.Spec.GoTemplate && len(made) > 0 {
		p["values"] = made
	}
	return nil
}

func (g *generating) children(body map[string]any, field policies.Path) ([]map[string]any, error) {
	list, _ := body["generators"].([]any)
	var out []map[string]any
	for i, x := range list {
		m, ok := x.(map[string]any)
		if !ok {
			return nil, g.set.at(field.Append("generators", i), errors.New("generator: expected a map"))
		}
		out = append(out, m)
	}
	return out, nil
}

// matrix is every combination of two generators; what the first says wins.
func (g *generating) matrix(body map[string]any, field policies.Path, outer params, depth int) ([]params, error) {
	children, err := g.children(body, field)
	if err != nil {
		return nil, err
	}
	if len(children) != 2 {
		return nil, g.set.at(field.Append("generators"), fmt.Errorf("matrix has %d generators: expected 2", len(children)))
	}
	first, err := g.generate(children[0], field.Append("generators", 0), outer, depth+1)
	if err != nil {
		return nil, err
	}
	var out []params
	for _, a := range first {
		second, err := g.generate(children[1], field.Append("generators", 1), a, depth+1)
		if err != nil {
			return nil, err
		}
		for _, b := range second {
			if g.set.Spec.GoTemplate {
				out = append(out, over(b, a))
				continue
			}
			both := maps.Clone(b)
			for key, value := range a {
				if other, there := both[key]; there && other != value {
					return nil, g.set.at(field, fmt.Errorf("parameter %s is %v in one generator and %v in the other", key, value, other))
				}
				both[key] = value
			}
			out = append(out, both)
		}
		if err := g.bound(len(out), field); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// over merges maps deeply: top wins.
func over(under, top map[string]any) map[string]any {
	out := maps.Clone(under)
	for key, value := range top {
		a, isMap := out[key].(map[string]any)
		b, both := value.(map[string]any)
		if isMap && both {
			out[key] = over(a, b)
		} else {
			out[key] = value
		}
	}
	return out
}

// merge is the first generator, changed by what the others say of the same keys.
func (g *generating) merge(body map[string]any, field policies.Path, outer params, depth int) ([]params, error) {
	children, err := g.children(body, field)
	if err != nil {
		return nil, err
	}
	written, _ := body["mergeKeys"].([]any)
	var keys []string
	for _, k := range written {
		if s, ok := k.(string); ok {
			keys = append(keys, s)
		}
	}
	if len(children) < 2 || len(keys) == 0 {
		return nil, g.set.at(field, errors.New("merge: expected two generators or more, and mergeKeys"))
	}
	var out []params
	index := map[string]int{}
	for i, child := range children {
		at := field.Append("generators", i)
		made, err := g.generate(child, at, outer, depth+1)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, p := range made {
			id, complete := identityOf(p, keys)
			if !complete && i > 0 {
				continue
			}
			if seen[id] {
				return nil, g.set.at(at, fmt.Errorf("parameters of the merge keys %s are not unique", strings.Join(keys, ", ")))
			}
			seen[id] = true
			if i == 0 {
				index[id] = len(out)
				out = append(out, p)
			} else if at, there := index[id]; there {
				out[at] = over(out[at], p)
			}
		}
	}
	return out, nil
}

func identityOf(p params, keys []string) (id string, complete bool) {
	flat, complete := flatten(p, ""), true
	var parts []string
	for _, key := range keys {
		value, ok := flat[key]
		complete = complete && ok
		parts = append(parts, fmt.Sprintf("%v", value))
	}
	text, _ := json.Marshal(parts)
	return string(text), complete
}

// flatten names nested values by their paths: a.b, a.0. Values become texts.
func flatten(v any, at string) map[string]any {
	out := map[string]any{}
	into := func(key string, x any) {
		if at != "" {
			key = at + "." + key
		}
		maps.Copy(out, flatten(x, key))
	}
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			into(key, x)
		}
	case []any:
		for i, x := range v {
			into(fmt.Sprint(i), x)
		}
	default:
		out[at] = fmt.Sprintf("%v", v)
	}
	return out
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
