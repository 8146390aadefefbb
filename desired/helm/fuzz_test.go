package helm_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"gitgate.dev/gitgate/desired/helm"
)

// Values are merged as Helm merges files of values, and no values make the merge change what it was given.
func FuzzValuesAreMergedAsHelmMergesThem(f *testing.F) {
	f.Add("a: 1\nb: {c: 2}\n", "b: {d: [1]}\n")
	f.Add("a: {b: {c: d}}\n", "a: null\n")
	f.Add("a: {b: 1}\n", "a: [1]\n")
	f.Add("a: &x {b: 1}\nc: *x\n", "c: {b: 2}\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		a, err := helm.ParseValues([]byte(first))
		if err != nil || a == nil {
			return
		}
		b, err := helm.ParseValues([]byte(second))
		if err != nil || b == nil {
			return
		}
		before, _ := json.Marshal(a)
		got, want := helm.MergeValues(a, b), loader.MergeMaps(maps.Clone(a), b)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if after, _ := json.Marshal(a); string(after) != string(before) {
			t.Errorf("the values were %s and are %s", before, after)
		}
	})
}
