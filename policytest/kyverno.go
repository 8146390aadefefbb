package policytest

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// kyvernoTest runs a test of the Kyverno CLI (cmd/cli/kyverno/apis/v1alpha1 of Kyverno). What it says that is not done here is a
// test that could not run.
func kyvernoTest(ctx context.Context, o *Options, file string, test *policies.Object) []Result {
	k := &kyverno{o: o, file: file, test: test}
	base := Result{Sort: "kyverno", Name: file, Pos: test.Locate(policies.Path{"kind"}, policies.AtValue), Outcome: Errored}
	for key := range test.Map() {
		if !slices.Contains([]string{"apiVersion", "kind", "metadata", "name", "policies", "resources", "exceptions", "results"}, key) {
			k.wrong(policies.Path{key}, fmt.Sprintf("%s: not supported yet in Kyverno CLI tests", key))
		}
	}
	k.policies = k.objects("policies")
	k.policies = append(k.policies, k.objects("exceptions")...)
	for _, name := range k.strings(policies.Path{"resources"}) {
		k.resources = append(k.resources, path.Join(path.Dir(file), name))
	}
	results, _ := test.Map()["results"].([]any)
	if len(results) == 0 {
		k.wrong(policies.Path{"kind"}, "expected results, got none")
	}
	if base.Problems = k.problems; len(base.Problems) > 0 {
		return []Result{base}
	}
	var out []Result
	for i := range results {
		out = append(out, k.result(ctx, i)...)
	}
	return out
}

type kyverno struct {
	o         *Options
	file      string
	test      *policies.Object
	policies  []*policies.Object
	resources []string
	problems  []Problem
}

func (k *kyverno) wrong(at policies.Path, message string) {
	k.problems = append(k.problems, Problem{k.test.Locate(at, policies.AtKey), message})
}

func (k *kyverno) strings(at policies.Path) (out []string) {
	v, ok := policies.Lookup(k.test.Map(), at)
	if !ok {
		return nil
	}
	items, ok := v.([]any)
	if !ok {
		k.wrong(at, fmt.Sprintf("%s: expected a list", at))
	}
	for i, item := range items {
		if s, ok := item.(string); ok {
			out = append(out, s)
		} else {
			k.wrong(at.Append(i), fmt.Sprintf("%s: expected a string", at.Append(i)))
		}
	}
	return out
}

// objects reads the documents of the files that a list of the test names.
func (k *kyverno) objects(key string) (out []*policies.Object) {
	for i, name := range k.strings(policies.Path{key}) {
		file := path.Join(path.Dir(k.file), name)
		text, err := read(file)
		if err != nil {
			k.wrong(policies.Path{key, i}, err.Error())
			continue
		}
		objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
		for _, p := range problems {
			k.problems = append(k.problems, Problem{p.Pos, p.Message})
		}
		out = append(out, objects...)
	}
	return out
}

// narrowed is the documents with the policy of that name reduced to one rule; "" for all. found says whether it has the rule.
func (k *kyverno) narrowed(policy, rule string) (docs []policies.Document, scored, found bool) {
	scored = true
	for _, o := range k.policies {
		if o.Kind.Kind == "PolicyException" {
			docs = append(docs, policies.Document{File: o.Origin.File, Object: o})
			continue
		}
		if o.Name != policy && o.Namespace+"/"+o.Name != policy {
			continue
		}
		m, _ := copyOf(o.Map()).(map[string]any)
		if v, ok := policies.Lookup(m, policies.Path{"metadata", "annotations", "policies.kyverno.io/scored"}); ok && v == "false" {
			scored = false
		}
		if spec, ok := m["spec"].(map[string]any); ok && rule != "" {
			rules, _ := spec["rules"].([]any)
			rules = slices.DeleteFunc(rules, func(r any) bool {
				one, _ := r.(map[string]any)
				return one["name"] != rule
			})
			if len(rules) == 0 {
				continue
			}
			spec["rules"] = rules
		}
		found = true
		docs = append(docs, policies.Document{File: o.Origin.File, Object: policies.NewObject(m, o.Origin, nil, nil)})
	}
	return docs, scored, found
}

func copyOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = copyOf(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = copyOf(item)
		}
		return out
	}
	return v
}

var kyvernoFields = []string{"policy", "rule", "resource", "resources", "kind", "namespace", "result", "status"}

