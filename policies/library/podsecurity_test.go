package library_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

// checksOf says which checks of the API server's own admission a policy speaks for.
var checksOf = map[string]psa.CheckID{
	"pod-security/baseline/apparmor":               "appArmorProfile",
	"pod-security/baseline/capabilities":           "capabilities_baseline",
	"pod-security/baseline/host-ipc":               "hostNamespaces",
	"pod-security/baseline/host-network":           "hostNamespaces",
	"pod-security/baseline/host-path":              "hostPathVolumes",
	"pod-security/baseline/host-pid":               "hostNamespaces",
	"pod-security/baseline/host-ports":             "hostPorts",
	"pod-security/baseline/host-probes":            "hostProbesAndHostLifecycle",
	"pod-security/baseline/host-process":           "windowsHostProcess",
	"pod-security/baseline/privileged":             "privileged",
	"pod-security/baseline/proc-mount":             "procMount",
	"pod-security/baseline/seccomp":                "seccompProfile_baseline",
	"pod-security/baseline/selinux":                "seLinuxOptions",
	"pod-security/baseline/sysctls":                "sysctls",
	"pod-security/restricted/capabilities":         "capabilities_restricted",
	"pod-security/restricted/privilege-escalation": "allowPrivilegeEscalation",
	"pod-security/restricted/proc-mount":           "procMount_restricted",
	"pod-security/restricted/run-as-non-root":      "runAsNonRoot",
	"pod-security/restricted/run-as-user":          "runAsUser",
	"pod-security/restricted/seccomp":              "seccompProfile_restricted",
	"pod-security/restricted/volumes":              "restrictedVolumes",
}

// oracle is the API server's own admission at a level and version.
type oracle struct {
	checks map[psa.CheckID]psa.CheckPodFn
}

func oracleOf(t testing.TB, level api.Level, version api.Version) oracle {
	t.Helper()
	o := oracle{checks: map[psa.CheckID]psa.CheckPodFn{}}
	overridden := map[psa.CheckID]bool{}
	for _, check := range psa.DefaultChecks() {
		if level == api.LevelBaseline && check.Level != api.LevelBaseline {
			continue
		}
		for _, v := range check.Versions {
			if !version.Older(v.MinimumVersion) {
				o.checks[check.ID] = v.CheckPod
				if level == api.LevelRestricted {
					for _, id := range v.OverrideCheckIDs {
						overridden[id] = true
					}
				}
			}
		}
	}
	for id := range overridden {
		delete(o.checks, id)
	}
	return o
}

// broken lists the checks that a Pod breaks.
func (o oracle) broken(pod *corev1.Pod) map[psa.CheckID]string {
	out := map[psa.CheckID]string{}
	for id, check := range o.checks {
		if r := check(&pod.ObjectMeta, &pod.Spec); !r.Allowed {
			out[id] = r.ForbiddenReason + ": " + r.ForbiddenDetail
		}
	}
	return out
}

// standard is one level and version, judged by both.
type standard struct {
	level    api.Level
	version  api.Version
	oracle   oracle
	engine   *policies.Engine
	official psa.Evaluator
}

func standardOf(t testing.TB, level api.Level, version api.Version) *standard {
	t.Helper()
	official, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &standard{level, version, oracleOf(t, level, version), engineOf(t, "pod-security/"+string(level), version.String()), official}
}

