package apiserver

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// mutate returns v with a few places changed: values of other types, missing and renamed keys, parts copied elsewhere. It finds
// what a fuzzer finds that follows coverage, at a fraction of the cost of code that is instrumented.
func mutate(r *rand.Rand, v any) any {
	v = clone(v)
	places := collect(v, nil)
	for range 1 + r.IntN(3) {
		at := places[r.IntN(len(places))]
		var value any
		switch r.IntN(3) {
		case 0:
			value = clone(places[r.IntN(len(places))].value)
		case 1:
			value = []any{nil, true, int64(0), int64(-1), int64(1) << 40, 1.5, "", "x", "a.b[0]", "<nil>", []any{}, []any{nil}, map[string]any{}, map[string]any{"": nil}}[r.IntN(14)]
		}
		switch parent := at.parent.(type) {
		case map[string]any:
			switch r.IntN(4) {
			case 0:
				delete(parent, at.key)
			case 1:
				parent[[]string{"", "a.b", "metadata", "apiVersion", "status", "x-kubernetes-list-type", "default", "type", "$ref", "items", "oldSelf"}[r.IntN(11)]] = value
			default:
				parent[at.key] = value
			}
		case []any:
			parent[at.index] = value
		}
	}
	return v
}

type place struct {
	parent any
	key    string
	index  int
	value  any
}

func collect(v any, out []place) []place {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = collect(v[k], append(out, place{parent: v, key: k, value: v[k]}))
		}
	case []any:
		for i, item := range v {
			out = collect(item, append(out, place{parent: v, index: i, value: item}))
		}
	}
	return out
}

// rounds is how many mutants a test makes: GITGATE_MUTANTS, or enough to meet the ordinary ones.
func rounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("GITGATE_MUTANTS"))
	if err != nil {
		return 300
	}
	t.Logf("%d mutants", n)
	return n
}

func TestNoCustomResourceBringsTheCodeDown(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	set := crdSet(t, certificatesCRD)
	good := parse(t, goodCertificate)
	for range rounds(t) {
		m := mutate(r, good.Map()).(map[string]any)
		m["apiVersion"], m["kind"] = "certs.example.com/v1", "Certificate"
		noPanic(t, set, policies.NewObject(m, policies.Origin{}, nil, nil), good)
		noPanic(t, set, good, policies.NewObject(m, policies.Origin{}, nil, nil))
	}
}

func TestNoCRDBringsTheCodeDown(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	doc, _, _ := strings.Cut(certificatesCRD, "\n---\n")
	seed := parse(t, doc).Map()
	// One version is enough, and one is quicker.
	versions, _ := policies.Lookup(seed, policies.Path{"spec", "versions"})
	seed["spec"].(map[string]any)["versions"] = versions.([]any)[:1]
	for range rounds(t) / 3 {
		m := mutate(r, seed).(map[string]any)
		m["apiVersion"], m["kind"] = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
		crd := policies.NewObject(m, policies.Origin{}, nil, nil)
		set := policies.NewSet(crd)
		noPanic(t, set, crd, policies.NewObject(seed, policies.Origin{}, nil, nil))
		noPanic(t, set, parse(t, goodCertificate), parse(t, goodCertificate))
	}
}
