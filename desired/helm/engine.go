package helm

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"
	"github.com/gobwas/glob"
	charts "helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"sigs.k8s.io/yaml"
	goyaml "sigs.k8s.io/yaml/goyaml.v3"

	"gitgate.dev/gitgate/desired/sandbox"
)

// engine executes the templates of a chart as Helm's engine does (helm.sh/helm/v4/pkg/engine), which cannot be interrupted, asks
// nobody what a template costs, and does not say where its output comes from.
type engine struct {
	set     *sandbox.Set
	world   *sandbox.World
	lookups bool // a template asked for objects of the cluster
}

// source is one template that writes manifests.
type source struct {
	name     string // chart/charts/sub/templates/x.yaml
	text     *common.File
	values   map[string]any
	basePath string
}

func newEngine(ctx context.Context, world *sandbox.World) *engine {
	e := &engine{world: world}
	funcs := sandbox.Sprig(world)
	maps.Copy(funcs, conversions())
	funcs["lookup"] = func(string, string, string, string) (map[string]any, error) {
		e.lookups = true
		return map[string]any{}, nil
	}
	funcs["required"] = func(message string, v any) (any, error) {
		if v == nil || v == "" {
			return v, &refusal{message}
		}
		return v, nil
	}
	funcs["fail"] = func(message string) (string, error) { return "", &refusal{message} }
	e.set = sandbox.New(ctx, sandbox.DefaultLimits(), funcs, "zero")
	return e
}

// refusal is an error that a template makes by itself.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

// stopped is an error and the last place of a template that was reached.
type stopped struct {
	place sandbox.Place
	err   error
}

func (s *stopped) Error() string { return s.err.Error() }
func (s *stopped) Unwrap() error { return s.err }

// render executes the templates of a chart and of those in it, with the values that ToRenderValues made.
func (e *engine) render(c *chart.Chart, values common.Values) (map[string]sandbox.Output, map[string]*source, error) {
	sources := map[string]*source{}
	cost := size(c)
	e.set.Methods(map[string]int64{"Get": cost, "GetBytes": 0, "Glob": cost, "Lines": 16 * cost, "AsConfig": 4 * cost, "AsSecrets": 4 * cost})
	if _, err := e.collect(c, values.AsMap(), sources); err != nil {
		return nil, nil, err
	}
	// As Helm: deep templates first, so that those of a chart win over those of the charts in it.
	names := slices.SortedFunc(maps.Keys(sources), func(a, b string) int {
		if d := strings.Count(b, "/") - strings.Count(a, "/"); d != 0 {
			return d
		}
		return strings.Compare(b, a)
	})
	for _, name := range names {
		if err := e.set.Parse(name, string(sources[name].text.Data)); err != nil {
			return nil, sources, &stopped{sandbox.Place{Template: name}, err}
		}
	}
	written := map[string]sandbox.Output{}
	for _, name := range names {
		if strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		s := sources[name]
		s.values["Template"] = common.Values{"Name": name, "BasePath": s.basePath}
		out, err := e.set.Execute(name, s.values)
		if err != nil {
			at := sandbox.Place{Template: name}
			if n := len(out.Marks); n > 0 {
				at = out.Marks[n-1].Place
			}
			return nil, sources, &stopped{at, err}
		}
		written[name] = out.WithoutNoValue()
	}
	return written, sources, nil
}

// collect gathers the templates of a chart, each with the values that are in its scope.
func (e *engine) collect(c *chart.Chart, outer map[string]any, into map[string]*source) (map[string]any, error) {
	accessor, err := charts.NewAccessor(c)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", c.Name(), err)
	}
	metadata, subcharts := accessor.MetadataAsMap(), map[string]any{}
	metadata["IsRoot"] = c.IsRoot()
	scope := map[string]any{
		"Chart": metadata, "Files": filesOf(c), "Release": outer["Release"], "Capabilities": outer["Capabilities"],
		"Values": make(common.Values), "Subcharts": subcharts,
	}
	if c.IsRoot() {
		scope["Values"] = outer["Values"]
	} else if values, err := common.Values(outer).Table("Values." + c.Name()); err == nil {
		scope["Values"] = values
	}
	for _, d := range c.Dependencies() {
		if subcharts[d.Name()], err = e.collect(d, scope, into); err != nil {
			return nil, err
		}
	}
	library := strings.EqualFold(c.Metadata.Type, "library")
	for _, t := range c.Templates {
		if t == nil || library && !strings.HasPrefix(path.Base(t.Name), "_") {
			continue
		}
		name := path.Join(c.ChartFullPath(), t.Name)
		into[name] = &source{name: name, text: t, values: scope, basePath: path.Join(c.ChartFullPath(), "templates")}
	}
	return scope, nil
}

