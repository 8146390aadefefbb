package openapi

import (
	"encoding/json"
	"slices"
	"testing"

	"gitgate.dev/gitgate/policies"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}, creationTimestamp: null}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 1}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        env: [{name: A, value: a}, {name: B, value: b}]
        ports: [{containerPort: 53, protocol: UDP}, {containerPort: 53}]
        resources: {limits: {cpu: 0.5, memory: 1Gi}, requests: {cpu: 1}}
        readinessProbe: {httpGet: {port: http}, periodSeconds: 5}
status: {}
`

func TestCheckSaysWhereAnObjectHasTheWrongForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, version, native string
		object                string
		want                  []string // rule path: message, and "| fix" when there is one
	}{
		{name: "a good Deployment is left alone", version: "1.36", object: deployment},
		{name: "a misspelt field is unknown, and guessed", version: "1.36", object: `{apiVersion: apps/v1, kind: Deployment, spec: {replica: 1}}`,
			want: []string{`unknown-field spec.replica: field spec.replica is unknown to apps/v1 Deployment | did you mean replicas?`}},
		{name: "a field in the wrong case is unknown", version: "1.36", object: `{apiVersion: v1, kind: Pod, spec: {hostnetwork: true}}`,
			want: []string{`unknown-field spec.hostnetwork: field spec.hostnetwork is unknown to v1 Pod | did you mean hostNetwork?`}},
		{name: "a field of nowhere is unknown, and not guessed", version: "1.36", object: `{apiVersion: v1, kind: Pod, helm: true}`,
			want: []string{`unknown-field helm: field helm is unknown to v1 Pod`}},
		{name: "a field that came later is named with its version", version: "1.34", object: `{apiVersion: v1, kind: Pod, spec: {schedulingGroup: {}}}`,
			want: []string{`unknown-field spec.schedulingGroup: field spec.schedulingGroup of v1 Pod is not in Kubernetes 1.34, only since 1.36`}},
		{name: "a field that went is named so", version: "1.36", object: `{apiVersion: v1, kind: Pod, spec: {workloadRef: {}}}`,
			want: []string{`unknown-field spec.workloadRef: field spec.workloadRef of v1 Pod is not in Kubernetes 1.36, it was in earlier versions`}},
		{name: "a string where a number belongs", version: "1.36", object: `{apiVersion: apps/v1, kind: Deployment, spec: {replicas: "2"}}`,
			want: []string{`type spec.replicas: field spec.replicas is a string, expected a whole number of 32 bits`}},
		{name: "a number that is too great for 32 bits", version: "1.36", object: `{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 3000000000}}`,
			want: []string{`type spec.replicas: field spec.replicas is 3000000000, expected a whole number of 32 bits`}},
		{name: "a fraction where a whole number belongs", version: "1.36", object: `{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 1.5}}`,
			want: []string{`type spec.replicas: field spec.replicas is 1.5, expected a whole number of 32 bits`}},
		{name: "a boolean where int-or-string belongs", version: "1.36", object: `{apiVersion: v1, kind: Service, spec: {ports: [{port: 80, targetPort: true}]}}`,
			want: []string{`type spec.ports[0].targetPort: field spec.ports[0].targetPort is the boolean true, expected a whole number of 32 bits or a string`}},
		{name: "a quantity that is none", version: "1.36", object: `{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, resources: {limits: {memory: 1GB}}}]}}`,
			want: []string{`type spec.containers[0].resources.limits.memory: field spec.containers[0].resources.limits.memory is "1GB", expected a quantity such as 500m, 2 or 1Gi`}},
		{name: "a list where a map belongs", version: "1.36", object: `{apiVersion: v1, kind: Pod, metadata: {labels: [a]}}`,
			want: []string{`type metadata.labels: field metadata.labels is a list, expected a map`}},
		{name: "a number as an annotation", version: "1.36", object: `{apiVersion: v1, kind: Pod, metadata: {annotations: {a/b: 1}}}`,
			want: []string{`type metadata.annotations[a/b]: field metadata.annotations[a/b] is the number 1, expected a string`}},
		{name: "a map where a list belongs", version: "1.36", object: `{apiVersion: v1, kind: Pod, spec: {containers: {name: a}}}`,
			want: []string{`type spec.containers: field spec.containers is a map, expected a list`}},
		{name: "a time that is none", version: "1.36", object: `{apiVersion: v1, kind: Pod, metadata: {deletionTimestamp: tomorrow}}`,
			want: []string{`type metadata.deletionTimestamp: field metadata.deletionTimestamp is "tomorrow", expected a time such as 2006-01-02T15:04:05Z`}},
		{name: "a Secret's data that is not base64 is not told", version: "1.36", object: `{apiVersion: v1, kind: Secret, data: {password: "hunter2!"}}`,
			want: []string{`type data.password: field data.password is no base64 text, expected text in base64`}},
		{name: "two items of one key", version: "1.36", object: `{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, env: [{name: A, value: x}, {name: B}, {name: A, value: z}]}]}}`,
			want: []string{`duplicate spec.containers[0].env[2].name: spec.containers[0].env[2].name is a duplicate, server-side apply refuses the list: "A" is also item 0`}},
		{name: "two items of one key of which a part is its default", version: "1.36", object: `{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, ports: [{containerPort: 80, protocol: TCP}, {containerPort: 80}]}]}}`,
			want: []string{`duplicate spec.containers[0].ports[1]: spec.containers[0].ports[1] is a duplicate, server-side apply refuses the list: containerPort 80 and protocol TCP is also item 0`}},
		{name: "a set with a value twice", version: "1.36", object: `{apiVersion: v1, kind: Pod, metadata: {finalizers: [a/b, c/d, a/b]}}`,
			want: []string{`duplicate metadata.finalizers[2]: metadata.finalizers[2] is a duplicate, server-side apply refuses the list: "a/b" is also item 0`}},
		{name: "nulls are nothing", version: "1.36", object: `{apiVersion: v1, kind: Pod, metadata: null, spec: {containers: null, nodeSelector: {a: null}, tolerations: [null]}}`},
		{name: "what only OpenAPI requires is not missed when the native code knows the kind", version: "1.34", native: "1.36", object: `{apiVersion: apps/v1, kind: Deployment, spec: {}}`},
		{name: "what is required of a kind that the native code does not know is missed", version: "1.37", native: "1.36",
			object: `{apiVersion: resource.k8s.io/v1, kind: DeviceTaintRule, metadata: {name: a}, spec: {taint: {effect: Nothing}}, status: {}}`,
			want: []string{
				`enum spec.taint.effect: field spec.taint.effect is "Nothing", expected NoExecute, NoSchedule or None in Kubernetes 1.37`,
				`required spec.taint.key: field spec.taint.key is missing, expected a string`}},
		{name: "a value that came later is refused in an earlier version", version: "1.34", native: "1.36",
			object: `{apiVersion: v1, kind: Pod, spec: {tolerations: [{key: a, operator: Gt, value: "1"}]}}`,
			want:   []string{`enum spec.tolerations[0].operator: field spec.tolerations[0].operator is "Gt", expected Equal or Exists in Kubernetes 1.34`}},
		{name: "a value that no version has is left to the native code", version: "1.34", native: "1.36",
			object: `{apiVersion: v1, kind: Pod, spec: {tolerations: [{key: a, operator: Is}]}}`},
		{name: "free-form fields are free", version: "1.36", object: `{apiVersion: apps/v1, kind: ControllerRevision, data: {any: [thing, 1, {}]}, revision: 1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := version(t, c.version)
			native := v
			if c.native != "" {
				native = version(t, c.native)
			}
			content := decode(t, c.object)
			apiVersion, _ := content["apiVersion"].(string)
			kind, _ := content["kind"].(string)
			k := v.Kind(gvk(apiVersion, kind))
			if k == nil {
				t.Fatalf("%s %s is not served", apiVersion, kind)
			}
			var got []string
			for _, found := range v.Check(k, content, native) {
				line := found.Rule + " " + found.Path.String() + ": " + found.Message
				if found.Fix != "" {
					line += " | " + found.Fix
				}
				got = append(got, line)
				if (found.Rule == "unknown-field") != (found.At == policies.AtKey) {
					t.Errorf("%s points at the wrong part of the field", line)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("found\n%q, expected\n%q", got, c.want)
			}
		})
	}
}

