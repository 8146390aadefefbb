package clitest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno"
	"gitgate.dev/gitgate/policies/kyverno/clitest"
)

func options() clitest.Options {
	fsys := os.DirFS("testdata")
	return clitest.Options{
		Read: func(file string) ([]byte, error) { return fs.ReadFile(fsys, file) },
		List: func(folder string) ([]string, error) {
			info, err := fs.Stat(fsys, folder)
			if err != nil || !info.IsDir() {
				return nil, err
			}
			entries, err := fs.ReadDir(fsys, folder)
			var files []string
			for _, e := range entries {
				files = append(files, path.Join(folder, e.Name()))
			}
			return files, err
		},
		Decode: func(file string, text []byte, resources bool) ([]*policies.Object, error) {
			objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
			var errs []error
			for _, p := range problems {
				if resources && p.Rule == manifest.RuleDuplicateKey {
					continue
				}
				errs = append(errs, policies.ErrorAt(p.Pos, errors.New(p.Message)))
			}
			return objects, errors.Join(errs...)
		},
		Resource: func(_ *policies.Set, gvk policies.GroupVersionKind) (policies.Resource, bool, bool) {
			return policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: strings.ToLower(gvk.Kind) + "s"}, gvk.Kind != "Namespace", true
		},
		Claims: func(policies.Document) bool { return false },
		Compile: func(context.Context, []policies.Document, kyverno.Trial) ([]*policies.Policy, error) {
			return nil, errors.New("no other kind is here")
		},
	}
}

var words = map[clitest.Outcome]string{clitest.Passed: "pass", clitest.Skipped: "skip", clitest.Failed: "FAIL", clitest.Errored: "ERROR"}

// run is what becomes of a test of testdata: each expectation in one line, without the file.
func run(t *testing.T, file string) []string {
	t.Helper()
	o := options()
	text, err := o.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	test := clitest.Document(o, file, text)
	if objects, err := o.Decode(file, text, false); test == nil && err == nil {
		test = objects[0]
	}
	if test == nil {
		t.Fatalf("%s is no test", file)
	}
	var out []string
	for _, r := range clitest.Run(context.Background(), o, file, test) {
		line := words[r.Outcome] + " " + strings.TrimPrefix(r.Name, file+":")
		for _, p := range r.Problems {
			line += fmt.Sprintf("; %s", strings.ReplaceAll(p.Error(), path.Dir(file)+"/", ""))
		}
		out = append(out, line)
	}
	return out
}

