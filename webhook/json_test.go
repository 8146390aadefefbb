package webhook

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// library is what encoding/json makes of a text, with whole numbers as the parser has them.
func library(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, os.ErrInvalid
	}
	return numbers(v)
}

func numbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
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
	}
	return v, nil
}

func TestTheParserReadsWhatJSONIs(t *testing.T) {
	for _, tc := range []struct{ text, wrong string }{
		{`{"a":[1,-2,3.5,1e3,true,false,null,"x"],"b":{}}`, ""},
		{` { "a" : [ ] } `, ""},
		{`"\u0041\n\"\\\/\b\f\r\t\ud83d\ude00\ud83d"`, ""},
		{`9223372036854775807`, ""},
		{`9223372036854775808`, ""},
		{`-0`, ""},
		{`{"a":1,"a":2}`, "comes twice"},
		{`{"a":1,}`, "expected a key"},
		{`[1,]`, "cannot begin with"},
		{`{"a" 1}`, "expected a colon"},
		{`{"a":1 "b":2}`, "expected a comma"},
		{`[1 2]`, "expected a comma"},
		{`01`, "begins with 0"},
		{`1.`, "without digits after its point"},
		{`1e`, "without digits in its exponent"},
		{`-`, "without digits"},
		{`1e999`, "too large"},
		{`tru`, "expected true"},
		{`"\x"`, "escape that JSON does not have"},
		{`"\u12"`, "not finished"},
		{"\"\n\"", "control character"},
		{`"abc`, "ends in a string"},
		{`"abc\`, "ends in a string"},
		{`{} {}`, "text follows"},
		{"\x00", "cannot begin with"},
		{strings.Repeat("[", 20), "too many levels"},
		{"[" + strings.Repeat("1,", 200) + "1]", "too many values"},
	} {
		got, _, err := parseJSON(tc.text, 10, 100)
		if tc.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%s: error %v, want %q", tc.text, err, tc.wrong)
			}
			continue
		}
		want, libErr := library(tc.text)
		if err != nil || libErr != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v (%v), want %#v (%v)", tc.text, got, err, want, libErr)
		}
	}
}

// What an update leaves as it was is read once.
func TestTheOldObjectSharesWhatIsWrittenAlike(t *testing.T) {
	t.Parallel()
	const object = `{"metadata":{"managedFields":[{"manager":"a","fieldsV1":{"f:x":{"f:y":{}}}},{"manager":"b","fieldsV1":{"f:z":{}}}],"n":1},` +
		`"spec":{"a":{"b":[1]},"c":{"d":1},"list":[{"x":[{"k":1}],"y":2},{"x":[],"y":3}],"deep":{"e":{"f":{"g":[]},"h":1}}},"status":{"e":1}}`
	const old = `{"spec":{"list":[{"x":[{"k":1}],"y":1},{"x":[],"y":3}],"c":{"d":2},"a":{"b":[1]},"deep":{"e":{"f":{"g":[]},"h":2}}},"status":{"e":1},"f":{"e":1},` +
		`"metadata":{"n":2,"managedFields":[{"manager":"b","fieldsV1":{"f:z":{}}},{"manager":"a","time":"t","fieldsV1":{"f:x":{"f:y":{}}}}]}}`
	at := func(got any, path ...any) uintptr {
		for _, step := range append([]any{"request"}, path...) {
			switch step := step.(type) {
			case string:
				got = got.(map[string]any)[step]
			case int:
				got = got.([]any)[step]
			}
		}
		return reflect.ValueOf(got).Pointer()
	}
	read := func(text string) any {
		got, _, err := parseJSON(text, 12, 200)
		want, libErr := library(text)
		if err != nil || libErr != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v (%v), want %v (%v)", got, err, want, libErr)
		}
		return got
	}
	got := read(`{"request":{"operation":"UPDATE","object":` + object + `,"oldObject":` + old + `}}`)
	for _, tc := range []struct {
		before, after []any
		one           bool
	}{
		{[]any{"status"}, nil, true},
		{[]any{"spec"}, nil, false},
		{[]any{"spec", "a"}, nil, true},
		{[]any{"spec", "c"}, nil, false},
		{[]any{"spec", "list"}, nil, false},
		{[]any{"spec", "list", 0}, nil, false},
		{[]any{"spec", "list", 0, "x"}, nil, true},
		{[]any{"spec", "list", 1}, nil, true},
		{[]any{"spec", "deep", "e"}, nil, false},
		{[]any{"spec", "deep", "e", "f"}, nil, true},
		{[]any{"f"}, []any{"status"}, false}, // of another name
		{[]any{"metadata"}, nil, false},
		{[]any{"metadata", "managedFields", 0}, []any{"metadata", "managedFields", 1}, true}, // in another place of the list
		{[]any{"metadata", "managedFields", 1}, []any{"metadata", "managedFields", 0}, false},
		{[]any{"metadata", "managedFields", 1, "fieldsV1"}, []any{"metadata", "managedFields", 0, "fieldsV1"}, true},
	} {
		if tc.after == nil {
			tc.after = tc.before
		}
		if one := at(got, append([]any{"oldObject"}, tc.before...)...) == at(got, append([]any{"object"}, tc.after...)...); one != tc.one {
			t.Errorf("%v is one: %t, want %t", tc.before, one, tc.one)
		}
	}
	same := read(`{"request":{"object":` + object + `,"oldObject":` + object + `}}`)
	if at(same, "object") == at(same, "oldObject") || at(same, "object", "metadata") != at(same, "oldObject", "metadata") {
		t.Error("an object that is as it was is the old one itself, or shares nothing with it")
	}
	if first := read(`{"request":{"oldObject":` + object + `,"object":` + object + `}}`); at(first, "object", "spec") == at(first, "oldObject", "spec") {
		t.Error("an old object that comes first shares what is not read yet")
	}
	for _, text := range []string{
		`{"request":{"operation":"CREATE","object":` + object + `,"oldObject":` + old + `}}`,
		`{"request":{"object":{"a":[` + strings.Repeat(`{"x":{}},`, 70) + `[]],"b":{"c":{}}},"oldObject":{"b":{"c":{}},"a":[[],` + strings.Repeat(`{"x":{}},`, 5) + `{}]}}}`,
		`{"request":{"object":[{"a":{}}],"oldObject":[{"a":{}}]},"object":{"a":{"b":{}}},"oldObject":{"a":{"b":{}}}}`,
		`{"request":{"object":{"a":{"b":{}}},"oldObject":{"a":[{"b":{}}]}}}`,
		`{"request":{"object":{"a":[{"b":{}}],"":{"":{}}},"oldObject":{"a":{"b":{},"":{}},"":[{}]}}}`,
		`{"request":{"object":{"object":{"a":{}}},"oldObject":{"object":{"a":{}}}}}`,
		`{"object":{"request":{"object":{"a":{}}}},"request":{"oldObject":{"a":{}}}}`,
	} {
		read(text)
	}
	for _, text := range []string{
		`{"request":{"object":` + object + `,"object":` + object + `}}`,
		`{"request":{"object":{"a":{"b":{}}},"oldObject":{"a":{"b":{}},"a":{"b":{}}}}}`,
		`{"request":{"object":{"a":{"b":{}}},"oldObject":{"a":{"b":{}}x}}}`,
	} {
		if got, _, err := parseJSON(text, 12, 200); err == nil {
			t.Errorf("%s: read as %v", text, got)
		}
	}
}

// What the parser takes, encoding/json takes too, and both make the same of it.
func FuzzParser(f *testing.F) {
	for _, seed := range []string{`{"request":{"uid":"u"}}`, `[1,2.5,"\u00e9",null]`, `{"a":{"b":[]}}`, `"\ud83d\ude00"`, `1e5`, "{\"a\":\"\xff\"}",
		`{"request":{"object":{"spec":{"a":{"b":[1]},"c":[{}]},"l":[1]},"oldObject":{"l":[1],"spec":{"c":[{}],"a":{"b":[2]}},"x":{"a":{"b":[1]}}}}}`,
		`{"request":{"object":{"a":[{"b":{"c":1}},{"d":[{"fieldsV1":{"e":{}}}]}]},"oldObject":{"a":[{"d":[{"fieldsV1":{"e":{}}}]},{"b":{"c":2,"f":[]}}]}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, _, err := parseJSON(string(text), 64, 1000)
		if err != nil {
			return
		}
		want, err := library(string(text))
		if err != nil {
			t.Fatalf("the parser takes what encoding/json refuses: %v", err)
		}
		if !reflect.DeepEqual(got, want) && !nan(want) {
			t.Fatalf("got %#v, want %#v", got, want)
		}
	})
}

func nan(v any) bool { f, ok := v.(float64); return ok && math.IsNaN(f) }

func BenchmarkParser(b *testing.B) {
	text, err := os.ReadFile(filepath.Join("testdata", "reviews", "argo-update-deployment.json"))
	if err != nil {
		b.Fatal(err)
	}
	s := string(text)
	b.Run("parser", func(b *testing.B) {
		b.SetBytes(int64(len(s)))
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := parseJSON(s, 256, 1<<20); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(s)))
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := json.NewDecoder(bytes.NewReader(text)).Decode(&v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
