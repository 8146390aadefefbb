package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestVersionsOfKindsThatAreNotServed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, version, apiVersion, kind, want, warn string }{
		{"long removed", "1.36", "extensions/v1beta1", "Ingress",
			"apiVersion [removed-api] extensions/v1beta1 Ingress was removed in Kubernetes 1.22; use networking.k8s.io/v1 Ingress (write apiVersion: networking.k8s.io/v1 (there each path needs a pathType, and backend names its service as service: {name, port: {number}}))", ""},
		{"removed without a successor", "1.36", "policy/v1beta1", "PodSecurityPolicy",
			"apiVersion [removed-api] policy/v1beta1 PodSecurityPolicy was removed in Kubernetes 1.25 (use Pod Security admission: the label pod-security.kubernetes.io/enforce on the namespace)", ""},
		{"removed, as its type declares", "1.36", "batch/v1beta1", "CronJob",
			"apiVersion [removed-api] batch/v1beta1 CronJob was removed in Kubernetes 1.25; use batch/v1 CronJob (write apiVersion: batch/v1)", ""},
		{"removed with a successor that is removed too", "1.36", "flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema",
			"apiVersion [removed-api] flowcontrol.apiserver.k8s.io/v1beta1 FlowSchema was removed in Kubernetes 1.26; use flowcontrol.apiserver.k8s.io/v1 FlowSchema (write apiVersion: flowcontrol.apiserver.k8s.io/v1)", ""},
		{"removed at a time that no version of the table saw", "1.36", "flowcontrol.apiserver.k8s.io/v1alpha1", "FlowSchema",
			"apiVersion [removed-api] flowcontrol.apiserver.k8s.io/v1alpha1 FlowSchema is no longer served; use flowcontrol.apiserver.k8s.io/v1 FlowSchema (write apiVersion: flowcontrol.apiserver.k8s.io/v1)", ""},
		{"an autoscaler of a beta", "1.34", "autoscaling/v2beta2", "HorizontalPodAutoscaler",
			"apiVersion [removed-api] autoscaling/v2beta2 HorizontalPodAutoscaler was removed in Kubernetes 1.26; use autoscaling/v2 HorizontalPodAutoscaler (write apiVersion: autoscaling/v2)", ""},
		{"removed in the version asked for", "1.37", "networking.k8s.io/v1beta1", "ServiceCIDR",
			"apiVersion [removed-api] networking.k8s.io/v1beta1 ServiceCIDR was removed in Kubernetes 1.37", ""},
		{"introduced later", "1.34", "admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding",
			"apiVersion [not-served] admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding is served from Kubernetes 1.36 on, not by 1.34", ""},
		{"off by default", "1.36", "admissionregistration.k8s.io/v1beta1", "MutatingAdmissionPolicyBinding",
			"", "[not-served] admissionregistration.k8s.io/v1beta1 MutatingAdmissionPolicyBinding is not served by default: the cluster needs --runtime-config=admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicybindings=true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := New(c.version)
			if err != nil {
				t.Fatal(err)
			}
			o := parse(t, fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: a}, spec: {policyName: a}}", c.apiVersion, c.kind))
			a := r.Admit(nil, o, nil)
			if a.Err != nil || !a.Known {
				t.Fatalf("known %v, err %v", a.Known, a.Err)
			}
			if got := said(a.Violations); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if got := said(a.Warnings); !strings.Contains(got, c.warn) {
				t.Errorf("got warnings %q\nwant %q", got, c.warn)
			}
		})
	}
}

func TestWarningsAreThoseOfTheAPIServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, manifest, want string }{
		{"a deprecated version", `{apiVersion: v1, kind: Endpoints, metadata: {name: a}}`,
			"apiVersion [deprecated] v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"},
		{"a deprecated annotation", `{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {container.seccomp.security.alpha.kubernetes.io/a: runtime/default}}, spec: {containers: [{name: a, image: a, ports: [{containerPort: 80}, {containerPort: 80}]}]}}`,
			"metadata.annotations[container.seccomp.security.alpha.kubernetes.io/a] [warning] metadata.annotations[container.seccomp.security.alpha.kubernetes.io/a]: non-functional in v1.27+; use the \"seccompProfile\" field instead\n" +
				"spec.containers[0].ports[1] [warning] spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"},
		{"a name that is no label", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a.b}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}`,
			"metadata.name [warning] metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"},
		{"a namespace on what has none", `{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}`,
			"metadata.namespace [warning] metadata.namespace is ignored: Namespace is cluster-scoped (remove the namespace)"},
		{"a claim with admin access", `{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: a}, spec: {devices: {requests: [{name: a, exactly: {deviceClassName: a, adminAccess: true}}]}}}`,
			`spec.devices.requests[0].exactly.adminAccess [warning] spec.devices.requests[0].exactly.adminAccess is only taken in a namespace with the label resource.kubernetes.io/admin-access: "true"`},
		{"a question", `{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectAccessReview, spec: {resourceAttributes: {verb: get}}}`,
			"kind [not-stored] authorization.k8s.io/v1 SelfSubjectAccessReview is a question that the API server answers and does not store: it cannot be applied from Git"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := rules(t).Admit(nil, parse(t, c.manifest), nil)
			if a.Err != nil || len(a.Violations) > 0 {
				t.Fatalf("err %v\n%s", a.Err, said(a.Violations))
			}
			if got := said(a.Warnings); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, w := range a.Warnings {
				if !w.Warning {
					t.Errorf("%q is no warning", w.Message)
				}
			}
		})
	}
}

func TestViolationsReadAloud(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, manifest, want string }{
		{"a slip", `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: a, imagPullPolicy: Always}]}}`,
			`spec.containers[0].imagPullPolicy [unknown-field] unknown field spec.containers[0].imagPullPolicy (did you mean "imagePullPolicy"?)`},
		{"nothing near", `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, spec: {}}`,
			`spec [unknown-field] unknown field spec`},
		{"a secret that is not encoded is not shown", `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {password: "hunter2!"}}`,
			`data.password [type] data.password: expected base64, got a string that is not (encode the value with base64, or write it under stringData when this is a Secret)`},
		{"two wrong types and an unknown field", `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {port: 1, selector: [a], ports: [{port: "80"}]}}`,
			"spec.port [unknown-field] unknown field spec.port\n" +
				"spec.ports[0].port [type] spec.ports[0].port: expected integer, got string \"80\"\n" +
				"spec.selector [type] spec.selector: expected a map, got a list"},
		{"a list for an object", `{apiVersion: v1, kind: ConfigMap, metadata: [a]}`,
			"metadata [type] metadata: expected a map, got a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := rules(t).Admit(nil, parse(t, c.manifest), nil)
			if got := said(a.Violations); got != c.want || a.Err != nil {
				t.Errorf("err %v\ngot\n%s\nwant\n%s", a.Err, got, c.want)
			}
		})
	}
}

func TestAnUnknownFieldIsAboutItsName(t *testing.T) {
	t.Parallel()
	a := rules(t).Admit(nil, parse(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {"a b": c, d: "e f"}}, dta: {}}`), nil)
	got := map[string]policies.Aspect{}
	for _, v := range a.Violations {
		got[v.Path.String()] = v.At
	}
	want := map[string]policies.Aspect{"dta": policies.AtKey, "metadata.labels[a b]": policies.AtKey, "metadata.labels.d": policies.AtValue}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// live is a Service and a Job as a cluster has them, with what it assigned.
const (
	liveService = `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, uid: u-1, resourceVersion: "7", creationTimestamp: "2026-01-02T03:04:05Z"},
		spec: {type: ClusterIP, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, selector: {app: web}, ports: [{port: 80, targetPort: 80, protocol: TCP}]}}`
	liveJob = `{apiVersion: batch/v1, kind: Job, metadata: {name: job, namespace: shop, uid: u-2, resourceVersion: "7"},
		spec: {completions: 1, parallelism: 1, selector: {matchLabels: {batch.kubernetes.io/controller-uid: u-2}},
		template: {metadata: {labels: {batch.kubernetes.io/controller-uid: u-2, controller-uid: u-2, batch.kubernetes.io/job-name: job, job-name: job}},
		spec: {restartPolicy: Never, containers: [{name: a, image: "a:1"}]}}}}`
	livePod = `{apiVersion: v1, kind: Pod, metadata: {name: pod, namespace: shop, uid: u-3, resourceVersion: "7"},
		spec: {nodeName: n1, priority: 0, preemptionPolicy: PreemptLowerPriority, serviceAccountName: default,
		containers: [{name: a, image: "a:1", volumeMounts: [{name: kube-api-access-x7k2p, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}]}],
		volumes: [{name: kube-api-access-x7k2p, projected: {sources: [{serviceAccountToken: {path: token}}]}}],
		tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}, {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]}}`
)

