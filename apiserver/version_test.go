package apiserver

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/apiserver/openapi"
	"gitgate.dev/gitgate/policies"
)

func TestEveryVersionServesTheKindsThatItsDiscoverySays(t *testing.T) {
	t.Parallel()
	for _, minor := range Versions() {
		r, err := New(minor)
		if err != nil {
			t.Fatal(err)
		}
		form, err := openapi.Of(minor)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range form.Kinds() {
			res, namespaced, known := r.Resource(nil, k.GroupVersionKind)
			if !known || res.Resource != k.Plural || namespaced != k.Namespaced {
				t.Errorf("%s: %v is sent to %q, namespaced %v, known %v; discovery says %q, %v", minor, k.GroupVersionKind, res.Resource, namespaced, known, k.Plural, k.Namespaced)
			}
		}
		for gvk := range builtins() {
			if r.builtin(gvk) != nil && form.Kind(gvk) == nil {
				t.Errorf("%s: %v is judged, and discovery does not have it", minor, gvk)
			}
		}
	}
}

func TestAnotherVersionOfKubernetesJudgesByItsOwnForm(t *testing.T) {
	t.Parallel()
	const pod = `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: a}], `
	for _, c := range []struct {
		name, version, object string
		want, warnings        []string
	}{
		{name: "a field that came later is refused", version: "1.34", object: pod + `schedulingGroup: {podGroupName: g}}}`,
			want: []string{`spec.schedulingGroup [unknown-field] field spec.schedulingGroup of v1 Pod is not in Kubernetes 1.34, only since 1.36`}},
		{name: "a value that came later is refused", version: "1.34", object: pod + `tolerations: [{key: a, operator: Gt, value: "1", effect: NoSchedule}]}}`,
			want: []string{`spec.tolerations[0].operator`}},
		{name: "a field that is newer than the native code is taken, with a warning", version: "1.37", object: pod + `evictionResponders: [{name: a.example.com/b, priority: 1}]}}`,
			warnings: []string{`spec.evictionResponders [not-judged] field spec.evictionResponders is newer than Kubernetes 1.36, whose rules gitgate has: only its type was judged`}},
		{name: "a newer field of the wrong type is refused", version: "1.37", object: pod + `evictionResponders: x}}`,
			want:     []string{`spec.evictionResponders [type] field spec.evictionResponders is a string, expected a list`},
			warnings: []string{`spec.evictionResponders [not-judged] field spec.evictionResponders is newer than Kubernetes 1.36, whose rules gitgate has: only its type was judged`}},
		{name: "a newer value of an enum is taken", version: "1.37", object: `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}, updateStrategy: {type: Recreate}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}`,
			warnings: []string{`spec.updateStrategy.type [not-judged] the value of spec.updateStrategy.type is newer than Kubernetes 1.36, whose rules gitgate has: what depends on it was not judged`}},
		{name: "the native code still judges the rest", version: "1.35", object: pod + `restartPolicy: Sometimes}}`,
			want: []string{`spec.restartPolicy`}},
		{name: "a kind that only a newer version has is judged by its form", version: "1.37", object: `{apiVersion: storagemigration.k8s.io/v1, kind: StorageVersionMigration, metadata: {name: a}, spec: {resource: {group: apps}, more: 1}}`,
			want: []string{
				`spec.more [unknown-field] field spec.more is unknown to storagemigration.k8s.io/v1 StorageVersionMigration`,
				`spec.resource.resource [required] field spec.resource.resource is missing, expected a string`},
			warnings: []string{`kind [not-judged] storagemigration.k8s.io/v1 StorageVersionMigration is newer than Kubernetes 1.36, whose rules gitgate has: only its fields and their types were judged`}},
		{name: "a kind that only a newer version has needs a name", version: "1.37", object: `{apiVersion: storagemigration.k8s.io/v1, kind: StorageVersionMigration, metadata: {name: A_b}, spec: {resource: {group: apps, resource: deployments}}}`,
			want:     []string{`metadata.name`},
			warnings: []string{`kind [not-judged] storagemigration.k8s.io/v1 StorageVersionMigration is newer than Kubernetes 1.36, whose rules gitgate has: only its fields and their types were judged`}},
		{name: "a kind that comes later is refused", version: "1.36", object: `{apiVersion: storagemigration.k8s.io/v1, kind: StorageVersionMigration, metadata: {name: a}, spec: {}}`,
			want: []string{`apiVersion [not-served] storagemigration.k8s.io/v1 StorageVersionMigration is served from Kubernetes 1.37 on, not by 1.36 (use storagemigration.k8s.io/v1beta1)`}},
		{name: "a kind that went is refused", version: "1.37", object: `{apiVersion: networking.k8s.io/v1beta1, kind: ServiceCIDR, metadata: {name: a}, spec: {cidrs: [10.0.0.0/8]}}`,
			want: []string{`apiVersion`}},
		{name: "a kind that no version has, in a group of Kubernetes, is refused, and guessed", version: "1.36", object: `{apiVersion: apps/v1, kind: Deploymnt, metadata: {name: a}}`,
			want: []string{`kind [not-served] Kubernetes 1.36 has no kind Deploymnt in apps/v1 (did you mean apps/v1 Deployment?)`}},
		{name: "a kind in a version that its group never had is refused", version: "1.36", object: `{apiVersion: apps/v2, kind: Deployment, metadata: {name: a}}`,
			want: []string{`apiVersion [not-served] Kubernetes 1.36 does not serve Deployment in apps/v2 (use apps/v1)`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := New(c.version)
			if err != nil {
				t.Fatal(err)
			}
			a := r.Admit(nil, parse(t, c.object), nil)
			if !a.Known || a.Err != nil {
				t.Fatalf("known %v, error %v", a.Known, a.Err)
			}
			match(t, "violations", a.Violations, c.want)
			var warnings []policies.Violation
			for _, w := range a.Warnings {
				if w.Rule == ruleNotJudged {
					warnings = append(warnings, w)
				}
			}
			match(t, "warnings", warnings, c.warnings)
		})
	}
}

