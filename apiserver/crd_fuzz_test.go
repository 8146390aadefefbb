package apiserver

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policies"
)

// decoded is JSON as the reader of manifests has it; false when the text is no JSON object.
func decoded(text []byte) (map[string]any, bool) {
	var m map[string]any
	if !json.Valid(text) || utiljson.Unmarshal(text, &m) != nil || m == nil {
		return nil, false
	}
	return m, true
}

// noPanic asks for the whole answer, and that none of it is a panic that was caught.
func noPanic(t *testing.T, set *policies.Set, o, old *policies.Object) {
	t.Helper()
	r := rules(t)
	var caught *PanicError
	for _, before := range []*policies.Object{nil, old} {
		if a := r.Admit(set, o, before); errors.As(a.Err, &caught) {
			t.Fatalf("admit: %v\n%s", caught.Value, caught.Stack)
		}
	}
	if _, err := r.Stored(set, o); errors.As(err, &caught) {
		t.Fatalf("stored: %v\n%s", caught.Value, caught.Stack)
	}
	r.Resource(set, o.Kind)
}

// FuzzCustomResource puts arbitrary content before a CRD of real shape: no content makes the answer panic.
func FuzzCustomResource(f *testing.F) {
	good, err := json.Marshal(parse(f, goodCertificate).Map())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, good)
	f.Add([]byte(`{"metadata":{"name":1},"spec":{"secretName":null,"additionalOutputs":[{"type":"a"},{"type":"a"},null,1]}}`), good)
	f.Add([]byte(`{"metadata":[],"spec":{"template":{"metadata":{"labels":1}},"dnsNames":["a","a",null]}}`), []byte(`{}`))
	set := crdSet(f, certificatesCRD)
	f.Fuzz(func(t *testing.T, text, before []byte) {
		content, ok := decoded(text)
		if !ok {
			return
		}
		content["apiVersion"], content["kind"] = "certs.example.com/v1", "Certificate"
		var old *policies.Object
		if was, ok := decoded(before); ok {
			was["apiVersion"], was["kind"] = "certs.example.com/v1beta1", "Certificate"
			old = policies.NewObject(was, policies.Origin{}, nil, nil)
		}
		noPanic(t, set, policies.NewObject(content, policies.Origin{}, nil, nil), old)
	})
}

// FuzzCRD puts arbitrary schemas before the code: no CRD makes it panic, and no object of its kind does.
func FuzzCRD(f *testing.F) {
	for doc := range strings.SplitSeq(certificatesCRD, "\n---\n") {
		text, err := json.Marshal(parse(f, doc).Map()["spec"])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, []byte(`{"spec":{"secretName":"a"}}`))
	}
	f.Add([]byte(`{"names":{"plural":"a"},"versions":[{"name":"v1","served":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"array","items":{"type":"string","x-kubernetes-validations":[{"rule":"self == oldSelf"}]}}}}}}]}`), []byte(`{"spec":["a"]}`))
	f.Fuzz(func(t *testing.T, crdSpec, text []byte) {
		spec, ok := decoded(crdSpec)
		content, alsoOk := decoded(text)
		if !ok || !alsoOk {
			return
		}
		spec["group"] = "fuzz.example.com"
		names, _ := spec["names"].(map[string]any)
		if names == nil {
			names = map[string]any{}
			spec["names"] = names
		}
		names["kind"] = "Fuzz"
		crd := policies.NewObject(map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": "fuzzes.fuzz.example.com"}, "spec": spec,
		}, policies.Origin{}, nil, nil)
		set := policies.NewSet(crd)
		noPanic(t, set, crd, crd)
		content["apiVersion"], content["kind"] = "fuzz.example.com/v1", "Fuzz"
		o := policies.NewObject(content, policies.Origin{}, nil, nil)
		noPanic(t, set, o, o)
	})
}
