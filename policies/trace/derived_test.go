package trace_test

import (
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

const (
	liveDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1, labels: {app: web}, annotations: {team: a, kubectl.kubernetes.io/last-applied-configuration: "{}"}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "registry.example.com/web:1.1.0"}]
`
	replicaSet = `apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: web-6d4f
  namespace: shop
  uid: r1
  labels: {app: web, pod-template-hash: 6d4f}
  annotations: {team: a, deployment.kubernetes.io/revision: "1"}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1, controller: true, blockOwnerDeletion: true}]
spec:
  replicas: 3
  selector: {matchLabels: {app: web, pod-template-hash: 6d4f}}
  template:
    metadata: {labels: {app: web, pod-template-hash: 6d4f}}
    spec:
      containers: [{name: web, image: "registry.example.com/web:1.1.0"}]
`
	pod = `apiVersion: v1
kind: Pod
metadata:
  name: web-6d4f-abcde
  generateName: web-6d4f-
  namespace: shop
  labels: {app: web, pod-template-hash: 6d4f}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-6d4f, uid: r1, controller: true, blockOwnerDeletion: true}]
spec:
  serviceAccountName: default
  serviceAccount: default
  priority: 0
  preemptionPolicy: PreemptLowerPriority
  enableServiceLinks: true
  tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]
  volumes:
    - name: kube-api-access-x1
      projected:
        defaultMode: 420
        sources:
          - serviceAccountToken: {expirationSeconds: 3607, path: token}
          - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
          - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
  containers:
    - name: web
      image: registry.example.com/web:1.1.0
      volumeMounts: [{name: kube-api-access-x1, readOnly: true, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]
`
	node = `apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {kubernetes.io/hostname: node-1}}
spec: {taints: [{key: mine, effect: NoSchedule}]}
`
	scale = `apiVersion: autoscaling/v1
