package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/gobwas/glob"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

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
