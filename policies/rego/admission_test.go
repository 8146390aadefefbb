package rego_test

import (
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/rego"
)

func TestAdmissionPolicies(t *testing.T) {
	pod := func(t *testing.T, image string) *policies.Object {
		return object(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"shop"},"spec":{"containers":[{"name":"c","image":"`+image+`"}]}}`)
	}
	update := func(t *testing.T) *policies.Change {
		c := creation(pod(t, "new"))
		c.Operation, c.Old, c.Knows = policies.Update, pod(t, "old"), policies.KnowsOld|policies.KnowsActor
		c.Actor = &policies.Actor{User: "eve", Groups: []string{"devs"}, Extra: map[string][]string{"k": {"v"}}}
		return c
	}
	for _, tc := range []struct {
		name   string
		policy string
		change func(*testing.T) *policies.Change
		want   []string
	}{
		{"the review has what a real one has", `package kubernetes.admission
			deny contains msg if {
				r := input.request
				input.kind == "AdmissionReview"
				input.apiVersion == "admission.k8s.io/v1"
				msg := sprintf("%s %s/%s %s %s %s %s %v", [r.operation, r.kind.version, r.kind.kind, r.resource.resource, r.namespace, r.name, r.object.spec.containers[0].image, r.dryRun])
			}`, update, []string{"kubernetes.admission/deny ! UPDATE v1/Pod pods shop p new false"}},
		{"the old object and the actor are there when the door knows them", `package kubernetes.admission
			deny contains msg if {
				input.request.oldObject.spec.containers[0].image != input.request.object.spec.containers[0].image
				"devs" in input.request.userInfo.groups
				msg := sprintf("%s %s", [input.request.userInfo.username, input.request.userInfo.extra.k[0]])
			}`, update, []string{"kubernetes.admission/deny ! eve v"}},
		{"the old object is null when there is none", `package kubernetes.admission
			deny contains "new" if input.request.oldObject == null`, func(t *testing.T) *policies.Change {
			c := creation(pod(t, "x"))
			c.Knows = policies.KnowsOld
			return c
		}, []string{"kubernetes.admission/deny ! new"}},
		{"the actor is waited for", `package kubernetes.admission
			deny contains "x" if input.request.userInfo.username == "eve"`, func(t *testing.T) *policies.Change { return creation(pod(t, "x")) },
			[]string{"kubernetes.admission deferred: who makes the change"}},
		{"a package below kubernetes.admission", `package kubernetes.admission.images
			violation contains {"msg": "no", "path": "request.object.spec.containers[0].image"} if input.request.object.spec`,
			func(t *testing.T) *policies.Change { return creation(pod(t, "x")) }, []string{"kubernetes.admission.images/violation ! no"}},
		{"a package beside it sees the object", `package kubernetes.admissions
			deny contains input.kind if true`, func(t *testing.T) *policies.Change { return creation(pod(t, "x")) }, []string{"kubernetes.admissions/deny ! Pod"}},
		{"what only an update breaks is deferred when it may be one", `package kubernetes.admission
			deny contains "frozen" if { input.request.operation == "UPDATE" }`, func(t *testing.T) *policies.Change { return creation(pod(t, "x")) },
			[]string{"kubernetes.admission deferred: whether Pod shop/p is there already"}},
		{"what breaks anyhow is told although the operation is unknown", `package kubernetes.admission
			deny contains "x" if input.request.operation in {"CREATE", "UPDATE"}`, func(t *testing.T) *policies.Change { return creation(pod(t, "x")) },
			[]string{"kubernetes.admission/deny ! x"}},
		{"what only an update breaks passes a known creation", `package kubernetes.admission
			deny contains "frozen" if { input.request.operation == "UPDATE" }`, func(t *testing.T) *policies.Change {
			c := creation(pod(t, "x"))
			c.Knows = policies.KnowsOld
			return c
		}, nil},
		{"a deletion has the old object", `package kubernetes.admission
			deny contains msg if { input.request.operation == "DELETE"; input.request.object == null; msg := input.request.oldObject.metadata.name }`, func(t *testing.T) *policies.Change {
			c := creation(pod(t, "x"))
			c.Operation, c.Old, c.Object, c.Knows = policies.Delete, c.Object, nil, policies.KnowsOld
			return c
		}, []string{"kubernetes.admission/deny ! p"}},
		{"options that are not known defer", `package kubernetes.admission
			deny contains "x" if input.request.options.fieldManager == "kubectl"`, func(t *testing.T) *policies.Change { return creation(pod(t, "x")) },
			[]string{"kubernetes.admission deferred: the options of the request"}},
		{"options that are known are there", `package kubernetes.admission
			deny contains "x" if input.request.options.fieldManager == "kubectl"`, func(t *testing.T) *policies.Change {
			c := creation(pod(t, "x"))
			c.Options = map[string]any{"fieldManager": "kubectl"}
			return c
		}, []string{"kubernetes.admission/deny ! x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ps := compile(t, rego.Options{}, files{"policy.rego": tc.policy})
			same(t, told(decide(t, ps, tc.change(t))), tc.want)
		})
	}
}

func TestAWorkloadsPodIsJudgedByPoliciesForPods(t *testing.T) {
	for name, policy := range map[string]string{
		"conftest": `package main
			deny contains {"msg": sprintf("Pod %s: %s", [input.metadata.name, c.image]), "path": ["spec", "containers", i, "image"]} if {
				input.kind == "Pod"
				some i, c in input.spec.containers
				endswith(c.image, ":latest")
			}`,
		"review": `package kubernetes.admission
			deny contains {"msg": sprintf("Pod %s: %s", [input.request.object.metadata.name, c.image]), "path": ["spec", "containers", i, "image"]} if {
				input.request.kind.kind == "Pod"
				some i, c in input.request.object.spec.containers
				endswith(c.image, ":latest")
			}`,
	} {
		t.Run(name, func(t *testing.T) {
			ps := compile(t, rego.Options{}, files{"policy.rego": policy})
			d := decide(t, ps, creation(object(t, web)))
			if len(d.Results) != 1 || !d.Results[0].Pod || len(d.Results[0].Finding.Violations) != 1 {
				t.Fatalf("results %+v, want one of the Pod", d.Results)
			}
			v := d.Results[0].Finding.Violations[0]
			if got, want := v.Message, "Pod web-xxxxx: nginx:latest"; got != want {
				t.Errorf("message %q, want %q", got, want)
			}
			if got, want := v.Path.String(), "spec.template.spec.containers[0].image"; got != want {
				t.Errorf("path %s, want %s", got, want)
			}
		})
	}
}

func TestRulesForPodsAreAskedOfTheWorkloadsPodBesideRulesForOthers(t *testing.T) {
	ps := compile(t, rego.Options{}, files{"policy.rego": `package main
		deny contains {"msg": sprintf("tag of %s", [c.name]), "path": ["spec", "containers", i, "image"]} if {
			input.kind == "Pod"
			some i, c in input.spec.containers
			endswith(c.image, ":latest")
		}
		deny contains "replicas" if { input.kind == "Deployment"; input.spec.replicas == 1 }
		warn contains sprintf("any %s", [input.kind]) if true
		warn contains sprintf("workload %s", [input.kind]) if input.kind in {"Pod", "Deployment"}`})
	d := decide(t, ps, creation(object(t, web)))
	same(t, told(d), []string{"main/deny ! replicas", "main/warn ? any Deployment", "main/warn ? workload Deployment", "main/deny ! tag of a"})
	if got, want := d.Results[1].Finding.Violations[0].Path.String(), "spec.template.spec.containers[0].image"; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
	d = decide(t, ps, creation(object(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"x:latest"}]}}`)))
	same(t, told(d), []string{"main/deny ! tag of c", "main/warn ? any Pod", "main/warn ? workload Pod"})
}

