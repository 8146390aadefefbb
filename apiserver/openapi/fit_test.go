package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
)

func TestNewerFieldsAreThoseThatTheNativeVersionDoesNotHave(t *testing.T) {
	t.Parallel()
	content := decode(t, `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {nodeName: a, evictionResponders: [{name: a}], schedulingGroup: {podGroupName: g}, tolerations: [{operator: Gt}, {operator: Is}], unknown: 1}}`)
	for _, c := range []struct {
		version, native string
		want            []string
	}{
		{"1.37", "1.36", []string{"spec.evictionResponders"}},
		{"1.37", "1.35", []string{"spec.evictionResponders", "spec.schedulingGroup"}},
		{"1.36", "1.34", []string{"spec.schedulingGroup", "spec.tolerations[0].operator"}},
		{"1.36", "1.36", nil},
		{"1.34", "1.36", nil},
	} {
		v := version(t, c.version)
		var got []string
		fields, values := v.Newer(v.Kind(gvk("v1", "Pod")), content, version(t, c.native))
		for _, p := range append(fields, values...) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("newer in %s than in %s: %v, expected %v", c.version, c.native, got, c.want)
		}
	}
}

func TestAStoredFormIsMadeToFitAVersion(t *testing.T) {
	t.Parallel()
	written := decode(t, `{apiVersion: v1, kind: Pod, spec: {evictionResponders: [{name: a}], schedulingGroup: {podGroupName: g}, containers: [{name: a}]}}`)
	stored := decode(t, `{apiVersion: v1, kind: Pod, spec: {schedulingGroup: {podGroupName: g}, restartPolicy: Always, containers: [{name: a, imagePullPolicy: Always}], nodeSelector: {a: b}}}`)
	before := fmt.Sprint(written, stored)
	for _, c := range []struct{ version, want string }{
		{"1.37", `{apiVersion: v1, kind: Pod, spec: {evictionResponders: [{name: a}], schedulingGroup: {podGroupName: g}, restartPolicy: Always, containers: [{name: a, imagePullPolicy: Always}], nodeSelector: {a: b}}}`},
		{"1.36", `{apiVersion: v1, kind: Pod, spec: {schedulingGroup: {podGroupName: g}, restartPolicy: Always, containers: [{name: a, imagePullPolicy: Always}], nodeSelector: {a: b}}}`},
		{"1.34", `{apiVersion: v1, kind: Pod, spec: {restartPolicy: Always, containers: [{name: a, imagePullPolicy: Always}], nodeSelector: {a: b}}}`},
	} {
		v := version(t, c.version)
		if got := v.Fit(v.Kind(gvk("v1", "Pod")), stored, written, version(t, "1.36")); !reflect.DeepEqual(got, decode(t, c.want)) {
			t.Errorf("%s stores %v, expected %s", c.version, got, c.want)
		}
	}
	if fmt.Sprint(written, stored) != before {
		t.Error("an argument was changed")
	}
}

func TestDuplicatesAreThoseOfTheCheck(t *testing.T) {
	t.Parallel()
	content := decode(t, `{apiVersion: v1, kind: Pod, metadata: {finalizers: [a/b, a/b]}, spec: {containers: [{name: a, env: [{name: A}, {name: A}], ports: [{containerPort: 1}, {containerPort: 1, protocol: UDP}]}, {name: a}], nodeSelector: []}}`)
	v := version(t, "1.36")
	k := v.Kind(gvk("v1", "Pod"))
	var want []string
	for _, found := range v.Check(k, content, v) {
		if found.Rule == "duplicate" {
			want = append(want, found.Path.String()+found.Message)
		}
	}
	var got []string
	for _, found := range v.Duplicates(k, content) {
		got = append(got, found.Path.String()+found.Message)
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) != 3 || !slices.Equal(got, want) {
		t.Errorf("found\n%q, expected\n%q", got, want)
	}
}

// FuzzFit asks that no content makes the comparison of versions panic, and that nothing of the native version is lost in it.
func FuzzFit(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":1}],"evictionResponders":[{}]}}`), uint8(0), uint8(2))
	f.Fuzz(func(t *testing.T, text []byte, minor, kind uint8) {
		var content map[string]any
		if json.Unmarshal(text, &content) != nil {
			return
		}
		releases := Releases()
		v, native := version(t, releases[int(minor)%len(releases)].Minor), version(t, "1.36")
		ks := native.Kinds()
		k := v.Kind(ks[int(kind)%len(ks)].GroupVersionKind)
		if k == nil {
			return
		}
		v.Newer(k, content, native)
		v.Duplicates(k, content)
		if fit := v.Fit(k, content, content, native); v.Minor == "1.36" {
			if again := v.Fit(k, fit, content, native); !reflect.DeepEqual(fit, again) {
				t.Errorf("fitting twice makes %v of %v", again, fit)
			}
		}
	})
}

func BenchmarkDuplicates(b *testing.B) {
	v := version(b, "1.36")
	content := decode(b, deployment)
	k := v.Kind(gvk("apps/v1", "Deployment"))
	for b.Loop() {
		if found := v.Duplicates(k, content); found != nil {
			b.Fatal(found)
		}
	}
}
