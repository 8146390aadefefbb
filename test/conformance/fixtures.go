package conformance

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed testdata/good/*.yaml testdata/bad/*.yaml testdata/custom/*.yaml testdata/update/*.yaml testdata/table/*.txt
var testdata embed.FS

// fixture is one document of testdata: the comment on its first line names it.
type fixture struct {
	name   string
	object map[string]any
	text   string
}

func (f fixture) base() string {
	apiVersion, _ := f.object["apiVersion"].(string)
	kind, _ := f.object["kind"].(string)
	return apiVersion + "/" + kind + "/" + f.name
}

// fixtures reads all documents of one folder of testdata, in the order of the files.
func fixtures(folder string) ([]fixture, error) {
	entries, err := testdata.ReadDir(path.Join("testdata", folder))
	if err != nil {
		return nil, err
	}
	var all []fixture
	for _, entry := range entries {
		text, err := testdata.ReadFile(path.Join("testdata", folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		for _, doc := range strings.Split(string(text), "\n---\n") {
			name, ok := strings.CutPrefix(strings.SplitN(doc, "\n", 2)[0], "# ")
			if !ok {
				return nil, fmt.Errorf("%s/%s: each document begins with a comment that names it", folder, entry.Name())
			}
			object, err := decode([]byte(doc))
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %s: %w", folder, entry.Name(), name, err)
			}
			all = append(all, fixture{name: name, object: object, text: doc})
		}
	}
	return all, nil
}

// Read makes a case of the creation of a YAML or JSON document that is not of the table.
func Read(name string, text []byte) (Case, error) {
	object, err := decode(text)
	if err != nil {
		return Case{}, fmt.Errorf("%s: %w", name, err)
	}
	return Case{Base: name, Object: object}, nil
}

// decode reads YAML or JSON as gitgate's objects are: int64 for whole numbers that fit.
func decode(text []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	return decodeJSON(asJSON)
}

func decodeJSON(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	return numbers(m).(map[string]any), nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = numbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = numbers(e)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	}
	return v
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	}
	return v
}