// files are the files of a chart that its templates can read: those of the chart alone.
type files map[string][]byte

func filesOf(c *chart.Chart) files {
	f := files{}
	for _, x := range c.Files {
		f[x.Name] = x.Data
	}
	return f
}

// size is what the methods of a chart's files, and of those in it, can make at once.
func size(c *chart.Chart) int64 {
	total := int64(0)
	for _, f := range c.Files {
		total += int64(2*len(f.Data) + 64)
	}
	for _, d := range c.Dependencies() {
		total += size(d)
	}
	return total
}

// GetBytes returns a file, empty when there is none.
func (f files) GetBytes(name string) []byte { return f[name] }

// Get returns a file's text, empty when there is none.
func (f files) Get(name string) string { return string(f[name]) }

// Glob returns the files whose names match.
func (f files) Glob(pattern string) files {
	g, err := glob.Compile(pattern, '/')
	if err != nil {
		g = glob.MustCompile("**") // as Helm
	}
	out := files{}
	for name, text := range f {
		if g.Match(name) {
			out[name] = text
		}
	}
	return out
}

// Lines returns the lines of a file.
func (f files) Lines(name string) []string {
	if len(f[name]) == 0 {
		return []string{}
	}
	return strings.Split(strings.TrimSuffix(string(f[name]), "\n"), "\n")
}

// AsConfig returns the files as data of a ConfigMap.
func (f files) AsConfig() string {
	return f.as(func(text []byte) string { return string(text) })
}

// AsSecrets returns the files as data of a Secret.
func (f files) AsSecrets() string { return f.as(base64.StdEncoding.EncodeToString) }

func (f files) as(encode func([]byte) string) string {
	data := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		data[path.Base(name)] = encode(f[name])
	}
	return toYAML(data)
}

// conversions are the functions that Helm has and sprig has not, or has in another way. Errors are what Helm makes of them.
func conversions() template.FuncMap {
	must := func(v any) (string, error) {
		text, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	mustJSON := func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	}
	mustTOML := func(v any) (string, error) {
		var b bytes.Buffer
		err := toml.NewEncoder(&b).Encode(v)
		return b.String(), err
	}
	return template.FuncMap{
		"toYaml":       toYAML,
		"mustToYaml":   must,
		"toYamlPretty": toYAMLPretty,
		"fromYaml": func(text string) map[string]any {
			m := map[string]any{}
			if err := yaml.Unmarshal([]byte(text), &m); err != nil {
				m["Error"] = err.Error()
			}
			return m
		},
		"fromYamlArray": func(text string) []any {
			a := []any{}
			if err := yaml.Unmarshal([]byte(text), &a); err != nil {
				a = []any{err.Error()}
			}
			return a
		},
		"toJson": func(v any) string {
			text, err := mustJSON(v)
			if err != nil {
				return ""
			}
			return text
		},
		"mustToJson": mustJSON,
		"fromJson": func(text string) map[string]any {
			m := map[string]any{}
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				m["Error"] = err.Error()
			}
			return m
		},
		"fromJsonArray": func(text string) []any {
			a := []any{}
			if err := json.Unmarshal([]byte(text), &a); err != nil {
				a = []any{err.Error()}
			}
			return a
		},
		"toToml": func(v any) string {
			text, err := mustTOML(v)
			if err != nil {
				return err.Error()
			}
			return text
		},
		"mustToToml": mustTOML,
		"fromToml": func(text string) map[string]any {
			m := map[string]any{}
			if err := toml.Unmarshal([]byte(text), &m); err != nil {
				m["Error"] = err.Error()
			}
			return m
		},
	}
}

func toYAML(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}

func toYAMLPretty(v any) string {
	var b bytes.Buffer
	e := goyaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}