func TestAManifestIsAppliedOverALiveObject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, live, manifest, want string }{
		{"a Service keeps its address", liveService,
			`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: api}, ports: [{port: 80}]}}`, ""},
		{"a Service gets no other address", liveService,
			`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.8, selector: {app: web}, ports: [{port: 80}]}}`,
			"spec.clusterIPs[0] [immutable]"},
		{"a Service becomes a name elsewhere", liveService,
			`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {type: ExternalName, externalName: db.example.com}}`, ""},
		{"a Job keeps its selector", liveJob,
			`{apiVersion: batch/v1, kind: Job, metadata: {name: job, namespace: shop}, spec: {parallelism: 3, template: {spec: {restartPolicy: Never, containers: [{name: a, image: "a:1"}]}}}}`, ""},
		{"a Job gets no other template", liveJob,
			`{apiVersion: batch/v1, kind: Job, metadata: {name: job, namespace: shop}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: "a:2"}]}}}}`,
			"spec.template [immutable]"},
		{"a Pod keeps its node and its token", livePod,
			`{apiVersion: v1, kind: Pod, metadata: {name: pod, namespace: shop}, spec: {containers: [{name: a, image: "a:2"}]}}`, ""},
		{"a Pod gets no other command", livePod,
			`{apiVersion: v1, kind: Pod, metadata: {name: pod, namespace: shop}, spec: {containers: [{name: a, image: "a:2", command: [b]}]}}`,
			"spec [immutable]"},
		{"another uid", liveService,
			`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, uid: other}, spec: {selector: {app: web}, ports: [{port: 80}]}}`,
			"metadata.uid [immutable]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := rules(t).Admit(nil, parse(t, c.manifest), parse(t, c.live))
			if got := said(a.Violations); a.Err != nil || !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("err %v\ngot  %s\nwant %s", a.Err, got, c.want)
			}
		})
	}
}

func TestWhatReplacesABrokenManifestIsCreated(t *testing.T) {
	t.Parallel()
	good := `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}`
	for name, old := range map[string]string{
		"of a wrong type":       strings.Replace(good, "spec: {selector", "spec: {replicas: many, selector", 1),
		"that was invalid":      strings.Replace(good, "matchLabels: {a: b}", "matchLabels: {a: c}", 1),
		"of a version long ago": strings.Replace(good, "apps/v1,", "apps/v1beta1,", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := rules(t).Admit(nil, parse(t, good), parse(t, old)); a.Err != nil || len(a.Violations) > 0 || !a.Known {
				t.Errorf("err %v\n%s", a.Err, said(a.Violations))
			}
		})
	}
}

func TestAnObjectDoesNotReplaceOneOfAnotherKind(t *testing.T) {
	t.Parallel()
	a := rules(t).Admit(nil, parse(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`), parse(t, `{apiVersion: v1, kind: Secret, metadata: {name: a}}`))
	if a.Err == nil || len(a.Violations) > 0 {
		t.Errorf("err %v\n%s", a.Err, said(a.Violations))
	}
}

func TestStoredLeavesOutWhatStoodInForTheServer(t *testing.T) {
	t.Parallel()
	for _, manifest := range []string{
		`{apiVersion: batch/v1, kind: Job, metadata: {generateName: job-}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}`,
		`{apiVersion: v1, kind: Namespace, metadata: {generateName: ns-}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}}`,
		`{apiVersion: v1, kind: LimitRange, metadata: {namespace: a}, spec: {limits: []}}`,
		`{apiVersion: v1, kind: PersistentVolume, metadata: {name: a}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {schedulingGates: [{name: a/b}], containers: [{name: a, image: a}]}}`,
		`{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: a}, spec: {driver: a.b, nodeName: a, pool: {name: a, generation: 1, resourceSliceCount: 1}, devices: [{name: a, taints: [{key: a, effect: NoSchedule}]}]}}`,
	} {
		o := parse(t, manifest)
		m, err := rules(t).Stored(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range []string{placeholderUID, placeholderSuffix, placeholderIPv4, fmt.Sprint(placeholderPort), "resourceVersion", "lastTransitionTime", "lastPhaseTransitionTime", "timeAdded", `"20`} {
			if strings.Contains(string(text), trace) {
				t.Errorf("%s: stored form has %q: %s", o, trace, text)
			}
		}
	}
}

