package trace_test

import (
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies/trace"
)

// older is the ReplicaSet of a template that the Deployment had once, scaled down since.
var older = with(replicaSet, "name: web-6d4f\n", "name: web-58c1\n", "uid: r1", "uid: r0", "replicas: 3", "replicas: 0", "web:1.1.0", "web:1.0.0", "pod-template-hash: 6d4f", "pod-template-hash: 58c1")

func TestWhatWasDeclaredOnceIsNotMadeAgainByAController(t *testing.T) {
	sa := func(name string) string { return "system:serviceaccount:kube-system:" + name }
	lives := func(manifests ...string) func(*world) { return func(w *world) { w.runs(t, manifests...) } }
	scaled := func(rs, from, to string) request {
		return request{user: depUser, old: rs, object: with(rs, "replicas: "+from, "replicas: "+to)}
	}
	for _, tc := range []struct {
		name  string
		q     request
		want  string
		world func(*world)
	}{
		{"a ReplicaSet of an older template that has no replicas gets some", scaled(older, "0", "1"), "[derived] ReplicaSet shop/web-58c1 has an older template of Deployment shop/web and no replicas", nil},
		{"a ReplicaSet of an older template while the Deployment is paused", scaled(older, "0", "3"), "derived", func(w *world) {
			w.live[0] = object(t, with(liveDeployment, "  replicas: 3", "  replicas: 3\n  paused: true"))
		}},
		{"a ReplicaSet of an older template that still has replicas, when the Deployment grows", scaled(with(older, "replicas: 0", "replicas: 1"), "1", "3"), "derived", nil},
		{"a ReplicaSet of an older template that gets more than the Deployment has", scaled(with(older, "replicas: 0", "replicas: 1"), "1", "9"), "[derived] ReplicaSet shop/web-58c1 is scaled to 9, and Deployment shop/web has 4 replicas at most", nil},
		{"a ReplicaSet of an older template that is scaled down", scaled(with(older, "replicas: 0", "replicas: 9"), "9", "0"), "derived", nil},
		{"a ReplicaSet of the present template", scaled(with(replicaSet, "replicas: 3", "replicas: 0"), "0", "3"), "derived", nil},
		{"a ReplicaSet of the present template that surges", scaled(with(replicaSet, "replicas: 3", "replicas: 1"), "1", "4"), "derived", nil},
		{"a ReplicaSet of the present template that gets more than the Deployment has", scaled(replicaSet, "3", "30"), "is scaled to 30, and Deployment shop/web has 4 replicas at most", nil},
		{"a surge that the Deployment does not let be", scaled(replicaSet, "3", "4"), "has 3 replicas at most", func(w *world) {
			w.live[0] = object(t, with(liveDeployment, "  replicas: 3", "  replicas: 3\n  strategy: {type: Recreate}"))
		}},
		{"a new ReplicaSet of more replicas than the Deployment has", request{user: depUser, object: with(replicaSet, "replicas: 3", "replicas: 1000")}, "[derived] ReplicaSet shop/web-6d4f: Deployment shop/web makes no ReplicaSet of more than 4 replicas", nil},
		{"a Pod of a ReplicaSet that has no replicas", request{user: rsUser, object: with(pod, "name: web-6d4f-abcde", "name: web-58c1-abcde", "name: web-6d4f, uid: r1", "name: web-58c1, uid: r0", "pod-template-hash: 6d4f", "pod-template-hash: 58c1", "web:1.1.0", "web:1.0.0")}, "[derived] Pod shop/web-58c1-abcde: ReplicaSet shop/web-58c1 has no replicas", lives(older)},
		{"a StatefulSet's Pod of a revision that is neither the current nor the next", request{user: sa("statefulset-controller"), object: with(dbPod, "db-2", "db-0b", "db:2", "db:0")}, "[derived] spec.containers[0].image", lives(with(revision1, "name: db-1", "name: db-0b", "db:1", "db:0"))},
		{"a StatefulSet's Pod beyond its replicas", request{user: sa("statefulset-controller"), object: strings.ReplaceAll(strings.ReplaceAll(dbPod, "db-0", "db-7"), "\"0\"", "\"7\"")}, "[derived] Pod shop/db-7: StatefulSet shop/db has 1 replicas, numbered from 0 on", nil},
		{"a Job of a CronJob that is suspended", request{user: sa("cronjob-controller"), object: cronsJob}, "[derived] Job shop/cj-1: CronJob shop/cj is suspended", func(w *world) {
			w.live[2] = object(t, with(cronJob, "schedule:", "suspend: true, schedule:"))
		}},
		{"a Pod of a Job that has finished", request{user: sa("job-controller"), object: jobsPod}, "[derived] Pod shop/cj-1-x: Job shop/cj-1 has finished", func(w *world) {
			w.live[3] = object(t, cronsJob+"status: {conditions: [{type: Complete, status: \"True\"}]}\n")
		}},
		{"a Pod of a Job that has not", request{user: sa("job-controller"), object: jobsPod}, "derived", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := cluster(t)
			if tc.world != nil {
				tc.world(w)
			}
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}

const jobsPod = `apiVersion: v1
kind: Pod
metadata:
  name: cj-1-x
  generateName: cj-1-
  namespace: shop
  labels: {batch.kubernetes.io/controller-uid: j1, job-name: cj-1}
  finalizers: [batch.kubernetes.io/job-tracking]
  ownerReferences: [{apiVersion: batch/v1, kind: Job, name: cj-1, uid: j1, controller: true}]
spec: {restartPolicy: Never, containers: [{name: a, image: x}]}
`

func TestOwnersThatCannotBeToldApartAreAnEdit(t *testing.T) {
	const twice = "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: gone, uid: u1}, {apiVersion: v1, kind: Secret, name: gone, uid: u1}], "
	owned := with(liveDeployment, "{name: web", "{"+twice+"name: web")
	migrator := "system:serviceaccount:kube-system:storage-version-migrator-controller"
	for _, tc := range []struct {
		name string
		q    request
		want string
	}{
		{"a controller that numbers rollouts", request{user: depUser, old: liveDeployment, object: owned}, "[derived] metadata.ownerReferences: is changed"},
		{"a controller that changes nothing", request{user: migrator, old: liveDeployment, object: owned}, "[derived] metadata.ownerReferences: is changed"},
		{"a controller that leaves them as they are", request{user: migrator, old: owned, object: owned}, "derived"},
		{"the garbage collector", request{user: gcUser, old: liveDeployment, object: owned}, "[derived] metadata.ownerReferences: is changed"},
		{"a writer of one field", request{user: "scaler", old: liveDeployment, object: owned}, "[writer] scaler may not change Deployment shop/web"},
		{"a reconciler that takes them away", request{user: fluxUser, old: owned, object: liveDeployment}, "metadata.ownerReferences: is taken away"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPolicy(t, cluster(t), func(o *trace.Options) {
				o.Writers = []trace.Writer{{Name: "scaler", Users: []string{"scaler"}, Writes: []trace.Write{{Kinds: []string{"Deployment"}, Fields: []string{"spec.replicas"}}}}}
			})
			check(t, answer(p.Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}

func TestManyDifferencesThatAWriterMayMakeHideNoOther(t *testing.T) {
	istio := []trace.Writer{{Name: "istio", Users: []string{rsUser, fluxUser}, Writes: []trace.Write{{Kinds: []string{"Pod", "ConfigMap"}, Fields: []string{"metadata.annotations[sidecar.istio.io/*]"}}}}}
	noise := &strings.Builder{}
	for i := range 300 {
		fmt.Fprintf(noise, "sidecar.istio.io/n%d: x, ", i)
	}
	w := cluster(t)
	w.live[1] = object(t, with(replicaSet, "  template:\n    metadata: {", "  template:\n    metadata: {annotations: {a: b}, "))
	p := newPolicy(t, w, func(o *trace.Options) { o.Writers = istio })
	noisy := with(pod, "  generateName", "  annotations: {"+noise.String()+"a: b}\n  generateName")
	check(t, answer(p.Judge(t.Context(), request{user: rsUser, object: with(noisy, "web:1.1.0", "evil:1")}.change(t))), "[derived] Pod shop/web-6d4f-abcde has more than 200 fields that are not what ReplicaSet shop/web-6d4f makes")

	w.declares(t, apps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: noisy, namespace: shop, annotations: {a: b}}\ndata: {x: \"1\"}\n")
	evil := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: noisy, namespace: shop, annotations: {" + noise.String() + "a: b}}\ndata: {x: \"2\"}\nimmutable: true\n"
	check(t, answer(p.Judge(t.Context(), request{user: fluxUser, object: evil}.change(t))), "[field] data.x: \"2\" is not what Git declares")
	check(t, answer(p.Judge(t.Context(), request{user: fluxUser, object: with(evil, "data: {x: \"2\"}", "data: {x: \"1\"}", "immutable: true", "zone: evil")}.change(t))), "[field] ConfigMap shop/noisy has more than 200 fields that are not what Git declares")
}

func TestManyEditsHideNoneOfMetadata(t *testing.T) {
	many := &strings.Builder{}
	for i := range 1200 {
		fmt.Fprintf(many, "k%d: \"1\", ", i)
	}
	w := cluster(t)
	old := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf, namespace: shop, finalizers: [example.com/hold]}\ndata: {" + many.String() + "a: \"1\"}\n"
	check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), request{user: fluxUser, old: old, object: another}.change(t))), "metadata.finalizers[example.com/hold]: is taken away")
	hpa := with(scale, "spec: {", "extra: {"+many.String()+"}\nspec: {")
	check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), request{user: hpaUser, res: "deployments.apps/scale", old: scale, object: hpa}.change(t))), "[derived] Deployment shop/web is changed in more than 1000 fields")
}