func TestAWorkloadsPodIsNotAskedTwiceAboutOneRule(t *testing.T) {
	ps := compile(t, rego.Options{}, files{"policy.rego": `package main
		spec := input.spec if input.kind == "Pod"
		spec := input.spec.template.spec if input.kind == "Deployment"
		deny contains "latest" if endswith(spec.containers[_].image, ":latest")`})
	d := decide(t, ps, creation(object(t, web)))
	same(t, told(d), []string{"main/deny ! latest"})
	if len(d.Results) != 1 {
		t.Errorf("results %+v, want one", d.Results)
	}
}

func TestTheOtherObjectsOfTheChangeSet(t *testing.T) {
	ingress := func(name, host string) *policies.Object {
		return object(t, `{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"`+name+`","namespace":"shop"},"spec":{"rules":[{"host":"`+host+`"}]}}`)
	}
	namespace := object(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"team":"a"}}}`)
	service := object(t, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"x":1}}`)
	set := policies.NewSet(ingress("a", "x.example.com"), ingress("b", "x.example.com"), ingress("c", "y.example.com"), namespace, service)
	for _, tc := range []struct {
		name, policy string
		want         []string
	}{
		{"in Gatekeeper's layout", `package main
			deny contains sprintf("host %s is also of %s", [host, other]) if {
				host := input.spec.rules[_].host
				some other
				data.inventory.namespace[input.metadata.namespace]["networking.k8s.io/v1"].Ingress[other].spec.rules[_].host == host
				other != input.metadata.name
			}`, []string{"main/deny ! host x.example.com is also of b"}},
		{"cluster-scoped in Gatekeeper's layout", `package main
			deny contains team if team := data.inventory.cluster.v1.Namespace[input.metadata.namespace].metadata.labels.team`, []string{"main/deny ! a"}},
		{"without a namespace they lie in default", `package main
			deny contains name if data.inventory.namespace["default"].v1.Service[name]`, []string{"main/deny ! web"}},
		{"in kube-mgmt's layout", `package kubernetes.admission
			import data.kubernetes.ingresses
			import data.kubernetes.namespaces
			deny contains sprintf("%s %s", [other, namespaces[ns].metadata.labels.team]) if {
				some other
				ns := input.request.namespace
				ingresses[ns][other].spec.rules[_].host == input.request.object.spec.rules[_].host
				other != input.request.name
			}`, []string{"kubernetes.admission/deny ! b a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := creation(ingress("a", "x.example.com"))
			c.Set = set
			same(t, told(decide(t, compile(t, rego.Options{}, files{"policy.rego": tc.policy}), c)), tc.want)
		})
	}
}

