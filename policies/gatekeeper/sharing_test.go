package gatekeeper_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gen"
)

// podSecurity is the 20 templates of the benchmark with their constraints, a text each.
func podSecurity(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../../test/bench/policies/gatekeeper/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no templates", err)
	}
	var out []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text)+"\n---\n")
	}
	return out
}

// workloads are those among n generated manifests.
func workloads(t testing.TB, n int) []*policies.Object {
	t.Helper()
	var out []*policies.Object
	for m := range gen.Manifests(n) {
		if slices.Contains([]string{"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}, m.Kind) {
			objects, problems := manifest.Decode(m.Path, []byte(m.Text), manifest.DefaultLimits())
			if len(problems) > 0 {
				t.Fatalf("%+v", problems)
			}
			out = append(out, objects...)
		}
	}
	return out
}

func TestTemplatesFindTogetherWhatTheyFindAlone(t *testing.T) {
	texts := podSecurity(t)
	objects := append(workloads(t, 100), object(t, strings.Replace(pod, "containers: [{", "hostPID: true, volumes: [{name: h, hostPath: {path: /}}], containers: [{securityContext: {privileged: true, capabilities: {add: [a]}}, ", 1)))
	together := mustCompile(t, strings.Join(texts, ""))
	var alone [][]*policies.Policy
	for _, text := range texts {
		alone = append(alone, mustCompile(t, text))
	}
	for _, o := range objects {
		var want []string
		for _, ps := range alone {
			want = append(want, decide(t, ps, creation(policies.NewObject(o.Map(), o.Origin, nil, nil)))...)
		}
		got := decide(t, together, creation(policies.NewObject(o.Map(), o.Origin, nil, nil)))
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got: %q\nwant: %q", o, got, want)
		}
	}
}

func TestRulesThatLookAtParametersAreNotShared(t *testing.T) {
	for _, tc := range []struct{ name, rules string }{
		{"by name", "wanted = x { x := input.parameters.labels[0].key }"},
		{"by the whole input", `wanted = x { p := object.get(input, "parameters", {}); x := p.labels[0].key }`},
		{"by another rule", "wanted = x { x := all[0].key }\nall = input.parameters.labels"},
		{"by an argument", "wanted = x { x := of(input.parameters.labels) }\nof(l) = x { x := l[0].key }"},
		{"with other parameters", `wanted = x { x := other with input.parameters as {"labels": [{"key": input.parameters.labels[0].key}]} }` + "\nother = x { x := input.parameters.labels[0].key }"},
		{"by a variable", `wanted = x { f := "parameters"; x := input[f].labels[0].key }`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := template("package judged\nviolation[{\"msg\": msg}] { msg := wanted }\n" + tc.rules)
			var both strings.Builder
			both.WriteString(text + strings.ReplaceAll(text, "udged", "udgedtoo"))
			for i, kind := range []string{"Judged", "Judged", "Judgedtoo"} {
				both.WriteString(strings.NewReplacer("kind: Judged", "kind: "+kind, "name: one", fmt.Sprintf("name: c%d", i)).Replace(constraint(fmt.Sprintf("parameters: {labels: [{key: k%d}]}", i))))
			}
			same(t, decide(t, mustCompile(t, both.String()), creation(object(t, pod))), "deny: k0", "deny: k1", "deny: k2")
		})
	}
}

// BenchmarkPodSecurityTemplates judges generated workloads by the 20 templates of test/bench, each workload anew.
func BenchmarkPodSecurityTemplates(b *testing.B) {
	e, err := policies.New(mustCompile(b, strings.Join(podSecurity(b), "")), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	objects := workloads(b, 600)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		o := objects[i%len(objects)]
		i++
		fresh := policies.NewObject(o.Map(), o.Origin, nil, nil)
		if d := e.Decide(b.Context(), creation(fresh)); len(d.Results) != 20 {
			b.Fatal(d)
		}
	}
}

// A rule with two values has the first one in what was computed when a template fails: the next one is not to take it for the only one.
func TestWhatAFailedTemplateComputedIsNotTakenByTheNext(t *testing.T) {
	const rego = "package judged\nviolation[{\"msg\": \"three\"}] { x == 3 }\nx = 1 { input.review.kind }\nx = 2 { input.review.object }\n"
	text := template(rego) + constraint("")
	other := strings.ReplaceAll(strings.ReplaceAll(text, "Judged", "Other"), "{name: judged}", "{name: other}")
	e, err := policies.New(mustCompile(t, text+other), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := e.Decide(t.Context(), &policies.Change{
		Operation: policies.Create, Object: object(t, pod), Resource: policies.Resource{Version: "v1", Resource: "pods"}, Namespaced: true, Namespace: "shop",
		Knows: policies.KnowsOld,
	})
	if len(d.Results) != 2 {
		t.Fatalf("%d results", len(d.Results))
	}
	for _, r := range d.Results {
		if r.Outcome != policies.Failed {
			t.Errorf("%s %s, expected that it could not judge", r.Policy.Name, r.Outcome)
		}
	}
}