func contentOf(t testing.TB, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := yaml.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// compare judges a Pod by both and says where they differ: check by check, and as a whole.
func (s *standard) compare(t testing.TB, pod *corev1.Pod) (problems []string) {
	t.Helper()
	want := s.oracle.broken(pod)
	content := contentOf(t, pod)
	content["apiVersion"], content["kind"] = "v1", "Pod"
	found := broken(t, s.engine.Decide(t.Context(), creation(content, podResource)))
	got := map[psa.CheckID][]string{}
	for policy, texts := range found {
		id, ok := checksOf[policy]
		if !ok {
			t.Fatalf("%s speaks for no check", policy)
		}
		got[id] = append(got[id], texts...)
	}
	for id, why := range want {
		if len(got[id]) == 0 {
			problems = append(problems, fmt.Sprintf("%s %s: %s is broken (%s), nothing was found", s.level, s.version.String(), id, why))
		}
	}
	for id, texts := range got {
		if _, ok := want[id]; !ok {
			problems = append(problems, fmt.Sprintf("%s %s: %s is kept, found %q", s.level, s.version.String(), id, texts))
		}
	}
	if allowed := psa.AggregateCheckResults(s.official.EvaluatePod(api.LevelVersion{Level: s.level, Version: s.version}, &pod.ObjectMeta, &pod.Spec)).Allowed; allowed != (len(found) == 0) {
		problems = append(problems, fmt.Sprintf("%s %s: the API server allows it: %t, found %v", s.level, s.version.String(), allowed, found))
	}
	return problems
}

// fixtures are the Pods that the module of the API server's admission tests it with: below level/version/pass and fail.
func fixtures(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "test", "testdata")
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEveryFixtureOfTheAPIServerHasItsVerdict(t *testing.T) {
	t.Parallel()
	root := fixtures(t)
	versions := []api.Version{api.LatestVersion()}
	for minor := range 38 {
		versions = append(versions, api.MajorMinorVersion(1, minor))
	}
	for _, level := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
		for i, version := range versions {
			// Versions between which nothing changes are one in the short run.
			if changed := []int{-1, 0, 8, 18, 19, 22, 23, 25, 27, 29, 31, 32, 33, 34, 35, 37}; testing.Short() && !has(changed, i-1) {
				continue
			}
			t.Run(string(level)+" "+version.String(), func(t *testing.T) {
				t.Parallel()
				s := standardOf(t, level, version)
				folder := version.String()
				if _, err := os.Stat(filepath.Join(root, string(level), folder)); err != nil {
					folder = "v1.35" // the last version that changed anything
				}
				pods := 0
				err := filepath.WalkDir(filepath.Join(root, string(level), folder), func(name string, entry fs.DirEntry, err error) error {
					if err != nil || entry.IsDir() {
						return err
					}
					text, err := os.ReadFile(name)
					if err != nil {
						return err
					}
					pod := &corev1.Pod{}
					if err := yaml.UnmarshalStrict(text, pod); err != nil {
						return err
					}
					pods++
					for _, problem := range s.compare(t, pod) {
						t.Errorf("%s: %s", entry.Name(), problem)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if pods < 5 {
					t.Errorf("%d fixtures, expected many", pods)
				}
			})
		}
	}
}

func has(list []int, n int) bool {
	for _, v := range list {
		if v == n {
			return true
		}
	}
	return false
}

func TestEveryCheckOfTheAPIServerHasItsPolicy(t *testing.T) {
	t.Parallel()
	spoken := map[psa.CheckID]bool{}
	for _, id := range checksOf {
		spoken[id] = true
	}
	for _, check := range psa.DefaultChecks() {
		if !spoken[check.ID] {
			t.Errorf("no policy speaks for %s", check.ID)
		}
		delete(spoken, check.ID)
	}
	for id := range spoken {
		t.Errorf("the API server has no check %s", id)
	}
}

// The same Pod is judged in the same way when a workload would make it, and the finding points into the workload.
func TestTheTemplateOfAWorkloadIsJudgedAsItsPod(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		s := standardOf(t, api.LevelRestricted, api.LatestVersion())
		random := rand.New(rand.NewPCG(seed, 7))
		for range 100 {
			pod := randomPod(random)
			template := map[string]any{"metadata": contentOf(t, pod.ObjectMeta), "spec": contentOf(t, pod.Spec)}
			found := broken(t, s.engine.Decide(t.Context(), creation(map[string]any{
				"apiVersion": "batch/v1", "kind": "CronJob", "metadata": map[string]any{"name": "a", "namespace": "b"},
				"spec": map[string]any{"jobTemplate": map[string]any{"spec": map[string]any{"template": template}}},
			}, policies.Resource{Group: "batch", Version: "v1", Resource: "cronjobs"})))
			got := map[psa.CheckID]bool{}
			for policy, texts := range found {
				got[checksOf[policy]] = true
				for _, text := range texts {
					if !strings.HasPrefix(text, "spec.jobTemplate.spec.template.") {
						t.Errorf("%s: expected a path into the template: %s", policy, text)
					}
				}
			}
			want := s.oracle.broken(pod)
			for id := range want {
				if !got[id] {
					t.Errorf("%s: nothing was found", id)
				}
			}
			if len(got) != len(want) {
				t.Errorf("got %v, expected %v", got, want)
			}
		}
	}
}

// Random Pods are judged check by check as the API server does, at a random level and version.
func FuzzPodSecurity(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	known := map[string]*standard{}
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		level := []api.Level{api.LevelBaseline, api.LevelRestricted}[random.IntN(2)]
		version := api.MajorMinorVersion(1, random.IntN(38))
		key := string(level) + version.String()
		if known[key] == nil {
			known[key] = standardOf(t, level, version)
		}
		for range 20 {
			pod := randomPod(random)
			for _, problem := range known[key].compare(t, pod) {
				text, _ := json.Marshal(pod)
				t.Errorf("%s\n%s", problem, text)
			}
		}
	})
}
