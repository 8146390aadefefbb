package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/gitserver"
)

const fleetConfig = `apiVersion: gitgate.dev/v1alpha1
kind: Gate
sources: [{name: fleet, url: "https://git.example.com/platform/fleet.git", branch: main, path: clusters/prod}]
reconcilers: [{flux: {namespace: flux-system}}]
policies: [{path: policies}]
`

const fleetFlux = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 1m, url: "https://git.example.com/platform/fleet.git", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {interval: 10m, path: apps/prod, prune: true, targetNamespace: shop, sourceRef: {kind: GitRepository, name: flux-system}}
`

const fleetWeb = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: registry.example.com/web:1.0
`

// fleetPolicies refuse many replicas, untagged images, a change of selectors, and the deletion of Services.
const fleetPolicies = `package main

import rego.v1

deny contains "at most 5 replicas" if {
	input.kind == "Deployment"
	input.spec.replicas > 5
}

deny contains sprintf("image %s is not of version 2", [c.image]) if {
	input.kind == "Deployment"
	some c in input.spec.template.spec.containers
	not startswith(c.image, "registry.example.com/web:2")
}
`

const fleetKeep = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: keep-services}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [services], operations: [DELETE]}]}
  validations: [{expression: "request.userInfo.username != 'system:serviceaccount:flux-system:kustomize-controller'", message: services stay}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: keep-services}