// ignoredFields are about what gitgate does not do: nothing is compared with them.
var ignoredFields = []string{"patchedResource", "patchedResources", "generatedResource", "cloneSourceResource"}

// result runs entry i of results: one test for each of its resources.
func (k *kyverno) result(ctx context.Context, i int) (out []Result) {
	at := policies.Path{"results", i}
	entry, _ := policies.Lookup(k.test.Map(), at)
	m, _ := entry.(map[string]any)
	text := func(key string) string { s, _ := m[key].(string); return s }
	pos := k.test.Locate(at.Append("policy"), policies.AtKey)
	rule := strings.TrimPrefix(strings.TrimPrefix(text("rule"), "autogen-"), "cronjob-")
	if !strings.HasPrefix(text("rule"), "autogen-") {
		rule = text("rule")
	}
	name := k.file + ":" + text("policy") + "/" + text("rule")
	one := func(resource string, outcome Outcome, message string) Result {
		r := Result{Sort: "kyverno", Name: strings.TrimSuffix(name+"/"+resource, "/"), Pos: pos, Outcome: outcome}
		if message != "" {
			r.Problems = []Problem{{pos, message}}
		}
		return r
	}
	for key := range m {
		switch {
		case slices.Contains(ignoredFields, key):
			return []Result{one("", Skipped, key+": ignored, for gitgate does not mutate or generate; nothing was compared")}
		case !slices.Contains(kyvernoFields, key):
			return []Result{one("", Errored, key+": not supported yet in results of Kyverno CLI tests")}
		}
	}
	expected := text("result")
	if expected == "" {
		expected = text("status")
	}
	if !slices.Contains([]string{"pass", "fail", "skip", "warn", "error"}, expected) {
		return []Result{one("", Errored, fmt.Sprintf("result %q: expected pass, fail, skip, warn or error", expected))}
	}
	resources := k.strings(at.Append("resources"))
	if text("resource") != "" {
		resources = append(resources, text("resource"))
	}
	docs, scored, found := k.narrowed(text("policy"), rule)
	if !found {
		return []Result{one("", Errored, fmt.Sprintf("policy %s with the rule %s: expected it in the policies of the test, got none", text("policy"), text("rule")))}
	}
	decisions, err := k.o.Decide(ctx, docs, k.resources)
	if err != nil {
		r := one("", Errored, "")
		r.Problems = problemsOf(k.file, err)
		return []Result{r}
	}
	if len(resources) == 0 {
		return []Result{one("", Errored, "results without resources: not supported yet, expected resources")}
	}
	for _, resource := range resources {
		namespace, short := text("namespace"), resource
		if a, b, ok := strings.Cut(resource, "/"); ok {
			namespace, short = a, b
		}
		met := 0
		for _, d := range decisions {
			s := d.Subject
			if s.Name != short || text("kind") != "" && s.Kind.Kind != text("kind") || namespace != "" && s.Namespace != namespace && !(s.Namespace == "" && namespace == "default") {
				continue
			}
			met++
			got, why := kyvernoAnswer(&d, scored)
			switch {
			case got == expected:
				out = append(out, one(resource, Passed, ""))
			case got == "":
				out = append(out, one(resource, Errored, fmt.Sprintf("expected %s for %s, it could not be judged: %s", expected, s.Text, why)))
			default:
				out = append(out, one(resource, Failed, strings.TrimSuffix(fmt.Sprintf("expected %s for %s, got %s: %s", expected, s.Text, got, why), ": ")))
			}
		}
		if met == 0 {
			out = append(out, one(resource, Errored, fmt.Sprintf("resource %s: expected it in the resources of the test, got none", resource)))
		}
	}
	return out
}

// kyvernoAnswer is a decision in the words of Kyverno's reports; "" when the answer hangs on what is not known here.
func kyvernoAnswer(d *policies.Decision, scored bool) (answer, why string) {
	answer = "skip"
	for i := range d.Results {
		r := &d.Results[i]
		if r.Policy.Kind == "manifest" {
			return "", "the resource is malformed or doubled"
		}
		switch r.Outcome {
		case policies.Violated:
			if !scored {
				return "warn", r.Finding.Violations[0].Message
			}
			return "fail", r.Finding.Violations[0].Message
		case policies.Failed:
			return "error", r.Err.Error()
		case policies.Deferred:
			return "", "it needs " + r.Missing
		case policies.Passed:
			answer = "pass"
		}
	}
	return answer, ""
}