func TestObjectsOfTheClusterAreWaitedForAtAdmission(t *testing.T) {
	ps := compile(t, rego.Options{}, files{"policy.rego": `package main
		deny contains "none" if not data.inventory.cluster.v1.Namespace.shop`})
	o := object(t, web)
	live := policies.NewObject(o.Map(), policies.Origin{}, nil, nil)
	same(t, told(decide(t, ps, creation(live))), []string{"main deferred: the cluster's objects"})
	c := creation(live)
	c.Knows = policies.KnowsCluster
	same(t, told(decide(t, ps, c)), []string{"main/deny ! none"})
	same(t, told(decide(t, ps, creation(o))), []string{"main/deny ! none"})
}

func TestTheFileOfTheObject(t *testing.T) {
	ps := compile(t, rego.Options{}, files{"policy.rego": `package main
		deny contains sprintf("%s in %s", [data.conftest.file.name, data.conftest.file.dir]) if true`})
	o := object(t, web)
	same(t, told(decide(t, ps, creation(policies.NewObject(o.Map(), policies.Origin{File: "apps/web.yaml"}, nil, nil)))), []string{"main/deny ! web.yaml in apps"})
	same(t, told(decide(t, ps, creation(policies.NewObject(o.Map(), policies.Origin{}, nil, nil)))), []string{"main deferred: the file of the object"})
}
