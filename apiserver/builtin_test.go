package apiserver

import (
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/verdicts"
)

// parse makes an object of a manifest, numbers as the reader of manifests has them.
func parse(t testing.TB, manifest string) *policies.Object {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatalf("manifest of the test: %v", err)
	}
	var m map[string]any
	if err := utiljson.Unmarshal(text, &m); err != nil {
		t.Fatalf("manifest of the test: %v", err)
	}
	return policies.NewObject(m, policies.Origin{File: "test.yaml", Line: 1}, nil, nil)
}

func rules(t testing.TB) *Rules {
	t.Helper()
	r, err := New("")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// said lists the violations as "path [rule] message".
func said(violations []policies.Violation) string {
	var lines []string
	for _, v := range violations {
		line := v.Path.String() + " [" + v.Rule + "] " + v.Message
		if v.Fix != "" {
			line += " (" + v.Fix + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

const webDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app.kubernetes.io/name: web, app.kubernetes.io/part-of: shop}
  annotations: {example.com/owner: team-shop}
spec:
  replicas: 3
  revisionHistoryLimit: 5
  selector:
    matchLabels: {app.kubernetes.io/name: web}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}
  template:
    metadata:
      labels: {app.kubernetes.io/name: web, app.kubernetes.io/part-of: shop}
      annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080"}
    spec:
      serviceAccountName: web
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 45
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        fsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {matchLabels: {app.kubernetes.io/name: web}}
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector: {matchLabels: {app.kubernetes.io/name: web}}
      initContainers:
        - name: migrate
          image: registry.example.com/shop/web:1.4.2
          command: [/bin/web, migrate]
          env: [{name: DB_HOST, value: db.shop.svc}]
      containers:
        - name: web
          image: registry.example.com/shop/web:1.4.2
          imagePullPolicy: IfNotPresent
          args: [--listen=:8080, --log=json]
          ports:
            - {name: http, containerPort: 8080}
            - {name: metrics, containerPort: 9090, protocol: TCP}
          env:
            - {name: DB_HOST, value: db.shop.svc}
            - name: DB_PASSWORD
              valueFrom: {secretKeyRef: {name: db, key: password}}
            - name: POD_NAME
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
          envFrom: [{configMapRef: {name: web}}]
          resources:
            requests: {cpu: 100m, memory: 128Mi}
            limits: {cpu: "1", memory: 512Mi}
          readinessProbe:
            httpGet: {path: /ready, port: http}
            periodSeconds: 5
          livenessProbe:
            httpGet: {path: /live, port: 8080}
            initialDelaySeconds: 10
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            - {name: config, mountPath: /etc/web, readOnly: true}
        - name: proxy
          image: registry.example.com/infra/proxy@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
          ports: [{name: proxy, containerPort: 15001}]
          resources:
            requests: {cpu: 10m, memory: 32Mi}
            limits: {memory: 64Mi}
      volumes:
        - name: tmp
        - name: config
          configMap: {name: web, items: [{key: web.yaml, path: web.yaml}]}
`

func TestAGoodDeploymentIsTakenAndDefaulted(t *testing.T) {
	t.Parallel()
	r, o := rules(t), parse(t, webDeployment)
	a := r.Admit(nil, o, nil)
	if a.Err != nil || !a.Known || len(a.Violations) > 0 || len(a.Warnings) > 0 {
		t.Fatalf("err %v, known %v\n%s\n%s", a.Err, a.Known, said(a.Violations), said(a.Warnings))
	}
	m, err := r.Stored(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"spec.progressDeadlineSeconds":                          int64(600),
		"spec.template.spec.volumes[0].emptyDir":                map[string]any{},
		"spec.template.spec.volumes[1].configMap.defaultMode":   int64(420),
		"spec.template.spec.containers[0].ports[0].protocol":    "TCP",
		"spec.template.spec.containers[1].imagePullPolicy":      "IfNotPresent",
		"spec.template.spec.containers[0].resources.limits.cpu": "1",
		"spec.template.spec.serviceAccount":                     "web",
		"status":                                                map[string]any{},
	} {
		got, ok := policies.Lookup(m, policies.ParsePath(path))
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, want %#v", path, got, want)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	r := rules(b)
	o := parse(b, webDeployment)
	b.ReportAllocs()
	for b.Loop() {
		if a := r.Admit(nil, o.WithStored(nil), nil); a.Err != nil || len(a.Violations) > 0 {
			b.Fatal(a.Err, said(a.Violations))
		}
	}
}

func BenchmarkStored(b *testing.B) {
	r := rules(b)
	o := parse(b, webDeployment)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Stored(nil, o.WithStored(nil)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAdmitKinds judges the first good object of each kind of the table.
func BenchmarkAdmitKinds(b *testing.B) {
	cases, err := verdicts.All()
	if err != nil {
		b.Fatal(err)
	}
	r, done := rules(b), map[policies.GroupVersionKind]bool{}
	for _, c := range cases {
		o := policies.NewObject(c.Object, policies.Origin{}, nil, nil)
		if len(c.Want) > 0 || c.Old != nil || done[o.Kind] {
			continue
		}
		done[o.Kind] = true
		b.Run(o.Kind.Kind+"."+o.Kind.APIVersion(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Admit(nil, o.WithStored(nil), nil)
			}
		})
	}
}