func TestARoleThatAggregatesOthersGetsTheirRulesAlone(t *testing.T) {
	const (
		user  = "system:serviceaccount:kube-system:clusterrole-aggregation-controller"
		view  = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: view}\naggregationRule: {clusterRoleSelectors: [{matchLabels: {to-view: \"true\"}, matchExpressions: [{key: hidden, operator: DoesNotExist}]}]}\n"
		read  = "{apiGroups: [apps], resources: [deployments], verbs: [get]}"
		all   = "{apiGroups: ['*'], resources: ['*'], verbs: ['*']}"
		rules = "rules: ["
	)
	role := func(name, labels, rule string) string {
		return "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: " + name + ", labels: {" + labels + "}}\nrules: [" + rule + "]\n"
	}
	for _, tc := range []struct {
		name     string
		old, now string
		want     string
		world    func(*world)
	}{
		{"the rule of a role that it selects", view, view + rules + read + "]\n", "derived", nil},
		{"a rule that was there", view + rules + all + "]\n", view + rules + all + ", " + read + "]\n", "derived", nil},
		{"a rule that goes", view + rules + all + "]\n", view, "derived", nil},
		{"everything", view, view + rules + all + "]\n", `[derived] rules: ClusterRole view gets {"apiGroups":["*"],"resources":["*"],"verbs":["*"]}, which no role has that it aggregates`, nil},
		{"the rule of a role that it excludes", view, view + rules + strings.ReplaceAll(read, "get", "delete") + "]\n", "[derived] rules: ClusterRole view gets", nil},
		{"another selector", view, with(view, "to-view", "to-all"), "[derived] aggregationRule", nil},
		{"a role that aggregates nothing", role("plain", "a: b", read), role("plain", "a: b", all), "[derived] ClusterRole plain aggregates no other roles", nil},
		{"roles that cannot be looked up", view, view + rules + read + "]\n", "could not judge: roles that ClusterRole view aggregates: could not be looked up: connection refused", func(w *world) { w.lookErr = errDown }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := cluster(t)
			w.runs(t, role("readers", "to-view: \"true\"", read), role("admins", "to-admin: \"true\"", all), role("hidden", "to-view: \"true\", hidden: x", strings.ReplaceAll(read, "get", "delete")), role("view", "to-view: \"true\"", all))
			if tc.world != nil {
				tc.world(w)
			}
			q := request{user: user, old: tc.old, object: tc.now}
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), q.change(t))), tc.want)
		})
	}
}
