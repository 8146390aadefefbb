package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	goyaml "sigs.k8s.io/yaml/goyaml.v2"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

// seeds are texts in which YAML, JSON and kubectl each have something to say.
var seeds = []string{
	"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {a: b, \"c\": 'd'}\ndata:\n  x: |\n    one\n\n      two\n  y: >-\n    one\n    two\n\n    three\n",
	"a: yes\nb: 0777\nc: 0o17\nd: 1_000\ne: 1e3\nf: .5\ng: ~\nh:\ni: 2001-12-14\nj: 0x1F\nk: 0b11\nl: -0\nm: +1\nn: 1.0\no: 1e400\np: 9223372036854775808\nq: 4.611686018427388e18\n",
	"a:\n- b\n- - c\n  - d: e\n    f: g\n-\n  h\n- \"i\": j\n- |\n  k\n  l\n- ''\n",
	"a: b # c\nd: e#f\ng: 'h''i' # j\n\"k\\n\\u00e9\": \"l\\tm\"\nn : o\n",
	"a: one\n  two\n\n  three\nb:\n  four\n  five # six\n",
	"a: [b, c d, \"e\", [f], {g: h}]\ni: {j: {k: l}}\nm: []\nn: {}\no: [\n  p,\n  q\n]\n",
	"{\"a\": [1, 2.0, 1e2, -0, null, true, \"\\ud83d\\ude00\\/\"]}",
	"a: &x {b: c}\nd: *x\ne:\n  <<: *x\n  f: g\n",
	"a: |+\n  b\n\n\nc: >2\n    d\n   e\nf: |-\n  g\n",
	"a: 1\na: 2\n", "1: a\n\"1\": b\n", "? a\n: b\n", "a:\n\tb: c\n", "a: b: c\n", "%YAML 1.1\n---\na: b\n",
	"  a: 1\nb: 2\n", "- a\nb: c\n", "a: >\n\n  b\n\n   c\n  d\n", "a: !!binary aGk=\nb: !!str 1\n", "a: 'b\n  c'\nd: \"e\\\n  f\"\n",
	"a: x\r\nb: |\r\n  c\r\n  d\r\ne: [f,\r\n g]\r\n", "a: .inf\n", "true: b\n", "a: \"\\x41\\0\"\n", "a:\n  - b\n c: d\n", "a: -\n", "a: -b\n- c", "a: b\n# c\n  d\n",
	"on: {yes: no}\nnull: a\n", "a: {b}\n", "a: {b: }\n", "a: [b: c]\n", "a: [b,]\n", "a: [-]\n", "a: [b #c\n]\n", "a: \"b\"c\n", "a: |\n b\n  c\n d", "a: |\n\n   b\n  c\n", "a:\n# b\n  c: d\n", "--- a\n", "...\n", "a\n...\nb\n",
}

func addSeeds(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
}

// libraryValue is what kubectl would send of a text: sigs.k8s.io/yaml, then JSON with whole numbers kept.
func libraryValue(text []byte) (v any, strict error, err error) {
	js, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, nil, err
	}
	_, strict = yaml.YAMLToJSONStrict(text)
	v, err = jsonValue(js)
	return v, strict, err
}

func jsonValue(js []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(js))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the value")
	}
	return numbers(v)
}

func numbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if v[k], err = numbers(v[k]); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = numbers(v[i]); err != nil {
				return nil, err
			}
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	}
	return v, nil
}

// What the parser reads by itself has the library's value, and the library would not have read less or more of the text.
func FuzzParserAgreesWithLibrary(f *testing.F) {
	addSeeds(f)
	f.Fuzz(agrees)
}

