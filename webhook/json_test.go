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
	text := `{"request":{"object":{"spec":{"a":{"b":[1]},"c":{"d":1}},"status":{"e":1}},"oldObject":{"spec":{"a":{"b":[1]},"c":{"d":2}},"status":{"e":1},"f":{"e":1}}}}`
	got, _, err := parseJSON(text, 10, 100)
	want, libErr := library(text)
	if err != nil || libErr != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v (%v), want %v (%v)", got, err, want, libErr)
	}
	at := func(path ...string) uintptr {
		v := got
		for _, step := range append([]string{"request"}, path...) {
			v = v.(map[string]any)[step]
		}
		return reflect.ValueOf(v).Pointer()
	}
	for _, tc := range []struct {
		path []string
		one  bool
	}{{[]string{"spec", "a"}, true}, {[]string{"status"}, true}, {[]string{"spec"}, false}, {[]string{"spec", "c"}, false}} {
		if one := at(append([]string{"object"}, tc.path...)...) == at(append([]string{"oldObject"}, tc.path...)...); one != tc.one {
			t.Errorf("%v is one: %t, want %t", tc.path, one, tc.one)
		}
	}
	if at("oldObject", "f") == at("object", "status") {
		t.Error("fields of other names are one")
	}
}

// What the parser takes, encoding/json takes too, and both make the same of it.
func FuzzParser(f *testing.F) {
	for _, seed := range []string{`{"request":{"uid":"u"}}`, `[1,2.5,"\u00e9",null]`, `{"a":{"b":[]}}`, `"\ud83d\ude00"`, `1e5`, "{\"a\":\"\xff\"}",
		`{"request":{"object":{"spec":{"a":{"b":[1]},"c":[{}]},"l":[1]},"oldObject":{"l":[1],"spec":{"c":[{}],"a":{"b":[2]}},"x":{"a":{"b":[1]}}}}}`} {
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