// match compares violations with lines as said writes them; a line of a path alone stands for any violation there.
func match(t *testing.T, what string, got []policies.Violation, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = slices.ContainsFunc(got, func(v policies.Violation) bool {
			return want[i] == v.Path.String() || want[i] == said([]policies.Violation{v})
		})
	}
	if !ok {
		t.Errorf("%s are\n%s\nexpected\n%q", what, said(got), want)
	}
}

func TestTheStoredFormIsOfTheChosenVersion(t *testing.T) {
	t.Parallel()
	o := parse(t, `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {evictionResponders: [{name: a}], containers: [{name: a, image: a}]}}`)
	for _, c := range []struct {
		version string
		has     bool
	}{{"1.36", false}, {"1.37", true}, {"1.34", false}} {
		r, err := New(c.version)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := r.Stored(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		got, has := policies.Lookup(stored, policies.Path{"spec", "evictionResponders"})
		if want, _ := policies.Lookup(o.Map(), policies.Path{"spec", "evictionResponders"}); has != c.has || has && !reflect.DeepEqual(got, want) {
			t.Errorf("%s stores evictionResponders as %v, %v", c.version, got, has)
		}
		if policy, _ := policies.Lookup(stored, policies.Path{"spec", "restartPolicy"}); policy != "Always" {
			t.Errorf("%s stores restartPolicy as %v", c.version, policy)
		}
	}
}

func TestAFieldWhoseFeatureIsOnLaterIsStoredAsThere(t *testing.T) {
	t.Parallel()
	set := `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}, updateStrategy: STRATEGY, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}`
	driver := `{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: a.example.com}, spec: SPEC}`
	unavailable := policies.Path{"spec", "updateStrategy", "rollingUpdate", "maxUnavailable"}
	prevent := policies.Path{"spec", "preventPodSchedulingIfMissing"}
	for _, tc := range []struct {
		name, object, version string
		path                  policies.Path
		want                  any // nil: it is not stored
	}{
		{"a StatefulSet that does not say how many may be unavailable", strings.Replace(set, "STRATEGY", "{}", 1), "1.37", unavailable, int64(1)},
		{"the same before", strings.Replace(set, "STRATEGY", "{}", 1), "1.36", unavailable, nil},
		{"one that says it", strings.Replace(set, "STRATEGY", "{rollingUpdate: {maxUnavailable: 30%}}", 1), "1.37", unavailable, "30%"},
		{"the same before", strings.Replace(set, "STRATEGY", "{rollingUpdate: {maxUnavailable: 30%}}", 1), "1.36", unavailable, nil},
		{"one that says null", strings.Replace(set, "STRATEGY", "{rollingUpdate: {maxUnavailable: null}}", 1), "1.37", unavailable, int64(1)},
		{"one that is not updated by itself", strings.Replace(set, "STRATEGY", "{type: OnDelete}", 1), "1.37", unavailable, nil},
		{"one that names its strategy alone", strings.Replace(set, "STRATEGY", "{type: RollingUpdate}", 1), "1.37", unavailable, nil},
		{"a CSIDriver", strings.Replace(driver, "SPEC", "{}", 1), "1.37", prevent, false},
		{"a CSIDriver that says true", strings.Replace(driver, "SPEC", "{preventPodSchedulingIfMissing: true}", 1), "1.37", prevent, true},
	} {
		r, err := New(tc.version)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := r.Stored(nil, parse(t, tc.object))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if got, _ := policies.Lookup(stored, tc.path); got != tc.want {
			t.Errorf("%s, %s: stored as %v, want %v", tc.name, tc.version, got, tc.want)
		}
	}
}

func TestDuplicatesAreWhatServerSideApplyRefusesBesides(t *testing.T) {
	t.Parallel()
	o := parse(t, `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: a, env: [{name: A}, {name: A}]}, {name: a, image: a}]}}`)
	r := rules(t)
	a := r.Admit(nil, o, nil)
	match(t, "violations", a.Violations, []string{`spec.containers[1].name`})
	match(t, "duplicates", r.Duplicates(o, a), []string{`spec.containers[0].env[1].name [duplicate] spec.containers[0].env[1].name is a duplicate, server-side apply refuses the list: "A" is also item 0`})
}
