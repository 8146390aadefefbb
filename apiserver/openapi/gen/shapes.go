package main

import (
	"fmt"
	"log"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// schema is the part of an OpenAPI v3 schema of Kubernetes that says something of a value's form.
type schema struct {
	Ref        string `json:"$ref"`
	AllOf      []*schema
	OneOf      []*schema
	Type       string
	Format     string
	Properties map[string]*schema
	Required   []string
	Items      *schema
	Additional *schema  `json:"additionalProperties"`
	Default    any      `json:"default"`
	ListType   string   `json:"x-kubernetes-list-type"`
	ListKeys   []string `json:"x-kubernetes-list-map-keys"`
	Kinds      []struct {
		Group, Version, Kind string
	} `json:"x-kubernetes-group-version-kind"`
}

// field is one field of a type: its name, its form, and the versions that have it so.
type field struct {
	name, form string
	in         uint8
}

type shapeTable struct {
	numbers map[string]int // type name -> number, given when first seen
	names   []string       // by number
	fields  map[string][]field
	in      map[string]uint8
	kinds   map[string]int // kind.key -> number of its type
}

func newShapes() *shapeTable {
	return &shapeTable{numbers: map[string]int{}, fields: map[string][]field{}, in: map[string]uint8{}, kinds: map[string]int{}}
}

func (t *shapeTable) number(name string) int {
	n, ok := t.numbers[name]
	if !ok {
		n = len(t.names)
		t.numbers[name] = n
		t.names = append(t.names, name)
	}
	return n
}

// readShapes reads the OpenAPI v3 documents of a Kubernetes source tree.
func readShapes(dir string) map[string]*schema {
	files, err := filepath.Glob(filepath.Join(dir, "api", "openapi-spec", "v3", "*__*.json"))
	if err != nil || len(files) == 0 {
		log.Fatalf("%s: no OpenAPI documents: %v", dir, err)
	}
	all := map[string]*schema{}
	for _, file := range files {
		var doc struct {
			Components struct{ Schemas map[string]*schema }
		}
		readJSON(file, &doc)
		for name, s := range doc.Components.Schemas {
			all[name] = s
		}
	}
	return all
}

// add merges the types of one version that its kinds reach.
func (t *shapeTable) add(bit uint8, all map[string]*schema, enums map[string]*enumTree) {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		s := all[name]
		if s == nil {
			log.Fatalf("type %s is referred to but not defined", name)
		}
		t.number(name)
		t.in[name] |= bit
		tree := enums[name]
		for _, prop := range sorted(s.Properties) {
			p := s.Properties[prop]
			form := t.form(p, all, tree.of(prop), visit)
			if slices.Contains(s.Required, prop) {
				form = "!" + form
			}
			t.addField(name, field{prop, form, bit})
		}
	}
	for _, name := range sorted(all) {
		for _, k := range all[name].Kinds {
			key := k.Group + "/" + k.Version + "/" + k.Kind
			if strings.HasSuffix(k.Kind, "List") || strings.HasPrefix(name, "io.k8s.apimachinery.") {
				continue
			}
			visit(name)
			t.kinds[key] = t.number(name)
		}
	}
}

func (t *shapeTable) addField(name string, f field) {
	for i, known := range t.fields[name] {
		if known.name == f.name && known.form == f.form {
			t.fields[name][i].in |= f.in
			return
		}
	}
	t.fields[name] = append(t.fields[name], f)
}

// form writes a schema as package openapi reads it (see parseForm there).
func (t *shapeTable) form(s *schema, all map[string]*schema, enum *enumTree, visit func(string)) string {
	ref := s.Ref
	if len(s.AllOf) == 1 {
		ref = s.AllOf[0].Ref
	}
	if ref != "" {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		if leaf := leafOf(name, all[name]); leaf != "" {
			return leaf
		}
		visit(name)
		return "@" + strconv.Itoa(t.number(name))
	}
	switch {
	case s.Items != nil:
		item := t.form(s.Items, all, enum.item(), visit)
		switch s.ListType {
		case "set":
			return "[*]" + item
		case "map":
			keys := make([]string, len(s.ListKeys))
			for i, key := range s.ListKeys {
				keys[i] = key
				if d, ok := keyDefault(s.Items, key, all).(string); ok && d != "" {
					keys[i] += "=" + d
				}
			}
			return "[" + strings.Join(keys, ",") + "]" + item
		default:
			return "[]" + item
		}
	case s.Additional != nil:
		return "{}" + t.form(s.Additional, all, enum.item(), visit)
	}
	leaf := scalarOf(s)
	if leaf == "s" && enum != nil && len(enum.values) > 0 {
		return "s|" + strings.Join(enum.values, "|")
	}
	return leaf
}

// keyDefault is the default of a key field of a list's items.
func keyDefault(items *schema, key string, all map[string]*schema) any {
	ref := items.Ref
	if len(items.AllOf) == 1 {
		ref = items.AllOf[0].Ref
	}
	if s := all[strings.TrimPrefix(ref, "#/components/schemas/")]; s != nil && s.Properties[key] != nil {
		return s.Properties[key].Default
	}
	return nil
}

// leafOf names the form of a type that is no struct: those whose JSON form is a Go type's own.
func leafOf(name string, s *schema) string {
	if s == nil {
		log.Fatalf("type %s is referred to but not defined", name)
	}
	switch {
	case strings.HasSuffix(name, ".api.resource.Quantity"):
		return "q"
	case strings.HasSuffix(name, ".util.intstr.IntOrString"):
		return "x"
	case strings.HasSuffix(name, ".meta.v1.Time"), strings.HasSuffix(name, ".meta.v1.MicroTime"):
		return "t"
	case strings.HasSuffix(name, ".meta.v1.FieldsV1"), strings.HasSuffix(name, ".runtime.RawExtension"):
		return "*"
	case len(s.Properties) > 0:
		return ""
	case s.Type == "" && strings.Contains(name, ".apiextensions.v1.JSON"):
		return "*"
	case s.Type == "object" && s.Additional == nil && s.Items == nil:
		return "" // a struct without fields
	default:
		return scalarOf(s)
	}
}

func scalarOf(s *schema) string {
	switch fmt.Sprintf("%s/%s", s.Type, s.Format) {
	case "string/":
		return "s"
	case "string/byte":
		return "y"
	case "string/date-time":
		return "t"
	case "integer/int32":
		return "i"
	case "integer/int64":
		return "l"
	case "number/double":
		return "n"
	case "boolean/":
		return "b"
	case "object/":
		return "{}*"
	}
	log.Fatalf("a schema of type %q and format %q is new: teach package openapi its form", s.Type, s.Format)
	return ""
}

// text writes "#NAME MASK" for each type, then one line a field: name form, and the mask where it is not the type's, with tabs between.
func (t *shapeTable) text() string {
	var b strings.Builder
	for _, name := range t.names {
		fmt.Fprintf(&b, "#%s\t%d\n", name, t.in[name])
		fields := t.fields[name]
		slices.SortStableFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
		for _, f := range fields {
			if strings.ContainsAny(f.name+f.form, "\t\n") {
				log.Fatalf("field %q of %s: a tab in %q", f.name, name, f.form)
			}
			b.WriteString(f.name + "\t" + f.form)
			if f.in != t.in[name] {
				fmt.Fprintf(&b, "\t%d", f.in)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}