func TestAMillionWrongValuesAreToldFromTheirBeginning(t *testing.T) {
	t.Parallel()
	labels := map[string]any{}
	for i := range int64(100_000) {
		labels[string(rune('a'+i%26))+string(rune(i))] = i
	}
	v := version(t, "1.36")
	found := v.Check(v.Kind(gvk("v1", "Pod")), map[string]any{"metadata": map[string]any{"labels": labels}}, v)
	if len(found) != maxFound {
		t.Errorf("%d violations, expected %d", len(found), maxFound)
	}
}

// FuzzCheck asks that no content whatever makes the check panic, whichever version judges it.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":1,"ports":[{"containerPort":80},{"containerPort":80}]}]}}`), uint8(0), uint8(2))
	f.Add([]byte(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","spec":{"versions":[{"schema":{"openAPIV3Schema":{"items":[{}]}}}]}}`), uint8(2), uint8(3))
	f.Fuzz(func(t *testing.T, text []byte, minor, native uint8) {
		var content map[string]any
		if json.Unmarshal(text, &content) != nil {
			return
		}
		releases := Releases()
		v := version(t, releases[int(minor)%len(releases)].Minor)
		n := version(t, releases[int(native)%len(releases)].Minor)
		apiVersion, _ := content["apiVersion"].(string)
		kind, _ := content["kind"].(string)
		ks := v.Kinds()
		k := v.Kind(gvk(apiVersion, kind))
		if k == nil {
			k = ks[len(text)%len(ks)]
		}
		for _, found := range v.Check(k, content, n) {
			if found.Message == "" || found.Rule == "" {
				t.Errorf("an empty violation: %+v", found)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	v := version(b, "1.34")
	native := version(b, "1.36")
	content := decode(b, deployment)
	k := v.Kind(gvk("apps/v1", "Deployment"))
	for b.Loop() {
		if found := v.Check(k, content, native); found != nil {
			b.Fatal(found)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		for _, s := range readShapes(4) {
			s.read()
		}
	}
}
