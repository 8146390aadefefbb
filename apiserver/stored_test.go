package apiserver

import (
	"encoding/json"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/verdicts"
)

// throughStorage is what the API server answers on the creation of an object: it is decoded, prepared, encoded as protobuf in
// its storage version, decoded, and encoded as JSON in the version asked for, each by the codecs of the API server.
func throughStorage(t *testing.T, b *builtin, content map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := runtime.Decode(legacyscheme.Codecs.UniversalDecoder(), text)
	if err != nil {
		t.Fatal(err)
	}
	m := &made{kind: b, object: obj}
	if m.meta, err = meta.Accessor(obj); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.create(); err != nil {
		t.Fatal(err)
	}
	storage := legacyscheme.Scheme.PrioritizedVersionsForGroup(b.gvk.Group)[0]
	if len(b.gvk.Group) > 0 && !legacyscheme.Scheme.Recognizes(storage.WithKind(b.gvk.Kind)) {
		storage = schema.GroupVersion{Group: b.gvk.Group, Version: b.gvk.Version}
	}
	serializer := protobuf.NewSerializer(legacyscheme.Scheme, legacyscheme.Scheme)
	stored, err := runtime.Encode(legacyscheme.Codecs.EncoderForVersion(serializer, storage), obj)
	if err != nil {
		t.Fatal(err)
	}
	back, err := runtime.Decode(legacyscheme.Codecs.DecoderToVersion(serializer, b.internal), stored)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := runtime.Encode(legacyscheme.Codecs.LegacyCodec(schema.GroupVersion{Group: b.gvk.Group, Version: b.gvk.Version}), back)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := utiljson.Unmarshal(answer, &out); err != nil {
		t.Fatal(err)
	}
	m.stripAssigned(out)
	return out
}

func TestStoredIsWhatComesBackFromStorage(t *testing.T) {
	t.Parallel()
	cases, err := verdicts.All()
	if err != nil {
		t.Fatal(err)
	}
	r := rules(t)
	for _, c := range cases {
		o := policies.NewObject(c.Object, policies.Origin{}, nil, nil)
		b := builtins()[o.Kind]
		if b == nil || b.jsonOnly || len(c.Want) > 0 || c.Old != nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			before, err := json.Marshal(c.Object)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Stored(nil, o)
			if err != nil {
				t.Fatal(err)
			}
			want := throughStorage(t, b, c.Object)
			if !reflect.DeepEqual(got, want) {
				a, _ := json.MarshalIndent(got, "", " ")
				z, _ := json.MarshalIndent(want, "", " ")
				t.Errorf("stored:\n%s\nfrom storage:\n%s", a, z)
			}
			if after, _ := json.Marshal(c.Object); string(after) != string(before) {
				t.Errorf("the manifest changed: %s\n%s", before, after)
			}
		})
	}
}
