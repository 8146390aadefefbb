package library_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/library"
)

var controlPattern = regexp.MustCompile(`^(CIS Kubernetes 1\.10 5\.[1-7]\.[0-9]{1,2}|NIST SP 800-53 r5 [A-Z]{2}-[0-9]{1,2}|ISO/IEC 27001:2022 A\.[5-8]\.[0-9]{1,2})$`)

// everything is all policies of the library, by name.
func everything(t testing.TB) map[string]*policies.Policy {
	t.Helper()
	out := map[string]*policies.Policy{}
	for _, family := range library.Families() {
		for _, p := range compiled(t, family, library.Latest) {
			out[p.Name] = p
		}
	}
	return out
}

func TestEveryPolicySaysWhatAPersonNeedsToKnow(t *testing.T) {
	t.Parallel()
	all := everything(t)
	for _, name := range library.Policies() {
		p := all[name]
		if p == nil {
			t.Errorf("%s: no compiled policy has the name of its folder", name)
			continue
		}
		if !slices.Contains([]policies.Severity{policies.Info, policies.Low, policies.Medium, policies.High, policies.Critical}, p.Severity) {
			t.Errorf("%s: severity is %q", name, p.Severity)
		}
		title, more, _ := strings.Cut(p.Doc, ". ")
		if len(title) < 10 || len(title) > 80 || len(more) < 30 || !strings.HasSuffix(more, ".") {
			t.Errorf("%s: expected a short title and at least a sentence on why, got %q", name, p.Doc)
		}
		if p.URL != "https://gitgate.dev/docs/library#"+strings.ReplaceAll(name, "/", "-") || p.Kind != "library" || p.Origin.File != library.FileOf(name) {
			t.Errorf("%s: URL, kind or origin is not the library's: %s, %s, %s", name, p.URL, p.Kind, p.Origin.File)
		}
		for _, catalogue := range []string{"NIST", "ISO"} {
			if !slices.ContainsFunc(p.Controls, func(c string) bool { return strings.HasPrefix(c, catalogue) }) {
				t.Errorf("%s: no control of %s", name, catalogue)
			}
		}
		for _, c := range p.Controls {
			if !controlPattern.MatchString(c) {
				t.Errorf("%s: control %q is none that is known", name, c)
			}
		}
		delete(all, name)
	}
	for name := range all {
		t.Errorf("%s has no folder", name)
	}
}

