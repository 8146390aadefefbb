package kyverno_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno"
)

func decode(t testing.TB, file, text string) []*policies.Object {
	t.Helper()
	objects, problems := manifest.Decode(file, []byte(text), manifest.DefaultLimits())
	for _, p := range problems {
		t.Fatalf("%s: %s", file, p.Message)
	}
	return objects
}

func compile(t testing.TB, o kyverno.Options, text string) ([]*policies.Policy, error) {
	t.Helper()
	var docs []policies.Document
	for _, o := range decode(t, "policy.yaml", text) {
		docs = append(docs, policies.Document{File: "policy.yaml", Object: o})
	}
	return kyverno.Compiler(o)(context.Background(), docs)
}

func engine(t testing.TB, text string) *policies.Engine {
	t.Helper()
	compiled, err := compile(t, kyverno.Options{}, text)
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.New(compiled, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// validate is a ClusterPolicy p of one rule r: the kinds that it matches, and what stands below the rule.
func validate(kinds, body string) string {
	return `apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: p}
spec:
  validationFailureAction: Enforce
  rules:
  - name: r
    match: {any: [{resources: {kinds: [` + kinds + `]}}]}
` + indent(body, "    ")
}

func indent(text, by string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = by + l
	}
	return strings.Join(lines, "\n") + "\n"
}

// door makes the change that a test asks about.
type door func(*policies.Change)

func creation(o *policies.Object) *policies.Change {
	namespace := o.Namespace
	plural := strings.ToLower(o.Kind.Kind) + "s"
	return &policies.Change{Operation: policies.Create, Object: o, Namespace: namespace, Namespaced: namespace != "",
		Resource: policies.Resource{Group: o.Kind.Group, Version: o.Kind.Version, Resource: plural}}
}

// told is what an engine says of an object: each result in one line.
func told(t testing.TB, e *policies.Engine, text string, doors ...door) []string {
	t.Helper()
	c := creation(decode(t, "object.yaml", text)[0])
	for _, d := range doors {
		d(c)
	}
	var out []string
	for _, r := range e.Decide(context.Background(), c).Results {
		switch r.Outcome {
		case policies.Violated:
			for _, v := range r.Finding.Violations {
				out = append(out, fmt.Sprintf("%s %s/%s: %s (%s)", r.Policy.Action, r.Policy.Name, v.Rule, v.Message, v.Path))
			}
		case policies.Deferred:
			out = append(out, "deferred: "+r.Missing)
		case policies.Failed:
			out = append(out, "failed: "+r.Err.Error())
		case policies.Skipped:
			out = append(out, "skipped: "+r.Finding.Skipped)
		default:
			out = append(out, r.Outcome.String())
		}
	}
	slices.Sort(out)
	return out
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("told\n\t%s\nexpected\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

const pod = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web, tier: front}, annotations: {note: hello}}
spec:
  hostNetwork: true
  containers:
  - {name: a, image: "registry.example.com/a:1.2", resources: {limits: {memory: 512Mi, cpu: 500m}}}
  - {name: b, image: "b:latest", ports: [{containerPort: 80}]}
`

const volumes = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  containers: [{name: a, image: "a:1"}]
  volumes: [{name: log, hostPath: {path: /var/log}}, {name: run, hostPath: {path: /var/run}}]
`

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: a, image: "a:latest"}
`

const cronJob = `apiVersion: batch/v1
kind: CronJob
metadata: {name: night, namespace: shop}
spec:
  schedule: "0 1 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: a, image: "a:latest"}
