package apiserver

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	kjson "sigs.k8s.io/json"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/verdicts"
)

// strictly decodes m as the API server does: from JSON text, into the type of its kind.
func strictly(t testing.TB, b *builtin, m map[string]any) (obj any, unknown []string, err error) {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Skip(err)
	}
	obj = reflect.New(b.typ).Interface()
	strict, err := kjson.UnmarshalStrict(text, obj)
	for _, e := range strict {
		if name, ok := strings.CutPrefix(e.Error(), "unknown field "); ok {
			unknown = append(unknown, strings.Trim(name, `"`))
		}
	}
	return obj, unknown, err
}

// agree fails the test when the decoder and the API server's own JSON decoder differ on m.
func agree(t testing.TB, b *builtin, m map[string]any) {
	t.Helper()
	want, unknown, err := strictly(t, b, m)
	var d decoder
	got := reflect.New(b.typ)
	d.value(planOf(b.typ), m, got.Elem())
	if (err != nil) != (len(d.mistyped) > 0) {
		t.Fatalf("json: %v\nour decoder: %s\nobject: %v", err, said(d.mistyped), m)
	}
	if err != nil {
		return
	}
	var ours []string
	for _, v := range d.unknown {
		ours = append(ours, v.Message)
	}
	if len(unknown) < 100 && len(unknown) != len(ours) { // the other one stops at a hundred
		t.Fatalf("json: %q\nour decoder: %q", unknown, ours)
	}
	if !equality.Semantic.DeepEqual(got.Interface(), want) {
		t.Fatalf("json: %#v\nour decoder: %#v", want, got.Interface())
	}
}

func TestDecodingAgreesWithTheDecoderOfTheAPIServer(t *testing.T) {
	t.Parallel()
	cases, err := verdicts.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if b := builtins()[policies.NewObject(c.Object, policies.Origin{}, nil, nil).Kind]; b != nil {
			t.Run(c.Name, func(t *testing.T) { agree(t, b, c.Object) })
		}
	}
}

// kindsSorted lists the kinds in one order, so that a fuzzer's input names the same kind each time.
func kindsSorted() []*builtin {
	var all []*builtin
	for _, b := range builtins() {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *builtin) int {
		return strings.Compare(a.gvk.APIVersion()+a.gvk.Kind, b.gvk.APIVersion()+b.gvk.Kind)
	})
	return all
}

// seed gives a fuzzer every object of the table, with the number of its kind.
func seed(f *testing.F) []*builtin {
	cases, err := verdicts.All()
	if err != nil {
		f.Fatal(err)
	}
	kinds := kindsSorted()
	for _, c := range cases {
		gvk := policies.NewObject(c.Object, policies.Origin{}, nil, nil).Kind
		i := slices.IndexFunc(kinds, func(b *builtin) bool { return b.gvk == gvk })
		text, err := json.Marshal(c.Object)
		if i < 0 || err != nil {
			continue
		}
		f.Add(uint8(i), text)
	}
	return kinds
}

const maxFuzzed = 1 << 16 // bytes: what is larger is for the reader of manifests to bound

func FuzzDecodingAgreesWithTheDecoderOfTheAPIServer(f *testing.F) {
	kinds := seed(f)
	f.Fuzz(func(t *testing.T, kind uint8, text []byte) {
		var m map[string]any
		if len(text) > maxFuzzed || utiljson.Unmarshal(text, &m) != nil || m == nil {
			t.Skip()
		}
		agree(t, kinds[int(kind)%len(kinds)], m)
	})
}

func FuzzAdmitNeverPanics(f *testing.F) {
	kinds := seed(f)
	r, err := New("")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind uint8, text []byte) {
		var m map[string]any
		if len(text) > maxFuzzed || utiljson.Unmarshal(text, &m) != nil || m == nil {
			t.Skip()
		}
		b := kinds[int(kind)%len(kinds)]
		m["apiVersion"], m["kind"] = b.gvk.APIVersion(), b.gvk.Kind
		o := policies.NewObject(m, policies.Origin{}, nil, nil)
		for _, a := range []*Admission{r.Admit(nil, o, nil), r.Admit(nil, o, o.WithStored(nil))} {
			for _, v := range append(slices.Clone(a.Violations), a.Warnings...) {
				if v.Message == "" || v.Rule == "" || !slices.Contains(RuleIDs(), v.Rule) {
					t.Errorf("violation %+v: no message, or a rule that RuleIDs does not list", v)
				}
			}
		}
		first, err := r.Stored(nil, o)
		if err != nil {
			return
		}
		again, err := r.Stored(nil, o.WithStored(nil))
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Errorf("stored twice, differently: %v\n%v\n%v", err, first, again)
		}
	})
}