// As above, over texts put together from what YAML gives a meaning: each byte of the input names a fragment.
func FuzzFragmentsAgreeWithLibrary(f *testing.F) {
	fragments := []string{
		"a", "b: ", "c:", ": ", ":", "- ", "-", "\n", "\n  ", "\n    ", "\n- ", "\n  - ", " ", "  ", "\"", "'", "|\n", ">\n", "|-\n", ">+\n", "|2\n", "| # c\n",
		"[", "]", "{", "}", ", ", ",", " # c", "#", "~", "1", "0", ".", "e", "_", "&x ", "*x", "<<: ", "!!str ", "\t", "\r\n", "yes", "---", "...", "\\", "\\n", "%", "? ", "\n\n", "\u00e9",
		"\na: ", "\n  b: ", "\n    c: ", "\nd:\n", "\"k\": ", "\na", "\n# c",
	}
	for i := range 40 {
		f.Add([]byte{byte(i), 1, 0, byte(i + 7), 50, byte(i + 13)})
	}
	f.Fuzz(func(t *testing.T, picks []byte) {
		var b strings.Builder
		for _, p := range picks[:min(len(picks), 60)] {
			b.WriteString(fragments[int(p)%len(fragments)])
		}
		agrees(t, []byte(b.String()))
	})
}

func agrees(t *testing.T, text []byte) {
	d := &document{text: string(text), line: 1, col: 1}
	if d.encoding() != nil {
		return
	}
	got, ok := d.parse(DefaultLimits())
	if !ok {
		libraryAgrees(t, d)
		return
	}
	want, strict, err := libraryValue(text)
	if err != nil {
		t.Fatalf("the library refuses what the parser reads as %#v: %v", got.value, err)
	}
	if (strict != nil) != (len(got.problems) > 0) {
		t.Fatalf("doubled keys: the library says %v, the parser %v", strict, got.problems)
	}
	if !reflect.DeepEqual(got.value, want) {
		t.Fatalf("got %#v\nwant %#v", got.value, want)
	}
	dec := goyaml.NewDecoder(bytes.NewReader(text))
	var v any
	if err := dec.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := dec.Decode(&v); !errors.Is(err, io.EOF) {
		t.Fatalf("the library finds more than one document: %v", err)
	}
	checkPlaces(t, d, got.value)
}