func TestRun(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file string
		want       []string
	}{
		{"every kind of result, and what is expected in vain", "results/kyverno-test.yaml", []string{
			"pass team/named/default/good",
			"pass team/named/default/bad",
			"pass team/named/shop/bad",
			"pass team/named/default/tmp-1",
			"pass team/named/free/web-1",
			"pass team/named/default/web",
			"pass team/autogen-named/default/web",
			"pass team/broken/default/good",
			"pass advice/named/default/bad",
			"pass shop/local/named/shop/bad",
			"pass shop/local/named/default/good; kyverno-test.yaml:16:4: nothing was judged: the policy does not match Pod default/good, which passes whatever is expected",
			"pass team/named/default/good",
			"pass team/named/shop/bad",
			"FAIL team/named/default/good; kyverno-test.yaml:20:4: expected fail for Pod default/good, got pass",
			"FAIL team/named/nobody; kyverno-test.yaml:21:4: resource nobody: expected it in the resources of the test, got none",
			"FAIL team/missing/default/good; kyverno-test.yaml:22:4: rule missing: expected it in policy team, got none",
			"FAIL missing/named/default/good; kyverno-test.yaml:23:4: policy missing: expected it in the policies of the test, got none",
		}},
		{"values, users, operations, subresources", "values/kyverno-test.yaml", []string{
			"pass mode/mode/shop/web", "pass mode/mode/default/db", "pass role/role/shop/web", "pass owners/owners/shop/web", "pass prod/prod/shop/web",
			"pass prod/prod/default/db; kyverno-test.yaml:14:4: nothing was judged: the policy does not match Pod default/db, which passes whatever is expected",
			"pass deletions/deletions/shop/web", "pass deletions/deletions/shop/web", "pass scale/scale/shop/web", "pass registry/registry/shop/web",
		}},
		{"what stands for the cluster and the network", "given/kyverno-test.yaml", []string{
			"pass calls/service/shop/web", "pass calls/list/shop/web", "pass calls/one/shop/web", "pass calls/broken/shop/web", "pass calls/configmap/shop/web", "pass calls/global/shop/web",
		}},
		{"what is no validation is skipped, and what needs the network could not run", "idle/kyverno-test.yaml", []string{
			"skip label/label; kyverno-test.yaml:8:4: patchedResources: not a validation; ignored, nothing was compared",
			"skip label/label/shop/web; kyverno-test.yaml:9:4: rule label: mutate is not a validation; ignored, nothing was compared",
			"skip label/autogen-label/shop/web; kyverno-test.yaml:10:4: rule autogen-label: mutate is not a validation; ignored, nothing was compared",
			"skip label/shop/web; kyverno-test.yaml:11:4: policy label has no validations; ignored, nothing was compared",
			"skip verify; kyverno-test.yaml:12:4: isImageValidatingPolicy: not a validation; ignored, nothing was compared",
			"skip cleanup; kyverno-test.yaml:13:4: DeletingPolicy cleanup: not a validation; ignored, nothing was compared",
			"skip payload/payload.json; kyverno-test.yaml:14:4: payload.json: a request to a service is not judged; nothing was compared",
			`ERROR needs/needs/shop/web; kyverno-test.yaml:15:4: expected fail for Pod shop/web, got error: deny conditions: variable {{ data.registry }}: Unknown key "data" in path (the test does not give the context entry data, and nobody else is asked for it)`,
		}},
		{"unknown fields and wrong types", "wrong/kyverno-test.yaml", []string{
			"ERROR wrong/kyverno-test.yaml; kyverno-test.yaml:8:31: results[0].resource is a list: expected a string; kyverno-test.yaml:8:63: unknown field results[0].wanted: " +
				"expected one of cloneSourceResource, failOnMissingResources, generatedResource, generatedResources, isDeletingPolicy, isGeneratingPolicy, isImageValidatingPolicy, " +
				"isMutatingAdmissionPolicy, isMutatingPolicy, isValidatingAdmissionPolicy, isValidatingPolicy, kind, namespace, operation, patchedResource, patchedResources, policy, " +
				"resource, resourceSpecs, resources, result, rule, status",
		}},
		{"a test of before, in a folder that is hidden", "hidden/.kyverno-test/kyverno-test.yaml", []string{"pass team/named/default/good"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := run(t, tc.file)
			if strings.Join(got, "\n") != strings.Join(tc.want, "\n") {
				t.Errorf("got\n\t%s\nexpected\n\t%s", strings.Join(got, "\n\t"), strings.Join(tc.want, "\n\t"))
			}
		})
	}
}

func TestWhatATestNamesAndIsNotThere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"a URL", "policies: ['https://example.com/a.yaml']", "a.yaml: the network is not asked in tests: expected a file beside the test"},
		{"a policy", "policies: [nothing.yaml]", "nothing.yaml: no such file or directory"},
		{"a file of resources, when one of them is looked for", "policies: [results/policy.yaml]\nresources: [nothing.yaml]\nresults: [{policy: team, rule: named, resources: [web], result: pass}]",
			"resource web: expected it in the resources of the test, got none; nothing.yaml: no such file"},
		{"checks", "checks: [a]", "checks is not supported: expected results"},
		{"results", "policies: [results/policy.yaml]", "expected results, got none"},
		{"a result", "policies: [results/policy.yaml]\nresults: [{policy: team, result: good}]", `result "good": expected pass, fail, skip, warn or error`},
		{"an operation", "policies: [results/policy.yaml]\nresults: [{policy: team, result: pass, operation: PATCH}]", `operation "PATCH": expected CREATE, UPDATE or DELETE`},
		{"a policy that does not compile", "policies: [wrong/policy.yaml]\nresources: [results/resources.yaml]\nresults: [{policy: team, rule: named, resources: [good], result: pass}]",
			"policy team could not be compiled: wrong/policy.yaml:7:5: rule named does nothing: expected validate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := options()
			objects, err := o.Decode("kyverno-test.yaml", []byte("apiVersion: cli.kyverno.io/v1alpha1\nkind: Test\nmetadata: {name: a}\n"+tc.text+"\n"), false)
			if err != nil {
				t.Fatal(err)
			}
			results := clitest.Run(context.Background(), o, "kyverno-test.yaml", objects[0])
			if len(results) != 1 || results[0].Outcome < clitest.Failed || !strings.Contains(fmt.Sprint(results[0].Problems), tc.want) {
				t.Errorf("got %v, expected %q", results, tc.want)
			}
		})
	}
}