func TestStoredSaysWhyThereIsNone(t *testing.T) {
	t.Parallel()
	_, err := rules(t).Stored(nil, parse(t, `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: "80"}, {port: x}]}}`))
	var unreadable *UnreadableError
	if !errors.As(err, &unreadable) || len(unreadable.Violations) != 2 {
		t.Fatalf("got %v", err)
	}
	if want := `spec.ports[0].port: expected integer, got string "80" (and 1 more)`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	m, err := rules(t).Stored(nil, parse(t, `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {prts: 1, ports: [{port: 70000}]}}`))
	if err != nil || m["spec"].(map[string]any)["type"] != "ClusterIP" || m["spec"].(map[string]any)["prts"] != nil {
		t.Errorf("an object that can be read has a stored form, whatever else is wrong: %v, %v", m, err)
	}
}

func TestAnswersAreSharedAndMadeOnce(t *testing.T) {
	t.Parallel()
	r, o := rules(t), parse(t, webDeployment)
	old := parse(t, webDeployment)
	first, changed := r.Admit(nil, o, nil), r.Admit(nil, o, old)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if r.Admit(nil, o, nil) != first || r.Admit(nil, o, old) != changed {
				t.Error("the answer was made anew")
			}
			if _, err := r.Stored(nil, o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if first == changed {
		t.Error("creation and update have one answer")
	}
}

func TestHostileObjectsAreToldSoMuch(t *testing.T) {
	t.Parallel()
	spec := map[string]any{}
	for i := range 5000 {
		spec[fmt.Sprintf("f%d", i)] = int64(i)
	}
	var ports []any
	for range 5000 {
		ports = append(ports, map[string]any{"port": int64(-1)})
	}
	spec["ports"] = ports
	o := policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "a"}, "spec": spec}, policies.Origin{}, nil, nil)
	a := rules(t).Admit(nil, o, nil)
	if n := len(a.Violations); n > 2*maxTold+2 || n < maxTold {
		t.Errorf("%d violations", n)
	}
	if got := said(a.Violations); !strings.Contains(got, "4000 more violations are not listed") {
		t.Error("nothing says that there are more")
	}
}

func TestNewKnowsVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"": Native, "1.34": "1.34", "v1.37": "1.37", "1.20": "", "2": "", "latest": ""} {
		r, err := New(version)
		switch {
		case want == "" && err == nil:
			t.Errorf("New(%q): no error", version)
		case want != "" && (err != nil || r.Version() != want):
			t.Errorf("New(%q): %v, %v", version, r, err)
		}
	}
}

func TestResourcesOfKinds(t *testing.T) {
	t.Parallel()
	r := rules(t)
	for _, c := range []struct {
		apiVersion, kind, plural string
		namespaced, known        bool
	}{
		{"apps/v1", "Deployment", "deployments", true, true},
		{"v1", "Namespace", "namespaces", false, true},
		{"networking.k8s.io/v1", "Ingress", "ingresses", true, true},
		{"apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", false, true},
		{"authentication.k8s.io/v1", "TokenReview", "tokenreviews", false, true},
		{"apps/v1", "Deploymint", "", false, false},
		{"extensions/v1beta1", "Ingress", "", false, false},
	} {
		group, version := policies.ParseAPIVersion(c.apiVersion)
		res, namespaced, known := r.Resource(nil, policies.GroupVersionKind{Group: group, Version: version, Kind: c.kind})
		want := policies.Resource{}
		if c.known {
			want = policies.Resource{Group: group, Version: version, Resource: c.plural}
		}
		if res != want || namespaced != c.namespaced || known != c.known {
			t.Errorf("%s %s: %v, %v, %v", c.apiVersion, c.kind, res, namespaced, known)
		}
	}
}

func TestServerAssignedNamesFields(t *testing.T) {
	t.Parallel()
	for _, a := range ServerAssigned(policies.GroupKind{Kind: "Service"}) {
		if len(a.Path) == 0 || a.By == "" {
			t.Errorf("%+v", a)
		}
		if a.Path.String() == "spec.ports.*.nodePort" {
			return
		}
	}
	t.Error("nodePort of a Service is not listed")
}