spec: {policyName: keep-services, validationActions: [Deny]}
`

func newFluxFleet(t *testing.T) *gitserver.Repo {
	t.Helper()
	r := gitserver.NewRepo(t)
	r.Commit("the fleet", map[string]string{
		"gitgate.yaml": fleetConfig, "policies/replicas.rego": fleetPolicies, "policies/keep.yaml": fleetKeep,
		"clusters/prod/flux.yaml":      fleetFlux,
		"apps/base/deployment.yaml":    fleetWeb,
		"apps/base/service.yaml":       "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
		"apps/base/secret.yaml":        "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {token: hunter2}\n",
		"apps/base/kustomization.yaml": "resources: [deployment.yaml, service.yaml, secret.yaml]\n",
		"apps/prod/kustomization.yaml": "resources: [../base]\npatches: [{path: replicas.yaml}]\n",
		"apps/prod/replicas.yaml":      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 3\n",
	})
	return r
}

func runIn(t *testing.T, dir, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	p := &program{stdin: strings.NewReader(stdin), stdout: &out, stderr: &said, env: func(string) string { return "" }, dir: dir}
	code = p.run(t.Context(), args)
	return code, out.String(), said.String()
}

func wantAll(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said", want)
		}
	}
	if t.Failed() {
		t.Logf("said:\n%s", text)
	}
}

func TestAPullRequestIsJudgedByWhatItsMergeWouldSend(t *testing.T) {
	r := newFluxFleet(t)
	r.Git("checkout", "-q", "-b", "topic")
	r.Commit("many replicas, another token, no service", map[string]string{
		"apps/prod/replicas.yaml":      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 9\n",
		"apps/base/secret.yaml":        "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {token: hunter3}\n",
		"apps/base/kustomization.yaml": "resources: [deployment.yaml, secret.yaml]\n",
	})

	code, out, said := runIn(t, r.Dir, "", "check", "--base", "main")
	if code != 1 {
		t.Errorf("check: exit code %d", code)
	}
	wantAll(t, out+said,
		"apps/prod/replicas.yaml:5:13: at most 5 replicas",
		"(there before)", "image registry.example.com/web:1.0 is not of version 2",
		"services stay",
		"checked 3 objects")
	if strings.Contains(out+said, "hunter") {
		t.Errorf("a secret is told:\n%s%s", out, said)
	}

	code, out, said = runIn(t, r.Dir, "", "check", "--base", "main", "--only-new", "-o", "json")
	if code != 1 || strings.Contains(out, "not of version 2") || !strings.Contains(out, "at most 5 replicas") {
		t.Errorf("only what is new: exit code %d\n%s%s", code, out, said)
	}

	code, out, said = runIn(t, filepath.Join(r.Dir, "apps"), "", "diff", "--base", "main")
	if code != 0 {
		t.Errorf("diff: exit code %d", code)
	}
	wantAll(t, out+said,
		"~ Deployment shop/web  (Kustomization flux-system/apps)",
		"    spec.replicas: 3 -> 9  apps/prod/replicas.yaml:5",
		"    data.token: (not shown) -> (not shown)",
		"- Service shop/web  (Kustomization flux-system/apps)",
		"0 to create, 2 to update, 1 to delete, 0 no longer declared that stay")
	if strings.Contains(out+said, "hunter") || strings.Contains(out, "aHVudGVy") {
		t.Errorf("a secret is told:\n%s%s", out, said)
	}

	code, out, _ = runIn(t, r.Dir, "", "diff", "--base", "main", "-o", "json")
	var plan diffOutput
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != 0 || len(plan.Changes) != 3 {
		t.Errorf("diff -o json: exit code %d, %v:\n%s", code, err, out)
	} else if c := plan.Changes[len(plan.Changes)-1]; c.Action != "delete" || c.By != "system:serviceaccount:flux-system:kustomize-controller" {
		t.Errorf("the last change is %+v", c)
	}
}

func TestAMergeThatSendsNothingPasses(t *testing.T) {
	r := newFluxFleet(t)
	r.Git("checkout", "-q", "-b", "topic")
	r.Commit("a comment", map[string]string{"apps/base/deployment.yaml": "# the web shop\n" + fleetWeb, "README.md": "words\n"})
	if code, out, said := runIn(t, r.Dir, "", "check", "--base", "main"); code != 0 || out != "" {
		t.Errorf("exit code %d\n%s%s", code, out, said)
	}
}

// A pull request brings what the policies refuse, and policies that let it pass.
func TestAChangeCannotLetItselfPass(t *testing.T) {
	const many = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 9\n"
	const few = "at most 5 replicas"
	const old = few + " (by the policies before the change)"
	const told = "gitgate: the change has other policies than --base: those of --base judge it too"
	config := func(from, to string) map[string]string {
		if !strings.Contains(fleetConfig, from) {
			t.Fatalf("no %s in the configuration", from)
		}
		return map[string]string{"gitgate.yaml": strings.Replace(fleetConfig, from, to, 1)}
	}
	for _, tc := range []struct {
		name        string
		files       map[string]string
		flags       []string
		code        int
		want, never string
	}{
		{"nothing else", nil, nil, 1, few, "by the policies before"},
		{"a looser policy", map[string]string{"policies/replicas.rego": strings.Replace(fleetPolicies, "> 5", "> 50", 1)}, nil, 1, old, ""},
		{"a looser policy, by itself", map[string]string{"policies/replicas.rego": strings.Replace(fleetPolicies, "> 5", "> 50", 1)}, []string{"--policies", "head"}, 0, "", few},
		{"a looser policy, by the one before", map[string]string{"policies/replicas.rego": strings.Replace(fleetPolicies, "> 5", "> 50", 1)}, []string{"--policies", "base"}, 1, few, "by the policies before"},
		{"a policy that goes", map[string]string{"policies/replicas.rego": ""}, nil, 1, old, ""},
		{"an exemption", config("policies:", "exempt: [{policies: [main], reason: because}]\npolicies:"), nil, 1, old, ""},
		{"a weaker action", config("{path: policies}", "{path: policies, action: audit}"), nil, 1, old, ""},
		{"a mode", config("policies:", "modes: [{policies: [main], action: warn}]\npolicies:"), nil, 1, old, ""},
		{"no policies", config("policies: [{path: policies}]\n", ""), nil, 1, old, ""},
		{"another folder", config("path: clusters/prod", "path: clusters/none"), nil, 1, old, ""},
		{"a stricter policy", map[string]string{"policies/replicas.rego": strings.Replace(fleetPolicies, "> 5", "> 4", 1)}, nil, 1, few, "by the policies before"},
		{"a policy that asks the network", config("policies:", "rego: {allowBuiltins: [http.send]}\npolicies:"), nil, 2, "the change lets policies use http.send, which they may not before it: they are not run", few},
		{"a policy that reads the environment", config("policies:", "rego: {allowBuiltins: [opa.runtime]}\npolicies:"), nil, 2, "use opa.runtime", few},
		{"one that asks the network, by those before", config("policies:", "rego: {allowBuiltins: [http.send]}\npolicies:"), []string{"--policies", "base"}, 1, few, "by the policies before"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newFluxFleet(t)
			files := map[string]string{"apps/prod/replicas.yaml": many, "clusters/none/README.md": "nothing\n"}
			for name, text := range tc.files {
				if files[name] = text; text == "" {
					r.Git("rm", "-q", name)
					delete(files, name)
				}
			}
			r.Git("checkout", "-q", "-b", "topic")
			r.Commit("many replicas", files)
			code, out, said := runIn(t, r.Dir, "", append([]string{"check", "--base", "main", "--only-new"}, tc.flags...)...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			wantAll(t, out+said, tc.want)
			if tc.never != "" && strings.Contains(out+said, tc.never) {
				t.Errorf("%q is said:\n%s%s", tc.never, out, said)
			}
			if differ := tc.files != nil && len(tc.flags) == 0 && tc.code != 2; differ != strings.Contains(said, told) {
				t.Errorf("that the policies change is told: %v\n%s", !differ, said)
			}
			if tc.name == "a policy that goes" { // reports know of it all the same
				if again, _, _ := runIn(t, r.Dir, "", "check", "--base", "main", "--only-new", "-o", "json", "-o", "sarif="+filepath.Join(t.TempDir(), "x.sarif")); again != code {
					t.Errorf("other formats: exit code %d", again)
				}
			}
		})
	}
}

// A check that runs in a folder takes the nearest gitgate.yaml, which a pull request may bring.
func TestAChangeBringsNoConfigurationNearer(t *testing.T) {
	r := newFluxFleet(t)
	r.Git("checkout", "-q", "-b", "topic")
	r.Commit("many replicas", map[string]string{
		"apps/prod/replicas.yaml":    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 9\n",
		"clusters/prod/gitgate.yaml": strings.Replace(fleetConfig, "policies: [{path: policies}]\n", "", 1),
	})
	dir := filepath.Join(r.Dir, "clusters", "prod")
	code, out, said := runIn(t, dir, "", "check", "--base", "main", "--only-new")
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	wantAll(t, out+said, "gitgate.yaml judged before the change, and clusters/prod/gitgate.yaml would after it")
	code, out, said = runIn(t, dir, "", "check", "--base", "main", "--only-new", "--config", filepath.Join("..", "..", "gitgate.yaml"))
	if code != 1 {
		t.Errorf("by the one of before: exit code %d", code)
	}
	wantAll(t, out+said, "at most 5 replicas")
}

// Of a partial clone whose remote cannot be reached, nobody can tell what judged before.
func TestWhatJudgedBeforeAndCannotBeReadIsNotNothing(t *testing.T) {
	for name, loose := range map[string]string{
		"gitgate.yaml":           strings.Replace(fleetConfig, "policies: [{path: policies}]\n", "", 1),
		"policies/replicas.rego": strings.Replace(fleetPolicies, "> 5", "> 50", 1),
	} {
		r := newFluxFleet(t)
		blob := strings.TrimSpace(r.Git("rev-parse", "main:"+name))
		r.Git("checkout", "-q", "-b", "topic")
		r.Commit("many replicas", map[string]string{"apps/prod/replicas.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 9\n", name: loose})
		if err := os.Remove(filepath.Join(r.Dir, ".git", "objects", blob[:2], blob[2:])); err != nil {
			t.Fatal(err)
		}
		code, out, said := runIn(t, r.Dir, "", "check", "--base", "main", "--only-new")
		if code != exitUnjudged {
			t.Errorf("%s: exit code %d", name, code)
		}
		wantAll(t, out+said, name+" of commit ", "judges the change and cannot be read")
	}
}

// A branch may begin at a commit whose policies were looser, and leave them alone.
func TestABranchThatBeginsBeforeAPolicyIsJudgedByIt(t *testing.T) {
	r := newFluxFleet(t)
	r.Commit("loose", map[string]string{"policies/replicas.rego": strings.Replace(fleetPolicies, "> 5", "> 50", 1)})
	r.Git("branch", "topic")
	r.Commit("strict", map[string]string{"policies/replicas.rego": fleetPolicies})
	r.Git("checkout", "-q", "topic")
	r.Commit("many replicas", map[string]string{"apps/prod/replicas.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 9\n"})
	for by, want := range map[string]string{"both": "at most 5 replicas (by the policies before the change)", "base": "at most 5 replicas"} {
		code, out, said := runIn(t, r.Dir, "", "check", "--base", "main", "--only-new", "--policies", by)
		if code != 1 {
			t.Errorf("%s: exit code %d", by, code)
		}
		wantAll(t, out+said, want)
	}
}

// A check that runs in a folder would take the one further up, which may be lax.
func TestAChangeTakesTheNearestConfigurationNotAway(t *testing.T) {
	r := newFluxFleet(t)
	r.Commit("its own", map[string]string{"clusters/prod/gitgate.yaml": fleetConfig})
	r.Git("checkout", "-q", "-b", "topic")
	r.Git("rm", "-q", "clusters/prod/gitgate.yaml")
	r.Commit("gone", nil)
	for _, by := range []string{"both", "base"} {
		code, out, said := runIn(t, filepath.Join(r.Dir, "clusters", "prod"), "", "check", "--base", "main", "--only-new", "--policies", by)
		if code != exitUsage {
			t.Errorf("%s: exit code %d", by, code)
		}
		wantAll(t, out+said, "clusters/prod/gitgate.yaml judged before the change, and gitgate.yaml would after it")
	}
}

// A link leads where each commit says: to what a change puts in the place of a file, the commit before it does not.
func TestALinkInThePlaceOfTheConfigurationIsNotFollowedBefore(t *testing.T) {
	lax := strings.Replace(fleetConfig, "policies: [{path: policies}]\n", "", 1)
	for _, tc := range []struct{ name, target string }{
		{"to a file that the change brings", "lax.yaml"},
		{"to one that was there", "there.yaml"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newFluxFleet(t)
			r.Commit("another", map[string]string{"there.yaml": lax})
			r.Git("checkout", "-q", "-b", "topic")
			r.Git("rm", "-q", "gitgate.yaml")
			if err := os.Symlink(tc.target, filepath.Join(r.Dir, "gitgate.yaml")); err != nil {
				t.Fatal(err)
			}
			r.Commit("many replicas", map[string]string{
				"lax.yaml":                lax,
				"apps/prod/replicas.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 9\n",
			})
			code, out, said := runIn(t, r.Dir, "", "check", "--base", "main", "--only-new")
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			wantAll(t, out+said, "at most 5 replicas (by the policies before the change)")
		})
	}
}

func TestABrokenKustomizationIsToldAtItsPlace(t *testing.T) {
	r := newFluxFleet(t)
	r.Git("checkout", "-q", "-b", "topic")
	r.Commit("broken", map[string]string{"apps/prod/kustomization.yaml": "resources: [../base, ../../../etc]\n"})
	code, out, said := runIn(t, r.Dir, "", "check", "--base", "main")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	wantAll(t, out+said, "apps/prod/kustomization.yaml:1:", "[declared/not-rendered]")
}

func TestBaseTakesWhatItNeeds(t *testing.T) {
	r := newFluxFleet(t)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"check", "--base", "nowhere"}, "revision nowhere: not found"},
		{[]string{"check", "--base", "main", "apps"}, "it takes no path"},
		{[]string{"check", "--head", "main"}, "needs --base"},
		{[]string{"check", "--only-new"}, "needs --base"},
		{[]string{"diff"}, "needs --base"},
		{[]string{"trace", "web"}, "expected KIND/NAME"},
	} {
		if code, out, said := runIn(t, r.Dir, "", tc.args...); code != exitUsage || !strings.Contains(said, tc.want) {
			t.Errorf("%v: exit code %d\n%s%s", tc.args, code, out, said)
		}
	}
}

func TestTraceSaysWhichCommitDeclaresAnObjectAndEachField(t *testing.T) {
	r := newFluxFleet(t)
	second := r.Commit("four", map[string]string{"apps/prod/replicas.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 4\n"})
	code, out, said := runIn(t, r.Dir, "", "trace", "deployment/web", "-n", "shop")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantAll(t, out+said,
		"Deployment shop/web is declared in apps/base/deployment.yaml:1",
		"by Kustomization flux-system/apps of source fleet",
		"last changed by "+second[:10],
		"spec.replicas", "apps/prod/replicas.yaml:5  "+second[:10],
		"spec.template.spec.containers[0].image", "apps/base/deployment.yaml:12",
		"spec.progressDeadlineSeconds")
	if code, out, _ = runIn(t, r.Dir, "", "trace", "Deployment/web", "--field", "spec.replicas", "-o", "json"); code != 0 || strings.Count(out, `"path"`) != 1 {
		t.Errorf("one field: exit code %d\n%s", code, out)
	}
	if code, out, said = runIn(t, r.Dir, "", "trace", "Secret/web"); code != 0 || strings.Contains(out+said, "hunter") || strings.Contains(out, "aHVudGVy") {
		t.Errorf("a Secret: exit code %d\n%s%s", code, out, said)
	}
	if code, _, said = runIn(t, r.Dir, "", "trace", "Deployment/api", "-n", "shop"); code != 1 || !strings.Contains(said, "no source declares it at this revision") {
		t.Errorf("not declared: exit code %d\n%s", code, said)
	}

	stored, err := os.ReadFile(filepath.Join("testdata", "live-web.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if code, out, said = runIn(t, r.Dir, string(stored), "trace", "Deployment/web", "-n", "shop", "--live", "-"); code != 0 || !strings.Contains(out, "the live object traces") {
		t.Errorf("a live object that traces: exit code %d\n%s%s", code, out, said)
	}
	drifted := strings.Replace(string(stored), "replicas: 4", "replicas: 7", 1)
	if code, out, said = runIn(t, r.Dir, drifted, "trace", "Deployment/web", "-n", "shop", "--live", "-"); code != 1 || !strings.Contains(out, "spec.replicas: another value is declared: live 7, declared 4") {
		t.Errorf("a live object that drifted: exit code %d\n%s%s", code, out, said)
	}
}