// libraryAgrees holds the same of a text that the parser leaves to the library: it has kubectl's value, or one of the problems
// that only we see.
func libraryAgrees(t *testing.T, d *document) {
	t.Helper()
	got, problems := d.library(DefaultLimits())
	want, strict, err := libraryValue([]byte(d.text))
	if len(problems) == 0 {
		if err != nil {
			t.Fatalf("the library refuses what is read as %#v: %v", got, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v\nwant %#v", got, want)
		}
		if strict != nil && !strings.Contains(d.text, "<<") {
			t.Fatalf("no doubled key is told of: %v", strict)
		}
		return
	}
	if err != nil || strict != nil || problems[0].Rule == RuleTooDeep || problems[0].Rule == RuleAlias || problems[0].Rule == RuleDuplicateKey && len(problems) > 0 {
		return
	}
	dec := goyaml.NewDecoder(strings.NewReader(d.text))
	var v any
	if dec.Decode(&v) == nil && errors.Is(dec.Decode(&v), io.EOF) {
		t.Fatalf("kubectl reads %#v where %+v is told", want, problems)
	}
}

// JSON is read exactly as encoding/json reads it.
func FuzzParserAgreesWithJSON(f *testing.F) {
	addSeeds(f)
	f.Add([]byte(`{"a":"\ud800","b":"\ud83d\u0041","c":1.0,"d":1E+2,"e":12345678901234567890,"f":"\u2028\u0000"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := &document{text: string(text), json: true, line: 1, col: 1}
		if strings.ToValidUTF8(d.text, "") != d.text {
			return
		}
		got, ok := d.parse(DefaultLimits())
		want, err := jsonValue(text)
		if ok != (err == nil) {
			t.Fatalf("parser read it: %v; encoding/json: %v", ok, err)
		}
		if !ok {
			return
		}
		if !reflect.DeepEqual(got.value, want) {
			t.Fatalf("got %#v\nwant %#v", got.value, want)
		}
		checkPlaces(t, d, got.value)
	})
}

// The whole reader: no text makes it panic; it gives the same however the text arrives; what it gives is what kubectl would
// send; and every field is found inside the file.
func FuzzDecode(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		lim := Limits{Document: 1 << 16, Fields: 1 << 12, Depth: 50, Expanded: 1 << 16}
		objects, problems := Decode("f.yaml", text, lim)
		streamed, streamedProblems := collect(Read("f.yaml", iotest.HalfReader(bytes.NewReader(text)), lim))
		if !reflect.DeepEqual(names(objects), names(streamed)) || !reflect.DeepEqual(problems, streamedProblems) {
			t.Fatalf("Decode gives %q %+v\nRead gives %q %+v", names(objects), problems, names(streamed), streamedProblems)
		}
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, p := range problems {
			if p.Rule == "" || p.Message == "" || p.Pos.Line < 1 || p.Pos.Line > lines || p.Pos.Column < 1 {
				t.Errorf("problem without its place: %+v", p)
			}
		}
		for i, o := range objects {
			if !reflect.DeepEqual(o.Map(), streamed[i].Map()) {
				t.Fatalf("Decode gives %v\nRead gives %v", o.Map(), streamed[i].Map())
			}
			visit(o.Map(), nil, func(p policies.Path, v any) {
				for _, at := range []policies.Aspect{policies.AtKey, policies.AtValue} {
					if pos := o.Locate(p, at); pos.Line < 1 || pos.Line > lines || pos.Column < 1 {
						t.Errorf("%s is at %+v", p, pos)
					}
				}
				o.Locate(p.Append("none", 3), policies.AtKey)
			})
		}
	})
}

// A path of any shape on a document of any shape is located in the file.
func FuzzLocate(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte("apiVersion: v1\nkind: X\n"+s), "a[0].b")
	}
	f.Fuzz(func(t *testing.T, text []byte, path string) {
		objects, _ := Decode("f.yaml", text, Limits{Document: 1 << 16, Fields: 1 << 12, Depth: 50, Expanded: 1 << 16})
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, o := range objects {
			if pos := o.Locate(policies.ParsePath(path), policies.AtValue); pos.Line < 1 || pos.Line > lines || pos.Column < 1 || pos.EndColumn < 0 {
				t.Errorf("%s is at %+v", path, pos)
			}
		}
	})
}

func visit(v any, p policies.Path, each func(policies.Path, any)) {
	each(p, v)
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			visit(v[k], p.Append(k), each)
		}
	case []any:
		for i := range v {
			visit(v[i], p.Append(i), each)
		}
	}
}

// checkPlaces holds that the index of what the parser read has every field, at a place where its text stands.
func checkPlaces(t *testing.T, d *document, value any) {
	t.Helper()
	idx := d.places()
	if idx == nil {
		if value != nil {
			t.Fatal("no index of a text that was read")
		}
		return
	}
	visit(value, nil, func(p policies.Path, v any) {
		where, steps := idx.find(p)
		if value != nil && steps != len(p) {
			t.Fatalf("%s is not found", p)
		}
		if where.from < 0 || where.from > len(d.text) || where.to > len(d.text) || where.keyEnd > len(d.text) || where.key > where.keyEnd {
			t.Fatalf("%s is at %+v of %d bytes", p, where, len(d.text))
		}
		if s, ok := v.(string); ok && where.to > where.from && s == strings.TrimSpace(s) && !strings.ContainsAny(s, "'\"\\\n\t ") && len(s) > 1 && !strings.Contains(d.text[where.from:where.to], "\\") {
			if !strings.Contains(d.text[where.from:where.to], s) {
				t.Fatalf("%s has value %q and is said to be %q", p, s, d.text[where.from:where.to])
			}
		}
	})
}