kind: Scale
metadata: {name: web, namespace: shop}
spec: {replicas: 3}
`
	autoscaler = `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec: {minReplicas: 2, maxReplicas: 6, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
`
	boundPod  = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {nodeName: node-1, containers: [{name: a, image: x}]}\n"
	going     = "deletionTimestamp: \"2026-01-01T00:00:00Z\", "
	goingNS   = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, deletionTimestamp: \"2026-01-01T00:00:00Z\", uid: n1}\nspec: {finalizers: [kubernetes]}\n"
	unowned   = "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: web-6d4f, namespace: shop, uid: r1}\n"
	cronJob   = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: cj, namespace: shop, uid: c1}\nspec: {schedule: \"* * * * *\", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}}\n"
	cronsJob  = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: cj-1, namespace: shop, uid: j1, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: cj, uid: c1, controller: true}]}\nspec: {backoffLimit: 6, parallelism: 1, completions: 1, selector: {matchLabels: {batch.kubernetes.io/controller-uid: j1}}, template: {metadata: {labels: {batch.kubernetes.io/controller-uid: j1, job-name: cj-1}}, spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}\n"
	revision1 = "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: db-1, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: s1, controller: true}]}\ndata: {spec: {template: {$patch: replace, metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: \"db:1\"}]}}}}\nrevision: 1\n"
	dbSet     = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: shop, uid: s1}\nspec: {serviceName: db, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: \"db:2\"}]}}, volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}\nstatus: {currentRevision: db-1, updateRevision: db-2}\n"
	dbPod     = "apiVersion: v1\nkind: Pod\nmetadata: {name: db-0, namespace: shop, labels: {app: db, controller-revision-hash: db-2, statefulset.kubernetes.io/pod-name: db-0, apps.kubernetes.io/pod-index: \"0\"}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: s1, controller: true}]}\nspec: {hostname: db-0, subdomain: db, containers: [{name: db, image: \"db:2\"}], volumes: [{name: data, persistentVolumeClaim: {claimName: data-db-0}}]}\n"
	dbClaim   = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data-db-0, namespace: shop, labels: {app: db}, finalizers: [kubernetes.io/pvc-protection]}\nspec: {accessModes: [ReadWriteOnce], volumeMode: Filesystem, resources: {requests: {storage: 1Gi}}}\n"
)

func cluster(t testing.TB) *world {
	w := fleet(t)
	w.declares(t, apps, autoscaler, cronJob, dbSet)
	w.runs(t, liveDeployment, replicaSet, cronJob, cronsJob, dbSet, revision1)
	return w
}

func TestAControllerDoesItsWorkAndNothingElse(t *testing.T) {
	sa := func(name string) string { return "system:serviceaccount:kube-system:" + name }
	kubelet := []string{"system:nodes", "system:authenticated"}
	for _, tc := range []struct {
		name  string
		q     request
		want  string
		world func(*world)
	}{
		{"a ReplicaSet's Pod", request{user: rsUser, object: pod}, "derived", nil},
		{"a Pod of another image", request{user: rsUser, object: with(pod, "web:1.1.0", "evil:1")}, `[derived] spec.containers[0].image: "registry.example.com/evil:1" is not what ReplicaSet shop/web-6d4f makes: "registry.example.com/web:1.1.0"`, nil},
		{"a Pod with a sidecar", request{user: rsUser, object: with(pod, "    - name: web\n", "    - {name: miner, image: evil}\n    - name: web\n")}, "[derived] spec.containers[0]", nil},
		{"a Pod with an init container", request{user: rsUser, object: with(pod, "  containers:", "  initContainers: [{name: miner, image: evil}]\n  containers:")}, "[derived] spec.initContainers", nil},
		{"a Pod of a wrong uid", request{user: rsUser, object: with(pod, "uid: r1", "uid: r2")}, `names ReplicaSet web-6d4f with uid "r2" as its controller, and there is none`, nil},
		{"a Pod without a uid of its owner", request{user: rsUser, object: with(pod, "uid: r1, ", "")}, "as its controller, and there is none", nil},
		{"a Pod of nobody", request{user: rsUser, object: with(pod, "controller: true, ", "")}, "has no controller of the kind ReplicaSet.apps", nil},
		{"a Pod of two controllers", request{user: rsUser, object: with(pod, "ownerReferences: [", "ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: x, uid: x, controller: true}, ")}, "has no controller of the kind", nil},
		{"a Pod of a kind of that name in another group", request{user: rsUser, object: with(pod, "apiVersion: apps/v1", "apiVersion: evil.example.com/v1")}, "has no controller of the kind", nil},
		{"a Pod with hostPID", request{user: rsUser, object: with(pod, "  priority: 0", "  priority: 0\n  hostPID: true")}, "[derived] spec.hostPID", nil},
		{"a Pod under another account", request{user: rsUser, object: with(pod, "serviceAccountName: default", "serviceAccountName: admin", "serviceAccount: default", "serviceAccount: admin")}, "[derived] spec.serviceAccountName", nil},
		{"a Pod with a host path as its token", request{user: rsUser, object: with(pod, "      projected:\n        defaultMode: 420\n", "      hostPath: {path: /}\n      projected:\n        defaultMode: 420\n")}, "[derived] spec.volumes", nil},
		{"a Pod with a Secret among its token's sources", request{user: rsUser, object: with(pod, "          - configMap", "          - secret: {name: key}\n          - configMap")}, "[derived] spec.volumes", nil},
		{"a Pod with a token that lasts", request{user: rsUser, object: with(pod, "3607", "31536000")}, "[derived] spec.volumes", nil},
		{"a Pod with a token that its template does not want", request{user: rsUser, object: pod}, "[derived] spec.volumes", func(w *world) {
			w.live[1] = object(t, with(replicaSet, "      containers:", "      automountServiceAccountToken: false\n      containers:"))
		}},
		{"a Pod that tolerates more", request{user: rsUser, object: with(pod, "tolerations: [", "tolerations: [{operator: Exists}, ")}, "[derived] spec.tolerations", nil},
		{"a Pod of a class that is not the default", request{user: rsUser, object: with(pod, "  priority: 0", "  priority: 0\n  priorityClassName: system-node-critical")}, "[derived] spec.priorityClassName", nil},
		{"a Pod of the default class", request{user: rsUser, object: with(pod, "  priority: 0", "  priority: 7\n  priorityClassName: usual")}, "derived", func(w *world) {
			w.runs(t, "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: usual}\nvalue: 7\nglobalDefault: true\n")
		}},
		{"a Pod on a chosen node", request{user: rsUser, object: with(pod, "  priority: 0", "  priority: 0\n  nodeName: node-1")}, "[derived] spec.nodeName", nil},
		{"a Pod with a label that selects", request{user: rsUser, object: with(pod, "{app: web, pod", "{app: web, role: db, pod")}, "[derived] metadata.labels.role", nil},
		{"a Pod of an undeclared Deployment", request{user: rsUser, object: pod}, "comes from Deployment shop/web, which no accepted commit declares", func(w *world) { w.forms = w.forms[1:] }},
		{"a Pod of a ReplicaSet of nobody", request{user: rsUser, object: pod}, "comes from ReplicaSet shop/web-6d4f, which no accepted commit declares", func(w *world) { w.live[1] = object(t, unowned) }},
		{"a Pod of a ReplicaSet whose Deployment is another by now", request{user: rsUser, object: pod}, "comes from Deployment web, which is not there", func(w *world) { w.live[0] = object(t, with(liveDeployment, "uid: d1", "uid: d2")) }},
		{"a Pod whose owner cannot be looked up", request{user: rsUser, object: pod}, "could not judge: ReplicaSet web-6d4f: could not be looked up: connection refused", func(w *world) { w.lookErr = errDown }},
		{"a Pod's deletion", request{user: rsUser, old: pod}, "derived", nil},
		{"a deletion of a Pod of nobody", request{user: rsUser, old: boundPod}, "[derived] Pod shop/p is not controlled by a ReplicaSet.apps", nil},
		{"a Deployment edited by the ReplicaSet controller", request{user: rsUser, old: liveDeployment, object: with(liveDeployment, "web:1.1.0", "evil:1")}, "[derived] " + rsUser + " may not change Deployment shop/web: that is not the work of this controller", nil},
		{"a Pod edited by the ReplicaSet controller", request{user: rsUser, old: pod, object: with(pod, "web:1.1.0", "evil:1")}, "[derived] spec.containers[0].image: is changed", nil},

		{"a Deployment's ReplicaSet", request{user: depUser, object: replicaSet}, "derived", nil},
		{"a ReplicaSet of another image", request{user: depUser, object: with(replicaSet, "web:1.1.0", "evil:1")}, "[derived] spec.template.spec.containers[0].image", nil},
		{"a ReplicaSet with another selector", request{user: depUser, object: with(replicaSet, "matchLabels: {app: web, ", "matchLabels: {app: db, ")}, "[derived] spec.selector", nil},
		{"a ReplicaSet with an annotation of its own", request{user: depUser, object: with(replicaSet, "team: a", "team: b")}, "[derived] metadata.annotations.team", nil},
		{"a ReplicaSet that is scaled", request{user: depUser, old: replicaSet, object: with(replicaSet, "replicas: 3", "replicas: 1")}, "derived", nil},
		{"a ReplicaSet of another template", request{user: depUser, old: replicaSet, object: with(replicaSet, "web:1.1.0", "evil:1")}, "[derived] spec.template.spec.containers[0].image: is changed", nil},
		{"a ReplicaSet that is scaled for an undeclared Deployment", request{user: depUser, old: replicaSet, object: with(replicaSet, "replicas: 3", "replicas: 9")}, "which no accepted commit declares", func(w *world) { w.forms = w.forms[1:] }},
		{"a ReplicaSet that gets an owner which is not there", request{user: depUser, old: unowned, object: with(replicaSet, "uid: d1", "uid: d9")}, "[derived]", nil},
		{"a Deployment scaled by its own controller", request{user: depUser, old: liveDeployment, object: with(liveDeployment, "replicas: 3", "replicas: 1")}, "[derived] spec.replicas: is changed", nil},
		{"a Deployment's status with its revision", request{user: depUser, res: "deployments.apps/status", old: liveDeployment, object: with(liveDeployment, "team: a", "team: a, deployment.kubernetes.io/revision: \"2\"") + "status: {replicas: 3}\n"}, "derived", nil},
		{"a spec smuggled in with a status", request{user: depUser, res: "deployments.apps/status", old: liveDeployment, object: with(liveDeployment, "web:1.1.0", "evil:1") + "status: {replicas: 3}\n"}, "[derived] spec.template.spec.containers[0].image: is changed", nil},

		{"a CronJob's Job", request{user: sa("cronjob-controller"), object: cronsJob}, "derived", nil},
		{"a Job of another image", request{user: sa("cronjob-controller"), object: with(cronsJob, "image: x", "image: evil")}, "[derived] spec.template.spec.containers[0].image", nil},
		{"a Job that selects others' Pods", request{user: sa("cronjob-controller"), object: with(cronsJob, "controller-uid: j1}}, template", "controller-uid: j2}}, template")}, "[derived] spec.selector", nil},
		{"a StatefulSet's Pod", request{user: sa("statefulset-controller"), object: dbPod}, "derived", nil},
		{"a StatefulSet's Pod of the revision before", request{user: sa("statefulset-controller"), object: with(dbPod, "db-2", "db-1", "db:2", "db:1")}, "derived", nil},
		{"a StatefulSet's Pod of an image of no revision", request{user: sa("statefulset-controller"), object: with(dbPod, "db-2", "db-1", "db:2", "db:0")}, "[derived] spec.containers[0].image", nil},
		{"a StatefulSet's Pod with another claim", request{user: sa("statefulset-controller"), object: with(dbPod, "data-db-0", "data-other-0")}, "[derived] spec.volumes", nil},
		{"a StatefulSet's claim", request{user: sa("statefulset-controller"), object: dbClaim}, "derived", nil},
		{"a claim that no StatefulSet asks for", request{user: sa("statefulset-controller"), object: with(dbClaim, "data-db-0", "data-x-0")}, "is the claim of no declared StatefulSet", nil},
		{"a greater claim", request{user: sa("statefulset-controller"), object: with(dbClaim, "1Gi", "9Ti")}, "[derived] spec.resources.requests.storage", nil},
		{"a revision that records another template", request{user: sa("statefulset-controller"), object: with(revision1, "db:1", "evil:1")}, "[derived] data.spec.template", nil},

		{"garbage whose owner is gone", request{user: gcUser, old: replicaSet}, "derived", func(w *world) { w.live = w.live[1:] }},
		{"garbage whose owner is being deleted", request{user: gcUser, old: replicaSet}, "derived", func(w *world) { w.live[0] = object(t, with(liveDeployment, "{name: web", "{"+going+"name: web")) }},
		{"a live declared object under the garbage collector", request{user: gcUser, old: liveDeployment}, "[derived] Deployment shop/web has no owner", nil},
		{"an object whose owner stays", request{user: gcUser, old: replicaSet}, "is owned by Deployment web, which is there and is not being deleted", nil},
		{"an owner that stays and is taken off", request{user: gcUser, old: replicaSet, object: with(replicaSet, "  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1, controller: true, blockOwnerDeletion: true}]\n", "")}, "[derived] metadata.ownerReferences[d1]: is changed", nil},
		{"its finalizer on what is being deleted", request{user: gcUser, old: with(liveDeployment, "{name: web", "{"+going+"finalizers: [foregroundDeletion], name: web"), object: with(liveDeployment, "{name: web", "{"+going+"name: web")}, "derived", nil},
		{"a foreign finalizer", request{user: gcUser, old: with(liveDeployment, "{name: web", "{"+going+"finalizers: [example.com/hold], name: web"), object: with(liveDeployment, "{name: web", "{"+going+"name: web")}, "[derived] metadata.finalizers[example.com/hold]: is changed", nil},
		{"an edit by the garbage collector", request{user: gcUser, old: liveDeployment, object: with(liveDeployment, "web:1.1.0", "evil:1")}, "[derived] spec.template", nil},

		{"what is in a namespace that goes", request{user: nsUser, old: another}, "derived", func(w *world) { w.runs(t, goingNS) }},
		{"what is in a namespace that stays", request{user: nsUser, old: another}, "[derived] namespace shop is not being deleted", nil},
		{"the finalizer of a namespace that goes", request{user: nsUser, res: "namespaces/finalize", old: goingNS, object: with(goingNS, "spec: {finalizers: [kubernetes]}\n", "")}, "derived", nil},
		{"the finalizer of a namespace that stays", request{user: nsUser, res: "namespaces/finalize", old: with(goingNS, "deletionTimestamp: \"2026-01-01T00:00:00Z\", ", ""), object: "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, uid: n1}\n"}, "[derived] Namespace shop is not being deleted", nil},

		{"a scale within the bounds", request{user: hpaUser, res: "deployments.apps/scale", old: scale, object: with(scale, "3", "5")}, "derived", nil},
		{"a scale out of the bounds", request{user: hpaUser, res: "deployments.apps/scale", old: scale, object: with(scale, "3", "50")}, "is scaled to 50, and HorizontalPodAutoscaler shop/web at apps/web.yaml:3 lets it be 2 to 6", nil},
		{"a scale to nothing", request{user: hpaUser, res: "deployments.apps/scale", old: scale, object: with(scale, "3", "0")}, "is scaled to 0", nil},
		{"a step towards the bounds", request{user: hpaUser, res: "deployments.apps/scale", old: with(scale, "3", "20"), object: with(scale, "3", "10")}, "derived", nil},
		{"a scale of what no autoscaler is declared for", request{user: hpaUser, res: "statefulsets.apps/scale", old: scale, object: with(scale, "3", "5")}, "Git declares none for it", nil},
		{"a scale of another kind of that name", request{user: hpaUser, res: "deployments.evil.example.com/scale", old: scale, object: with(scale, "3", "5")}, "Git declares none for it", nil},

		{"a binding", request{user: "system:kube-scheduler", res: "pods/binding", object: "apiVersion: v1\nkind: Binding\nmetadata: {name: p, namespace: shop}\ntarget: {kind: Node, name: node-1}\n"}, "derived", nil},
		{"a Pod made by the scheduler", request{user: "system:kube-scheduler", object: boundPod}, "[derived] system:kube-scheduler may not create Pod shop/p", nil},
		{"the status of a kubelet's Pod", request{user: "system:node:node-1", groups: kubelet, res: "pods/status", old: boundPod, object: boundPod + "status: {phase: Running}\n"}, "derived", nil},
		{"the status of a Pod of another node", request{user: "system:node:node-2", groups: kubelet, res: "pods/status", old: boundPod, object: boundPod + "status: {phase: Running}\n"}, "[derived] Pod shop/p is not bound to the node of system:node:node-2", nil},
		{"a kubelet's own node", request{user: "system:node:node-1", groups: kubelet, res: "nodes/status", old: node, object: node + "status: {phase: Running}\n"}, "derived", nil},
		{"another kubelet's node", request{user: "system:node:node-2", groups: kubelet, res: "nodes/status", old: node, object: node + "status: {phase: Running}\n"}, "[derived] Node node-1 is not the node of system:node:node-2", nil},
		{"a kubelet without its group", request{user: "system:node:node-1", res: "nodes/status", old: node, object: node + "status: {phase: Running}\n"}, "[subresource]", nil},
		{"a kubelet that takes a taint off", request{user: "system:node:node-1", groups: kubelet, old: node, object: with(node, "[{key: mine, effect: NoSchedule}]", "[]")}, "[derived] spec.taints", nil},
		{"a kubelet that deletes a running Pod", request{user: "system:node:node-1", groups: kubelet, old: boundPod}, "[derived] Pod shop/p is not being deleted", nil},
		{"a kubelet that makes a Pod", request{user: "system:node:node-1", groups: kubelet, object: boundPod}, "is no mirror of a static Pod", nil},
		{"taints of a node's condition", request{user: sa("node-controller"), old: node, object: with(node, "taints: [", "taints: [{key: node.kubernetes.io/unreachable, effect: NoExecute}, ")}, "derived", nil},
		{"a person's taint taken off by the node controller", request{user: sa("node-controller"), old: node, object: with(node, "{key: mine, effect: NoSchedule}", "")}, "[derived] spec.taints: is changed", nil},
		{"the chart of a declared HelmRelease", request{user: "system:serviceaccount:flux-system:helm-controller", res: "helmcharts.source.toolkit.fluxcd.io", object: "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmChart\nmetadata: {name: team-a-pod-info, namespace: flux-system}\n"}, "derived", func(w *world) {
			w.units = append(w.units, policies.Unit{Kind: "HelmRelease", Namespace: "team-a", Name: "pod-info"})
		}},
		{"the chart of nothing declared", request{user: "system:serviceaccount:flux-system:helm-controller", res: "helmcharts.source.toolkit.fluxcd.io", object: "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmChart\nmetadata: {name: team-a-evil, namespace: flux-system}\n"}, "[object] HelmChart flux-system/team-a-evil is declared by no accepted commit", nil},
		{"a role that aggregates nothing", request{user: sa("clusterrole-aggregation-controller"), old: "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\n", object: "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\nrules: [{verbs: [\"*\"], apiGroups: [\"*\"], resources: [\"*\"]}]\n"}, "[derived] ClusterRole x aggregates no other roles", nil},
		{"a service account with a name alone", request{user: sa("service-account-controller"), object: "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: shop}\n"}, "derived", nil},
		{"a service account with an annotation", request{user: sa("service-account-controller"), object: "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: shop, annotations: {eks.amazonaws.com/role-arn: admin}}\n"}, "[derived] metadata.annotations", nil},
		{"a controller manager that runs all under its own name", request{user: "system:kube-controller-manager", object: pod}, "derived", nil},
		{"such a one with another image", request{user: "system:kube-controller-manager", object: with(pod, "web:1.1.0", "evil:1")}, "[derived] spec.containers[0].image", nil},
		{"an account of a controller's name in another namespace", request{user: "system:serviceaccount:evil:replicaset-controller", object: pod}, "[writer] system:serviceaccount:evil:replicaset-controller may not create Pod shop/web-6d4f-abcde: ReplicaSet web-6d4f makes it", nil},
		{"a role of the API server's own", request{user: "system:apiserver", object: "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: evil, labels: {kubernetes.io/bootstrapping: rbac-defaults}}\n"}, "[derived] ClusterRole evil is not one of the API server's own roles", nil},
		{"a Deployment that the API server makes", request{user: "system:apiserver", object: deployment}, "[derived] system:apiserver may not create Deployment shop/web", nil},
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

func TestACacheIsNeverTheReasonForARefusal(t *testing.T) {
	w := cluster(t)
	before := object(t, with(liveDeployment, "web:1.1.0", "web:1.0.0"))
	for _, tc := range []struct {
		name string
		old  *policies.Object // what the cache has; nil for nothing
		q    request
		want string
		asks bool
	}{
		{"a cache that has not seen the owner", nil, request{user: rsUser, object: pod}, "derived", true},
		{"a cache that has the owner as it was before its template changed", before, request{user: depUser, object: replicaSet}, "derived", true},
		{"a cache that has the owner as it is", object(t, liveDeployment), request{user: depUser, object: replicaSet}, "derived", false},
		{"what was never the owner's", before, request{user: depUser, object: with(replicaSet, "web:1.1.0", "evil:1")}, "evil:1", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stale := &staleOwners{world: w, old: tc.old}
			p := newPolicy(t, w, func(o *trace.Options) { o.Owners = stale })
			check(t, answer(p.Judge(t.Context(), tc.q.change(t))), tc.want)
			if asked := stale.asked > 0; asked != tc.asks {
				t.Errorf("the API server was asked: %v, want %v", asked, tc.asks)
			}
		})
	}
}

func TestWhatAnotherReplicaLetInIsLookedForInGit(t *testing.T) {
	newer := with(liveDeployment, "uid: d1", "uid: d1, creationTimestamp: \"2026-01-01T00:00:00Z\"")
	at := func(s string) func(*trace.Options) {
		return func(o *trace.Options) {
			o.Now = func() time.Time {
				now, err := time.Parse(time.RFC3339, s)
				if err != nil {
					panic(err)
				}
				return now
			}
		}
	}
	for _, tc := range []struct {
		name, now string
		fresh     func(*world) (bool, error)
		want      string
		fetched   int
	}{
		{"it has the commit", "2026-01-01T00:01:00Z", func(w *world) (bool, error) { w.declares(t, apps, deployment); return true, nil }, "derived", 1},
		{"it has nothing", "2026-01-01T00:01:00Z", func(*world) (bool, error) { return false, nil }, "[derived] Pod shop/web-6d4f-abcde comes from Deployment shop/web", 1},
		{"it cannot be asked", "2026-01-01T00:01:00Z", func(*world) (bool, error) { return false, errDown }, "could not judge: Deployment shop/web is declared by no accepted commit that is known here", 1},
		{"it is not asked for what is old", "2026-01-01T01:00:00Z", func(*world) (bool, error) { return false, errDown }, "[derived] Pod shop/web-6d4f-abcde comes from Deployment shop/web", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := cluster(t)
			w.forms, w.live[0] = w.forms[1:], object(t, newer)
			w.fresh = func() (bool, error) { return tc.fresh(w) }
			check(t, answer(newPolicy(t, w, at(tc.now)).Judge(t.Context(), request{user: rsUser, object: pod}.change(t))), tc.want)
			if w.fetched != tc.fetched {
				t.Errorf("Git was asked %d times, expected %d", w.fetched, tc.fetched)
			}
		})
	}
}

func TestWritersWriteWhatTheConfigurationLetsThem(t *testing.T) {
	const certs = "system:serviceaccount:cert-manager:cert-manager"
	tls := with(secret, "name: key", "name: web-tls")
	writers := []trace.Writer{
		{Name: "cert-manager", Users: []string{"system:serviceaccount:cert-manager:*"}, Writes: []trace.Write{{Kinds: []string{"Secret"}, Names: []string{"*-tls"}}}},
		{Name: "scaler", Users: []string{"scaler@example.com"}, Writes: []trace.Write{{Kinds: []string{"Deployment.apps"}, Namespaces: []string{"shop"}, Fields: []string{"spec.replicas"}}}},
		{Name: "ops", Groups: []string{"ops"}, Writes: []trace.Write{{Kinds: []string{"Pod"}, Subresources: []string{"eviction"}}, {Kinds: []string{"Node"}, Fields: []string{"spec.unschedulable", "spec.taints"}}}},
		{Name: "network", Users: []string{"network"}, Writes: []trace.Write{{Kinds: []string{"Pod"}, Subresources: []string{"status"}, Fields: []string{"metadata.annotations[network.example.com/*]"}}}},
		{Name: "istio", Users: []string{rsUser}, Writes: []trace.Write{{Kinds: []string{"Pod"}, Fields: []string{"spec.containers[istio-proxy]", "spec.initContainers[istio-init]", "metadata.annotations[sidecar.istio.io/*]"}}}},
	}
	injected := with(pod, "  generateName", "  annotations: {sidecar.istio.io/status: injected}\n  generateName", "    - name: web\n", "    - {name: istio-proxy, image: proxy}\n    - name: web\n")
	eviction := "apiVersion: policy/v1\nkind: Eviction\nmetadata: {name: p, namespace: shop}\n"
	for _, tc := range []struct {
		name string
		q    request
		want string
	}{
		{"a Secret of the name", request{user: certs, object: tls}, "declared writer"},
		{"its deletion", request{user: certs, old: tls}, "declared writer"},
		{"a Secret of another name", request{user: certs, object: secret}, "[writer] "},
		{"another kind", request{user: certs, object: with(another, "conf", "x-tls")}, "[object] "},
		{"an account that only looks alike", request{user: "system:serviceaccount:cert-manager:x:y", object: tls}, "[object] "},
		{"an account of a namespace that begins alike", request{user: "system:serviceaccount:cert-manager-evil:cert-manager", object: tls}, "[object] "},
		{"the field alone", request{user: "scaler@example.com", old: deployment, object: with(deployment, "replicas: 3", "replicas: 5")}, "declared writer"},
		{"the field by its subresource", request{user: "scaler@example.com", res: "deployments.apps/scale", old: scale, object: with(scale, "3", "5")}, "declared writer"},
		{"the field and another one", request{user: "scaler@example.com", old: deployment, object: with(deployment, "replicas: 3", "replicas: 5", "web:1.1.0", "evil:1")}, "[writer] scaler@example.com may not change Deployment shop/web"},
		{"a creation by who writes a field", request{user: "scaler@example.com", object: deployment}, "[writer] "},
		{"a deletion by who writes a field", request{user: "scaler@example.com", old: deployment}, "[writer] "},
		{"another subresource", request{user: "scaler@example.com", res: "deployments.apps/status", old: deployment, object: deployment}, "[subresource] "},
		{"a group", request{user: "bob", groups: []string{"ops"}, res: "pods/eviction", object: eviction}, "declared writer"},
		{"a group without the subresource", request{user: "bob", groups: []string{"ops"}, old: pod}, "[writer] bob may not delete Pod shop/web-6d4f-abcde: ReplicaSet web-6d4f makes it"},
		{"a field by the subresource that stands beside it", request{user: "network", res: "pods/status", old: pod, object: with(pod, "  generateName", "  annotations: {network.example.com/ip: 10.0.0.1}\n  generateName")}, "declared writer"},
		{"another field by that subresource", request{user: "network", res: "pods/status", old: pod, object: pod + "status: {phase: Failed}\n"}, "[subresource] "},
		{"the field without the subresource", request{user: "network", old: pod, object: with(pod, "  generateName", "  annotations: {network.example.com/ip: 10.0.0.1}\n  generateName")}, "[writer] "},
		{"a cordon", request{user: "bob", groups: []string{"ops"}, old: node, object: with(node, "spec: {", "spec: {unschedulable: true, ")}, "declared writer"},
		{"what a mutating webhook adds to a Pod", request{user: rsUser, object: injected}, "derived"},
		{"a first container where the workload has none", request{user: rsUser, object: with(injected, "  containers:", "  initContainers: [{name: istio-init, image: proxy}]\n  containers:")}, "derived"},
		{"that and one more", request{user: rsUser, object: with(injected, "  containers:", "  initContainers: [{name: istio-init, image: proxy}, {name: miner, image: evil}]\n  containers:")}, "[derived] spec.initContainers"},
		{"more than that", request{user: rsUser, object: with(injected, "name: istio-proxy", "name: miner")}, "[derived] spec.containers[0]"},
		{"a restart by hand", request{user: "alice", old: deployment, object: with(deployment, "metadata: {labels: {app: web}}\n    spec", "metadata: {labels: {app: web}, annotations: {kubectl.kubernetes.io/restartedAt: now}}\n    spec")}, "[writer] alice may not change Deployment shop/web\n[field] spec.template.metadata.annotations"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPolicy(t, cluster(t), func(o *trace.Options) { o.Writers = writers })
			check(t, answer(p.Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}

func TestAConfigurationThatSaysTooLittleOrTooMuchIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    trace.Options
		want string
	}{
		{"nothing to ask", trace.Options{}, "needs an index"},
		{"a writer that is everybody", trace.Options{Writers: []trace.Writer{{Name: "x", Users: []string{"*"}, Writes: []trace.Write{{Kinds: []string{"Pod"}}}}}}, `writers[0]: writer "x": "*" matches everybody`},
		{"a writer that is nobody", trace.Options{Writers: []trace.Writer{{Name: "x", Writes: []trace.Write{{Kinds: []string{"Pod"}}}}}}, "expected users or groups"},
		{"a writer that writes nothing", trace.Options{Writers: []trace.Writer{{Name: "x", Users: []string{"u"}}}}, "writes nothing"},
		{"a write of no kind", trace.Options{Writers: []trace.Writer{{Name: "x", Users: []string{"u"}, Writes: []trace.Write{{}}}}}, "expected kinds"},
		{"a field of nothing", trace.Options{Writers: []trace.Writer{{Name: "x", Users: []string{"u"}, Writes: []trace.Write{{Kinds: []string{"Pod"}, Fields: []string{""}}}}}}, `field "": expected a path`},
		{"a reconciler without a namespace", trace.Options{Reconcilers: []trace.Reconciler{{Sort: trace.Flux}}}, "reconcilers[0]: expected a sort (flux, argocd) and a namespace"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := trace.New(tc.o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, expected %s", err, tc.want)
			}
		})
	}
}

func TestArgoCDAndItsMarks(t *testing.T) {
	w := cluster(t)
	const id = `annotations: {argocd.argoproj.io/tracking-id: "shop:/ConfigMap:argo/conf"}, `
	ours := with(another, "namespace: shop", "namespace: argo")
	w.declares(t, shop, ours, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: pre, namespace: argo, annotations: {argocd.argoproj.io/hook: PreSync}}\n")
	w.declares(t, shop, "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: warm-, namespace: argo, annotations: {argocd.argoproj.io/hook: PreSync}}\n")
	w.declares(t, shop, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: post, namespace: argo, finalizers: [argocd.argoproj.io/hook-finalizer], annotations: {argocd.argoproj.io/hook: PostSync}}\n")
	const application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: shop, namespace: argocd, annotations: {argocd.argoproj.io/refresh: normal}}\nspec: {project: default}\n"
	const status = "status: {sync: {status: Synced}}\noperation: {sync: {revision: abc}}\n"
	hook := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: pre, namespace: argo, finalizers: [argocd.argoproj.io/hook-finalizer], annotations: {argocd.argoproj.io/hook: PreSync}}\n"
	for _, tc := range []struct {
		name string
		q    request
		want string
	}{
		{"its tracking id", request{object: with(ours, "name: conf", id+"name: conf")}, "reconciler"},
		{"a tracking id of another object", request{object: with(ours, "name: conf", strings.Replace(id, "conf", "other", 1)+"name: conf")}, "[field] metadata.annotations"},
		{"a hook's finalizer", request{object: hook}, "reconciler"},
		{"a hook that has only the beginning of a name", request{object: with(hook, "name: pre", "name: warm-1a2b3c4-presync-7, generateName: warm-")}, "reconciler"},
		{"the name of such a hook begins otherwise", request{object: with(hook, "name: pre", "name: evil-1, generateName: warm-")}, "[object] Job argo/evil-1"},
		{"a stolen token makes a hook of another beginning", request{object: with(hook, "name: pre", "name: war-1, generateName: war")}, "[object] Job argo/war-1"},
		{"a hook's finalizer that is rendered goes", request{old: with(hook, "name: pre", "name: post"), object: with(hook, "name: pre", "name: post", "finalizers: [argocd.argoproj.io/hook-finalizer], ", "")}, "reconciler"},
		{"another finalizer of a hook does not go with it", request{old: with(hook, "[argo", "[example.com/hold, argo"), object: with(hook, "finalizers: [argocd.argoproj.io/hook-finalizer], ", "")}, "[field] metadata.finalizers[example.com/hold]: is taken away"},
		{"a hook's finalizer goes", request{old: hook, object: with(hook, "finalizers: [argocd.argoproj.io/hook-finalizer], ", "")}, "reconciler"},
		{"its own status and operation", request{old: application, object: with(application, "argocd.argoproj.io/refresh: normal", "") + status}, "derived"},
		{"the source of its own Application", request{old: application, object: with(application, "project: default", "project: admin") + status}, "[object] Application argocd/shop is declared by no accepted commit"},
		{"a sync that a user of its server asks for", request{user: "system:serviceaccount:argocd:argocd-server", old: application, object: application + "operation: {sync: {revision: main}}\n"}, "derived"},
		{"a source that a user of its server writes", request{user: "system:serviceaccount:argocd:argocd-server", old: application, object: with(application, "project: default", "project: admin")}, "[derived] spec.project: is changed"},
		{"a refresh by hand", request{user: "alice", old: application, object: with(application, "normal", "hard")}, "[object] alice may not change Application argocd/shop"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.q.user == "" {
				tc.q.user = argoUser
			}
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}

func TestAnApplicationSetMakesItsApplications(t *testing.T) {
	const (
		setUser = "system:serviceaccount:argocd:argocd-applicationset-controller"
		made    = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: team-red, namespace: argocd}\nspec: {project: default, source: {path: teams/red}}\n"
		owned   = "metadata: {ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: teams, uid: u7, controller: true, blockOwnerDeletion: true}], "
		unset   = "status: {health: {}, summary: {}, sync: {status: \"\", comparedTo: {source: {repoURL: \"\"}, destination: {}}}}\n"
	)
	w := cluster(t)
	w.declares(t, policies.Unit{Kind: "ApplicationSet", Namespace: "argocd", Name: "teams", Prune: true}, made)
	w.runs(t, "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: teams, namespace: argocd, uid: u7}\n", "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: other, namespace: argocd, uid: u8}\n")
	for _, tc := range []struct{ name, object, want string }{
		{"as it is declared", made, "reconciler"},
		{"with its owner, and a status that says nothing", with(made, "metadata: {", owned) + unset, "reconciler"},
		{"with the label of older versions", with(made, "metadata: {", "metadata: {labels: {argocd.argoproj.io/application-set-name: teams}, "), "reconciler"},
		{"with the label of another set", with(made, "metadata: {", "metadata: {labels: {argocd.argoproj.io/application-set-name: other}, "), "[field] metadata.labels"},
		{"with another set as its owner", with(made, "metadata: {", strings.NewReplacer("teams", "other", "u7", "u8").Replace(owned)), "[field] metadata.ownerReferences"},
		{"with an owner that is not there", with(made, "metadata: {", strings.Replace(owned, "u7", "u9", 1)), "[field] metadata.ownerReferences"},
		{"with a second owner", with(made, "metadata: {", strings.Replace(owned, "[{", "[{apiVersion: v1, kind: ConfigMap, name: conf, uid: u1}, {", 1)), "[field] metadata.ownerReferences"},
		{"with a status", made + "status: {sync: {status: Synced}}\n", "[field] status: is written with the object"},
		{"with another path", with(made, "teams/red", "evil"), "[field] spec.source.path"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := request{user: setUser, object: tc.object}
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), q.change(t))), tc.want)
		})
	}
}

func TestWhoWritesFallsInTheFirstClassThatFits(t *testing.T) {
	w := cluster(t)
	w.grants = map[string]trace.Grant{"carol": {Name: "g1", Person: "carol", Reason: "INC-42", Until: "2026-01-01T00:30:00Z"}}
	p := newPolicy(t, w, func(o *trace.Options) {
		o.Exempt = []trace.Exempt{{Namespaces: []string{"kube-*"}, Reason: "the cluster's own"}}
	})
	for _, tc := range []struct {
		name string
		q    request
		want string
	}{
		{"an event", request{user: "alice", object: "apiVersion: v1\nkind: Event\nmetadata: {name: e, namespace: shop}\n"}, "not governed: events"},
		{"an Event of another group", request{user: "alice", object: "apiVersion: example.com/v1\nkind: Event\nmetadata: {name: e, namespace: shop}\n"}, "[object] alice may not create Event shop/e"},
		{"a lease", request{user: "alice", object: "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: e, namespace: shop}\n"}, "not governed: leases"},
		{"an exempt namespace", request{user: "alice", object: with(another, "namespace: shop", "namespace: kube-system")}, "not governed: exempt: the cluster's own"},
		{"the namespace itself", request{user: "alice", object: "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n", ns: "kube-system"}, "[object] alice may not create Namespace kube-system"},
		{"a grant", request{user: "carol", old: deployment, object: with(deployment, "web:1.1.0", "hotfix:1")}, "break-glass"},
		{"what Git declares, by hand", request{user: "alice", old: with(deployment, "3", "1"), object: deployment}, "[writer] Deployment shop/web as it is written is what commit abc123000000 by Ann <ann@example.com> declares at apps/web.yaml:3; Flux's kustomize-controller applies it, not alice"},
		{"a scale to what Git declares, by hand", request{user: "alice", res: "deployments.apps/scale", old: with(scale, "3", "1"), object: scale}, "[writer] Deployment shop/web as it is written is what commit"},
		{"a scale to anything else", request{user: "alice", res: "deployments.apps/scale", old: scale, object: with(scale, "3", "1")}, "[writer] alice may not scale Deployment shop/web\n[field] spec.replicas: 1 is not what Git declares: 3 at apps/web.yaml:5"},
		{"a command in a Pod", request{user: "alice", op: policies.Connect, res: "pods/exec", object: "apiVersion: v1\nkind: PodExecOptions\nmetadata: {name: p, namespace: shop}\n"}, "[subresource] alice may not exec to Pod shop/p"},
		{"a collection that is deleted", request{user: "alice", old: another}, "[writer] alice may not delete ConfigMap shop/conf"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			check(t, answer(p.Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
	f, err := p.Judge(t.Context(), request{user: fluxUser, object: deployment}.change(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range f.Evidence {
		got = append(got, e.Kind+"="+e.Value)
	}
	if want := "class=reconciler commit=abc1230000000000000000000000000000000000 author=Ann <ann@example.com> signer=ann source=fleet unit=Kustomization flux-system/apps file=apps/web.yaml:3"; strings.Join(got, " ") != want {
		t.Errorf("evidence %s, expected %s", got, want)
	}
}