// Every rule is shown to find something, and every policy to let something pass; gitgate policy test runs these in cmd/gitgate.
func TestEveryPolicyHasFixturesForEachOfItsRules(t *testing.T) {
	t.Parallel()
	rule := regexp.MustCompile(`(?ms)^deny contains \{\n.*?^\}`)
	message := regexp.MustCompile(`"msg": (?:sprintf\()?"((?:[^"\\]|\\.)*)"`)
	for _, name := range library.Policies() {
		text, err := os.ReadFile(filepath.Join(name, "policy.rego"))
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := filepath.Glob(filepath.Join(name, "ok", "*")); err != nil || len(ok) == 0 {
			t.Errorf("%s: nothing in ok", name)
		}
		wants := ""
		for _, pattern := range []string{"bad/*.yaml", "bad/*/*.yaml", "v1.*/bad/*.yaml"} { // alone, together, of an older version
			bad, err := filepath.Glob(filepath.Join(name, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range bad {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				wants += string(content)
			}
		}
		rules := rule.FindAllString(string(text), -1)
		if len(rules) == 0 {
			t.Errorf("%s: no rule", name)
		}
		for _, r := range rules {
			m := message.FindStringSubmatch(r)
			if m == nil {
				t.Errorf("%s: a rule without a message:\n%s", name, r)
				continue
			}
			if !strings.Contains(r, `"fix": `) {
				t.Errorf("%s: a rule without a fix:\n%s", name, r)
			}
			// What the message says is wrong, but for the values in it, has to be wanted.
			wrong, _, _ := strings.Cut(m[1], ", expected")
			parts := regexp.MustCompile(`%[a-z]`).Split(wrong, -1)
			longest := strings.TrimSpace(slices.MaxFunc(parts, func(a, b string) int { return len(a) - len(b) }))
			if !strings.Contains(wants, longest) {
				t.Errorf("%s: no fixture wants %q", name, longest)
			}
		}
	}
}

func TestNamesStandForWhatTheySay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, version string
		has, lacks    []string
	}{
		{"pod-security/baseline", "latest", []string{"pod-security/baseline/host-path"}, []string{"pod-security/restricted/volumes"}},
		{"pod-security/restricted", "latest", []string{"pod-security/restricted/volumes", "pod-security/baseline/privileged"}, []string{"pod-security/baseline/host-path", "pod-security/baseline/proc-mount"}},
		{"pod-security/restricted", "v1.18", []string{"pod-security/baseline/seccomp", "pod-security/baseline/capabilities", "pod-security/baseline/proc-mount"}, []string{"pod-security/baseline/host-path"}},
		{"pod-security", "1.36", []string{"pod-security/restricted/volumes", "pod-security/baseline/host-path"}, nil},
		{"pod-security/baseline/privileged", "1.36", []string{"pod-security/baseline/privileged"}, []string{"pod-security/baseline/host-path"}},
	} {
		got, err := library.Library{}.Policies(c.name, c.version)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, name := range c.has {
			if !slices.Contains(got, name) {
				t.Errorf("%s at %s lacks %s", c.name, c.version, name)
			}
		}
		for _, name := range c.lacks {
			if slices.Contains(got, name) {
				t.Errorf("%s at %s has %s", c.name, c.version, name)
			}
		}
	}
	for _, c := range [][2]string{{"pod", "latest"}, {"pod-security/", "latest"}, {"", "latest"}, {"lib", "latest"}, {"pod-security", "2.0"}, {"pod-security", "1.036"}} {
		if got, err := (library.Library{}).Policies(c[0], c[1]); err == nil {
			t.Errorf("%q at %q stands for %v, expected an error", c[0], c[1], got)
		}
	}
}

func TestAPodThatWasThereBeforeCanStillBeLabelled(t *testing.T) {
	t.Parallel()
	pod := func(image string, label string, debug ...string) *policies.Object {
		spec := map[string]any{"hostNetwork": true, "containers": []any{map[string]any{"name": "a", "image": image}}}
		for _, image := range debug {
			spec["ephemeralContainers"] = append([]any{}, map[string]any{"name": "debug", "image": image})
		}
		return policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "a", "namespace": "b", "labels": map[string]any{"l": label}}, "spec": spec},
			policies.Origin{}, nil, nil)
	}
	e := engineOf(t, "pod-security/baseline", library.Latest)
	for _, c := range []struct {
		name        string
		before, now *policies.Object
		subresource string
		want        policies.Verdict
	}{
		{"a label", pod("x:1", "a"), pod("x:1", "b"), "", policies.Allow},
		{"an image", pod("x:1", "a"), pod("x:2", "a"), "", policies.Denied},
		{"a container for debugging", pod("x:1", "a"), pod("x:1", "a", "sh"), "ephemeralcontainers", policies.Denied},
		{"the same container for debugging", pod("x:1", "a", "sh"), pod("x:1", "b", "sh"), "", policies.Allow},
	} {
		d := e.Decide(t.Context(), &policies.Change{
			Operation: policies.Update, Resource: policies.Resource{Version: "v1", Resource: "pods", Subresource: c.subresource}, Namespaced: true,
			Object: c.now, Old: c.before, Namespace: "b", Knows: policies.KnowsOld,
		})
		if d.Verdict() != c.want {
			t.Errorf("%s: got %s, expected %s", c.name, d.Verdict(), c.want)
		}
	}
}
