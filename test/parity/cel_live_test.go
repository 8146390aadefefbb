// Package parity holds gitgate's verdicts to those of the real thing.
package parity_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
	"gitgate.dev/gitgate/test/controlplane"
)

// cluster is a real API server that policies are installed in, with the action Warn, so that one request tells what all of them
// say.
type cluster struct {
	t      *testing.T
	client *http.Client
	url    string
}

// send sends a request and returns its status, its warnings and its body.
func (c *cluster) send(method, path, body string) (int, []string, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/yaml")
	req.Header.Set("Accept", "application/json")
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Values("Warning"), string(text)
}

func (c *cluster) must(method, path, body string) string {
	c.t.Helper()
	code, _, text := c.send(method, path, body)
	if code >= 300 {
		c.t.Fatalf("%s %s: %d %s", method, path, code, text)
	}
	return text
}

const admission = "/apis/admissionregistration.k8s.io/v1/"

// install installs policies and returns when the API server asks them. The function takes them out again.
func (c *cluster) install(texts []string) (remove func()) {
	c.t.Helper()
	texts = append(slices.Clip(texts), sentinel)
	var paths []string
	for _, text := range texts {
		for _, doc := range strings.Split(text, "\n---\n") {
			var head struct {
				Kind     string
				Metadata struct{ Name string }
			}
			if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
				c.t.Fatal(err)
			}
			collection := admission + "validatingadmissionpolicies"
			if head.Kind == "ValidatingAdmissionPolicyBinding" {
				collection = admission + "validatingadmissionpolicybindings"
			}
			c.must("POST", collection, doc)
			paths = append(paths, collection+"/"+head.Metadata.Name)
		}
	}
	c.wait(true)
	return func() {
		for _, path := range paths {
			c.must("DELETE", path, "")
		}
		c.wait(false)
	}
}

const sentinel = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: sentinel}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps], resourceNames: [sentinel]}]}
  validations: [{expression: "false", message: sentinel}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: sentinel}
spec: {policyName: sentinel, validationActions: [Warn]}
`

func (c *cluster) wait(active bool) {
	c.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		_, warnings, _ := c.send("POST", "/api/v1/namespaces/shop/configmaps?dryRun=All", "metadata: {name: sentinel}")
		if slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "'sentinel'") }) == active {
			return
		}
	}
	c.t.Fatal("the policies did not come into force, or out of it, within five minutes")
}

var warning = regexp.MustCompile(`^299 - "Validation failed for ValidatingAdmissionPolicy '([^']*)' with binding '[^']*': (.*)"$`)

// said reads what each policy said out of the warnings.
func said(warnings []string) map[string][]string {
	out := map[string][]string{}
	for _, w := range warnings {
		if m := warning.FindStringSubmatch(w); m != nil && m[1] != "sentinel" {
			text := strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[2])
			out[m[1]] = append(out[m[1]], text)
		}
	}
	return out
}

// live is a request to the API server and the change that it is for gitgate.
type live struct {
	name, method, path, body string
	operation                policies.Operation
	resource                 policies.Resource
	old                      string
}

var liveRequests = []live{
	{"a Deployment is created", "POST", "/apis/apps/v1/namespaces/shop/deployments?dryRun=All&fieldManager=me", liveDeployment, policies.Create, policies.Resource{Group: "apps", Version: "v1", Resource: "deployments"}, ""},
	{"a Pod is created", "POST", "/api/v1/namespaces/shop/pods?dryRun=All&fieldManager=me", livePod, policies.Create, policies.Resource{Version: "v1", Resource: "pods"}, ""},
	{"a Pod with a generated name is created", "POST", "/api/v1/namespaces/prod/pods?dryRun=All&fieldManager=me", strings.Replace(strings.Replace(livePod, "name: web, namespace: shop", "generateName: web-, namespace: prod", 1), "app: web", "tier: web", 1), policies.Create, policies.Resource{Version: "v1", Resource: "pods"}, ""},
	{"a ConfigMap is updated", "PUT", "/api/v1/namespaces/shop/configmaps/cm?dryRun=All&fieldManager=me", strings.Replace(liveConfigMap, `a: "1"`, `a: "2"`, 1), policies.Update, policies.Resource{Version: "v1", Resource: "configmaps"}, liveConfigMap},
	{"a ConfigMap is deleted", "DELETE", "/api/v1/namespaces/shop/configmaps/cm?dryRun=All", "", policies.Delete, policies.Resource{Version: "v1", Resource: "configmaps"}, liveConfigMap},
	{"a Namespace is created", "POST", "/api/v1/namespaces?dryRun=All&fieldManager=me", "apiVersion: v1\nkind: Namespace\nmetadata: {name: new, labels: {team: a}}\n", policies.Create, policies.Resource{Version: "v1", Resource: "namespaces"}, ""},
	{"a ClusterRole is created", "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles?dryRun=All&fieldManager=me", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\nrules: [{apiGroups: [\"*\"], resources: [\"*\"], verbs: [\"*\"]}]\n", policies.Create, policies.Resource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, ""},
	{"an autoscaler of an older version is created", "POST", "/apis/autoscaling/v1/namespaces/shop/horizontalpodautoscalers?dryRun=All&fieldManager=me", "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: h, namespace: shop}\nspec: {maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}, targetCPUUtilizationPercentage: 70}\n", policies.Create, policies.Resource{Group: "autoscaling", Version: "v1", Resource: "horizontalpodautoscalers"}, ""},
}

const liveConfigMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm, namespace: shop, labels: {app: cm}}\ndata: {a: \"1\", b: x}\n"

const livePod = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  containers:
  - {name: app, image: nginx, ports: [{containerPort: 80}], resources: {limits: {memory: 1Gi}}}
  - {name: side, image: "envoy:latest", securityContext: {privileged: true}}
`

const liveDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web, env: dev}, annotations: {"a.b/c": "3.14"}}
spec:
  replicas: 7
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: "registry.example.com/web@sha256:0000", resources: {limits: {cpu: 100m, memory: 1Gi}}}
      volumes: [{name: v}]
`

func TestCELPoliciesSayWhatARealAPIServerSays(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real API server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	cp := controlplane.Start(ctx, t, controlplane.Options{})
	client, err := cp.HTTPClient("alice", "dev", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t, client, cp.Endpoint()}
	holders := map[string]*policies.Object{}
	for name, labels := range map[string]string{"shop": "{team: a}", "prod": "{}"} {
		c.must("POST", "/api/v1/namespaces", "metadata: {name: "+name+", labels: "+labels+"}")
		c.must("POST", "/api/v1/namespaces/"+name+"/serviceaccounts", "metadata: {name: default}")
		holders[name] = parse(t, c.must("GET", "/api/v1/namespaces/"+name, ""))
	}
	c.must("POST", "/api/v1/namespaces/shop/configmaps", liveConfigMap)
	rules, err := apiserver.New("1.36")
	if err != nil {
		t.Fatal(err)
	}
	for batch := range slices.Chunk(c.taken(rules, livePolicies()), 20) {
		remove := c.install(batch)
		compiled, err := compile(t, rules, strings.Join(batch, "---\n"))
		if err != nil {
			t.Fatalf("the API server takes policies that gitgate refuses: %v", err)
		}
		for _, r := range liveRequests {
			code, warnings, body := c.send(r.method, r.path, r.body)
			if code >= 300 {
				t.Fatalf("%s: %d %s", r.name, code, body)
			}
			want := said(warnings)
			engine, err := policies.New(compiled, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{}
			d := engine.Decide(ctx, r.change(t, rules, holders))
			for i := range d.Results {
				name := d.Results[i].Policy.Name
				ignores := strings.Contains(textOf(batch, name), "failurePolicy: Ignore")
				if lines := lines(&d.Results[i], ignores); len(lines) > 0 && !d.Results[i].Pod {
					got[name] = lines
				}
			}
			for _, name := range slices.Sorted(maps.Keys(both(got, want))) {
				slices.Sort(got[name])
				slices.Sort(want[name])
				if !slices.Equal(got[name], want[name]) {
					t.Errorf("%s, policy %s:\ngitgate    %q\nAPI server %q\n%s", r.name, name, got[name], want[name], textOf(batch, name))
				}
			}
		}
		remove()
	}
}

// taken leaves those policies that the API server takes, and sees to it that gitgate takes the same.
func (c *cluster) taken(rules *apiserver.Rules, texts []string) []string {
	c.t.Helper()
	var out []string
	for _, text := range texts {
		policy, _, _ := strings.Cut(text, "\n---\n")
		code, _, body := c.send("POST", admission+"validatingadmissionpolicies?dryRun=All", policy)
		_, err := compile(c.t, rules, text)
		switch {
		case code == http.StatusCreated && err == nil:
			out = append(out, text)
		case code != http.StatusUnprocessableEntity || err == nil:
			c.t.Errorf("the API server says %d %s\ngitgate says %v\n%s", code, body, err, text)
		}
	}
	return out
}

func compile(t *testing.T, rules *apiserver.Rules, text string) ([]*policies.Policy, error) {
	t.Helper()
	objects, problems := manifest.Decode("p.yaml", []byte(text), manifest.DefaultLimits())
	if len(problems) > 0 {
		t.Fatalf("%s\n%s", problems[0].Message, text)
	}
	var docs []policies.Document
	for _, o := range objects {
		docs = append(docs, policies.Document{File: "p.yaml", Object: o})
	}
	return cel.Compiler(cel.Options{Kubernetes: "1.36", API: rules, Convert: rules.Convert})(t.Context(), docs)
}

func both(a, b map[string][]string) map[string][]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func textOf(batch []string, name string) string {
	for _, text := range batch {
		if strings.Contains(text, "{name: "+name+"}") {
			return text
		}
	}
	return ""
}

// lines is what a result says in the API server's words, which says nothing of errors that the failure policy ignores.
func lines(r *policies.Result, ignores bool) []string {
	switch r.Outcome {
	case policies.Violated:
		var out []string
		for _, v := range r.Finding.Violations {
			out = append(out, v.Message)
		}
		for _, e := range r.Finding.Evidence {
			if e.Kind == "undecided" && !ignores {
				out = append(out, plain(e.Value))
			}
		}
		return out
	case policies.Failed:
		var out []string
		for _, line := range strings.Split(r.Err.Error(), "\n") {
			out = append(out, plain(line))
		}
		return out
	case policies.Deferred:
		return []string{"deferred: " + r.Missing}
	default:
		return nil
	}
}

var place = regexp.MustCompile(`^spec\.[a-zA-Z]+\[\d+\]\.[a-zA-Z]+: `)

// plain takes the place of an expression from an error.
func plain(s string) string { return place.ReplaceAllString(s, "") }

func (r *live) change(t *testing.T, rules *apiserver.Rules, holders map[string]*policies.Object) *policies.Change {
	stored := func(text string) *policies.Object {
		if text == "" {
			return nil
		}
		return parse(t, text).WithStored(func(o *policies.Object) (map[string]any, error) { return rules.Stored(policies.NewSet(), o) })
	}
	c := &policies.Change{
		Operation: r.operation, Resource: r.resource, Object: stored(r.body), Old: stored(r.old), DryRun: true, Set: policies.NewSet(),
		Actor:   &policies.Actor{User: "alice", Groups: []string{"dev", "system:masters", "system:authenticated"}},
		Knows:   policies.KnowsOld | policies.KnowsActor | policies.KnowsNamespace | policies.KnowsCluster,
		Options: map[string]any{"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": []any{"All"}, "fieldManager": "me"},
	}
	if c.Namespace = c.Subject().Namespace; c.Namespace != "" {
		c.Namespaced, c.Holder = true, holders[c.Namespace]
	}
	return c
}

func parse(t *testing.T, text string) *policies.Object {
	t.Helper()
	objects, problems := manifest.Decode("object.yaml", []byte(text), manifest.DefaultLimits())
	if len(problems) > 0 || len(objects) != 1 {
		t.Fatalf("%d objects, %v:\n%s", len(objects), problems, text)
	}
	return objects[0]
}

// livePolicies are those of the tables: each expression by itself as a validation that may fail or not, and each value as a
// message.
func livePolicies() []string {
	var out []string
	add := func(spec string) {
		name := fmt.Sprintf("p%d", len(out))
		if !strings.Contains(spec, "matchConstraints") {
			spec = "matchConstraints: {resourceRules: [{apiGroups: [\"*\"], apiVersions: [\"*\"], operations: [\"*\"], resources: [\"*\"]}]}\n" + spec
		}
		out = append(out, "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: "+name+"}\nspec:\n  "+
			strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")+"\n---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: "+name+"}\n"+
			"spec: {policyName: "+name+", validationActions: [Warn]}\n")
	}
	for _, spec := range liveSpecs {
		add(spec)
	}
	for _, value := range liveValues {
		add(fmt.Sprintf("matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}\n"+
			"validations: [{expression: \"false\", messageExpression: %q, message: failed}]\n", value))
		add(fmt.Sprintf("matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}\n"+
			"validations: [{expression: %q, message: failed}]\n", "'' == "+value))
	}
	return out
}