`

func TestRules(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, kinds, body, object string
		want                      []string
	}{
		{"a pattern that matches passes", "Pod", `validate: {message: m, pattern: {metadata: {labels: {app: "?*"}}}}`, pod, []string{"passed"}},
		{"a pattern that does not match is told with the policy's message and at its field", "Pod",
			`validate: {message: "the label owner is needed", pattern: {metadata: {labels: {owner: "?*"}}}}`, pod,
			[]string{"deny p/r: the label owner is needed (metadata.labels.owner)"}},
		{"a pattern without a message is told as Kyverno tells it", "Pod", `validate: {pattern: {metadata: {labels: {owner: "?*"}}}}`, pod,
			[]string{"deny p/r: validation error: rule r failed at path /metadata/labels/owner/ (metadata.labels.owner)"}},
		{"a pattern for all elements names the one that breaks it", "Pod", `validate: {message: m, pattern: {spec: {containers: [{image: "!*:latest"}]}}}`, pod,
			[]string{"deny p/r: m (spec.containers[1].image)"}},
		{"a conditional anchor chooses elements", "Pod", `validate: {message: m, pattern: {spec: {containers: [{(image): "registry.*", resources: {limits: {memory: "<=1Gi"}}}]}}}`, pod, []string{"passed"}},
		{"an equality anchor asks what is there", "Pod", `validate: {message: m, pattern: {spec: {=(hostNetwork): false}}}`, pod, []string{"deny p/r: m (spec.hostNetwork)"}},
		{"a negation anchor forbids", "Pod", `validate: {message: m, pattern: {spec: {X(hostNetwork): "null"}}}`, pod, []string{"deny p/r: m (spec.hostNetwork)"}},
		{"a pattern whose condition does not hold skips", "Pod", `validate: {message: m, pattern: {metadata: {labels: {(app): other}}, spec: {x: y}}}`, pod, nil},
		{"wildcards in label names are filled in", "Pod", `validate: {message: m, pattern: {metadata: {labels: {"ti*": "front"}}}}`, pod, []string{"passed"}},
		{"operators of patterns compare quantities", "Pod", `validate: {message: m, pattern: {spec: {containers: [{(name): a, resources: {limits: {cpu: "<400m"}}}]}}}`, pod,
			[]string{"deny p/r: m (spec.containers[0].resources.limits.cpu)"}},
		{"anyPattern passes with one of them", "Pod", `validate: {message: m, anyPattern: [{spec: {hostPID: true}}, {spec: {hostNetwork: true}}]}`, pod, []string{"passed"}},
		{"anyPattern without any is told once", "Pod", `validate: {message: m, anyPattern: [{spec: {hostNetwork: false}}, {metadata: {labels: {app: x}}}]}`, pod,
			[]string{"deny p/r: m (spec.hostNetwork)"}},
		{"deny denies when its conditions hold", "Pod", `validate: {message: "no {{ request.object.metadata.name }}", deny: {conditions: {all: [{key: "{{ request.object.spec.hostNetwork }}", operator: Equals, value: true}]}}}`, pod,
			[]string{"deny p/r: no web (spec.hostNetwork)"}},
		{"deny of the old form wants all conditions", "Pod", `validate: {message: m, deny: {conditions: [{key: "{{ request.operation }}", operator: Equals, value: CREATE}, {key: a, operator: Equals, value: b}]}}`, pod, []string{"passed"}},
		{"messages of conditions are joined", "Pod", `validate: {message: m, deny: {conditions: {any: [{key: a, operator: Equals, value: a, message: "a is {{ request.operation }}"}]}}}`, pod,
			[]string{"deny p/r: m; a is CREATE ()"}},
		{"preconditions that do not hold skip", "Pod", "preconditions: {all: [{key: \"{{ request.operation }}\", operator: Equals, value: DELETE}]}\nvalidate: {message: m, deny: {}}", pod,
			[]string{"skipped: rule r: preconditions are not met"}},
		{"foreach names the element", "Pod", `validate: {message: "image {{ element.image }} at {{ elementIndex }}", foreach: [{list: request.object.spec.containers, pattern: {image: "*:*.*"}}]}`, pod,
			[]string{"deny p/r: image b:latest at 1 (spec.containers[1].image)"}},
		{"foreach with deny points at the element's field", "Pod", `validate: {message: m, foreach: [{list: "request.object.spec.containers[]", deny: {conditions: {any: [{key: "{{ element.image }}", operator: Equals, value: "*:latest"}]}}}]}`, pod,
			[]string{"deny p/r: m (spec.containers[1].image)"}},
		{"foreach over several lists finds its elements again", "Pod", `validate: {message: m, foreach: [{list: "request.object.spec.[initContainers, containers][]", pattern: {name: a}}]}`, pod,
			[]string{"deny p/r: m (spec.containers[1].name)"}},
		{"foreach has preconditions of its own", "Pod", `validate: {message: m, foreach: [{list: request.object.spec.containers, preconditions: {all: [{key: "{{ element.name }}", operator: Equals, value: a}]}, pattern: {image: "registry.*"}}]}`, pod, []string{"passed"}},
		{"foreach is nested", "Pod", `validate: {message: "{{ element0.name }} {{ element1.containerPort }}", foreach: [{list: request.object.spec.containers, foreach: [{list: "element.ports || ` + "`[]`" + `", deny: {conditions: {all: [{key: "{{ element.containerPort }}", operator: LessThan, value: 1024}]}}}]}]}`, pod,
			[]string{"deny p/r: b 80 (spec.containers[1].ports[0].containerPort)"}},
		{"foreach over what is not there has nothing to say", "Pod", `validate: {message: m, foreach: [{list: request.object.spec.nothing, deny: {}}]}`, pod,
			[]string{"skipped: rule r: its lists are empty"}},
		{"elementScope false asks the pattern of the object", "Pod", `validate: {message: m, foreach: [{list: request.object.spec.containers, elementScope: false, pattern: {metadata: {labels: {app: web}}}}]}`, pod, []string{"passed"}},
		{"variables fill in patterns", "Pod", `validate: {message: m, pattern: {metadata: {labels: {app: "{{ request.object.metadata.name }}"}}}}`, pod, []string{"passed"}},
		{"a variable of the context is made when it is named", "Pod", "context:\n- {name: low, variable: {value: 1024}}\n- {name: ports, variable: {jmesPath: \"request.object.spec.containers[].ports[].containerPort\"}}\nvalidate: {message: m, deny: {conditions: {any: [{key: \"{{ ports[?@ < `1024`] | length(@) }}\", operator: GreaterThan, value: 0}]}}}", pod,
			[]string{"deny p/r: m ()"}},
		{"a jmesPath that a variable makes a list of is no JMESPath", "Pod", "context:\n- {name: pics, variable: {jmesPath: '{{ request.object.spec.containers[].image }}'}}\nvalidate: {message: m, deny: {conditions: {all: [{key: \"{{ pics }}\", operator: AnyNotIn, value: [a]}]}}}", pod,
			[]string{"failed: rule r: deny conditions: variable {{ pics }}: context entry pics: jmesPath \"{{ request.object.spec.containers[].image }}\" becomes no text: expected a text that is JMESPath"}},
		{"a default stands in for what is not there", "Pod", "context:\n- {name: team, variable: {jmesPath: request.object.metadata.labels.team, default: none}}\nvalidate: {message: \"team {{ team }}\", deny: {conditions: {any: [{key: \"{{ team }}\", operator: Equals, value: none}]}}}", pod,
			[]string{"deny p/r: team none ()"}},
		{"images have their parts", "Pod", `validate: {message: m, foreach: [{list: request.object.spec.containers, deny: {conditions: {any: [{key: "{{ images.containers.\"{{element.name}}\".registry }}", operator: NotEquals, value: registry.example.com}]}}}]}`, pod,
			[]string{"deny p/r: m (spec.containers[1])"}},
		{"functions of Kyverno's are there", "Pod", `validate: {message: m, deny: {conditions: {any: [{key: "{{ to_upper(request.object.metadata.name) }}", operator: Equals, value: WEB}]}}}`, pod,
			[]string{"deny p/r: m ()"}},
		{"a variable that is not there cannot be judged", "Pod", `validate: {message: m, deny: {conditions: {any: [{key: "{{ request.object.spec.nothing }}", operator: Equals, value: x}]}}}`, pod,
			[]string{"failed: rule r: deny conditions: variable {{ request.object.spec.nothing }}: Unknown key \"nothing\" in path"}},
		{"an API call is deferred by name", "Pod", "context:\n- {name: all, apiCall: {urlPath: /api/v1/pods}}\nvalidate: {message: m, deny: {conditions: {any: [{key: \"{{ all }}\", operator: Equals, value: x}]}}}", pod,
			[]string{"deferred: an API call (context entry all)"}},
		{"a rule for Pods is made for Deployments", "Pod", `validate: {message: m, pattern: {spec: {containers: [{image: "!*:latest"}]}}}`, deployment,
			[]string{"deny p/autogen-r: m (spec.template.spec.containers[0].image)"}},
		{"and for CronJobs", "Pod", `validate: {message: m, pattern: {spec: {containers: [{image: "!*:latest"}]}}}`, cronJob,
			[]string{"deny p/autogen-cronjob-r: m (spec.jobTemplate.spec.template.spec.containers[0].image)"}},
		{"its variables look into the template", "Pod", `validate: {message: "{{ request.object.spec.containers[0].image }}", foreach: [{list: request.object.spec.containers, deny: {conditions: {any: [{key: "{{ element.image }}", operator: Equals, value: "*:latest"}]}}}]}`, cronJob,
			[]string{"deny p/autogen-cronjob-r: a:latest (spec.jobTemplate.spec.template.spec.containers[0].image)"}},
		{"Pods beside other kinds stay Pods", "Pod, Service", `validate: {message: m, pattern: {spec: {containers: [{image: "!*:latest"}]}}}`, deployment, nil},
		{"kinds have versions, groups and wildcards", "apps/v1/Dep*", `validate: {message: m, pattern: {spec: {replicas: ">=3"}}}`, deployment, []string{"deny p/r: m (spec.replicas)"}},
		{"another version does not match", "apps/v1beta1/Deployment", `validate: {message: m, pattern: {spec: {replicas: ">=3"}}}`, deployment, nil},
		{"podSecurity judges Pods", "Pod", `validate: {podSecurity: {level: baseline, version: latest}}`, pod,
			[]string{`deny p/r: Validation rule 'r' failed. It violates PodSecurity "baseline:latest": (Forbidden reason: host namespaces, hostNetwork=true) (spec)`}},
		{"podSecurity excludes a control", "Pod", `validate: {podSecurity: {level: baseline, version: latest, exclude: [{controlName: Host Namespaces}]}}`, pod, []string{"passed"}},
		{"podSecurity excludes only the field that is named", "Pod", `validate: {podSecurity: {level: baseline, version: latest, exclude: [{controlName: Host Namespaces, restrictedField: spec.hostPID}]}}`, pod,
			[]string{`deny p/r: Validation rule 'r' failed. It violates PodSecurity "baseline:latest": (Forbidden reason: host namespaces, hostNetwork=true) (spec)`}},
		{"podSecurity excludes only the values that are named", "Pod", `validate: {podSecurity: {level: baseline, version: latest, exclude: [{controlName: HostPath Volumes, restrictedField: "spec.volumes[*].hostPath", values: [/var/log]}]}}`, volumes,
			[]string{`deny p/r: Validation rule 'r' failed. It violates PodSecurity "baseline:latest": (Forbidden reason: hostPath volumes, volume "run") (spec)`}},
		{"lists that functions make are lists", "Pod", "context:\n- {name: pairs, variable: {value: {a: 1}, jmesPath: \"items(@, 'key', 'value')\"}}\nvalidate: {message: m, deny: {conditions: {all: [{key: \"{{ pairs }}\", operator: NotEquals, value: [{key: a, value: 1}]}]}}}", pod, []string{"passed"}},
		{"podSecurity judges the Pods of workloads", "Pod", `validate: {podSecurity: {level: restricted, version: latest, exclude: [{controlName: Seccomp}, {controlName: Seccomp, images: ["*"]}, {controlName: Capabilities, images: ["*"]}, {controlName: Privilege Escalation, images: ["*"]}]}}`, deployment,
			[]string{`deny p/autogen-r: Validation rule 'autogen-r' failed. It violates PodSecurity "restricted:latest": (Forbidden reason: runAsNonRoot != true, pod or container "a" must set securityContext.runAsNonRoot=true) (spec.template.spec)`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := told(t, engine(t, validate(tc.kinds, tc.body)), tc.object)
			if tc.want == nil && len(got) == 1 && strings.HasPrefix(got[0], "skipped: ") {
				got = nil
			}
			expect(t, got, tc.want...)
		})
	}
}

// places lists the errors of a compilation, sorted by place.
func places(err error) []string {
	var all []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	} else if err != nil {
		all = []error{err}
	}
	var out []string
	for _, e := range all {
		var at *policies.PositionError
		if errors.As(e, &at) {
			out = append(out, fmt.Sprintf("%03d:%03d %v", at.Pos.Line, at.Pos.Column, at.Err))
		} else {
			out = append(out, e.Error())
		}
	}
	slices.Sort(out)
	return out
}

// JMESPath's sort_by sorts the list that it is given, in place: it must not be a list of the object, which other policies judge.
func TestAPolicyThatSortsLeavesTheObjectAsItIs(t *testing.T) {
	t.Parallel()
	e := engine(t, validate("Pod", `
validate:
  message: "first is {{ sort_by(request.object.spec.containers, &name)[0].name }}"
  deny: {}
`))
	pod := decode(t, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: n}\nspec: {containers: [{name: z, image: i}, {name: b, image: i}]}\n")[0]
	d := e.Decide(t.Context(), creation(pod))
	if got := d.Results[0].Finding.Violations; len(got) != 1 || got[0].Message != "first is b" {
		t.Fatalf("told %+v", d.Results[0])
	}
	for i, want := range []string{"z", "b"} {
		if got, _ := policies.Lookup(pod.Map(), policies.Path{"spec", "containers", i, "name"}); got != want {
			t.Errorf("container %d is %v, want %s", i, got, want)
		}
	}
	other := engine(t, validate("Pod", `
validate:
  message: "first is {{ request.object.spec.containers[0].name }}"
  deny: {}
`))
	if d := other.Decide(t.Context(), creation(pod)); len(d.Results[0].Finding.Violations) != 1 || d.Results[0].Finding.Violations[0].Message != "first is z" {
		t.Errorf("another policy told %+v", d.Results[0].Finding)
	}
}
