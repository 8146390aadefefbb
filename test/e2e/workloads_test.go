package e2e

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

const workloads = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: NS}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: NS}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: NS}
spec: {hard: {pods: "50", services: "5"}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: NS}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: registry.example.com/shop/db:1}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: NS}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: registry.example.com/shop/agent:1}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: NS}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: migrate, image: registry.example.com/shop/migrate:1}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: NS}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: OnFailure, containers: [{name: nightly, image: registry.example.com/shop/nightly:1}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaled, namespace: NS}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: scaled}
  minReplicas: 3
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`

// controllers are what makes something of what is declared, all of it real but the node: nothing of it is in gitgate.yaml.
func controllers(t *testing.T, w *world.World) {
	s := newScene(t, w, "workloads")
	scaled := strings.Replace(deployment("workloads", "scaled", 1, image), "  replicas: 1\n", "", 1)
	s.applied("every kind of workload", map[string]string{
		"web.yaml": deployment("workloads", "web", 2, image), "more.yaml": strings.ReplaceAll(workloads, "NS", "workloads"), "scaled.yaml": scaled,
	})
	s.has("apps/v1 Deployment", "web", int64(2), "status", "availableReplicas")
	s.has("apps/v1 StatefulSet", "db", int64(2), "status", "readyReplicas")
	s.has("apps/v1 DaemonSet", "agent", int64(1), "status", "numberReady")
	s.has("batch/v1 Job", "migrate", int64(1), "status", "succeeded")
	s.has("policy/v1 PodDisruptionBudget", "web", int64(1), "status", "disruptionsAllowed")
	s.has("v1 ConfigMap", "kube-root-ca.crt", "kube-root-ca.crt", "metadata", "name")
	s.has("v1 ServiceAccount", "default", "default", "metadata", "name")
	s.has("apps/v1 Deployment", "scaled", int64(3), "spec", "replicas") // the real autoscaler, up to its least
	s.Eventually("no endpoints", func() error {
		for _, slice := range s.List("discovery.k8s.io/v1 EndpointSlice", "workloads") {
			if list, _ := dig(&slice, "endpoints").([]any); len(list) == 2 && slice.GetLabels()["kubernetes.io/service-name"] == "web" {
				return nil
			}
		}
		return fmt.Errorf("no slice of the Service has two endpoints")
	})
	s.Eventually("nothing is counted", func() error {
		if used := dig(s.Get("v1 ResourceQuota", "workloads", "quota"), "status", "used", "services"); used != "1" {
			return fmt.Errorf("services: %v", used)
		}
		return nil
	})
	// A rollout makes a second ReplicaSet, and the autoscaler's replicas stay.
	s.applied("next", map[string]string{"web.yaml": deployment("workloads", "web", 2, "registry.example.com/shop/web:2.0.0")})
	s.Eventually("the rollout does not end", func() error {
		web := s.Get("apps/v1 Deployment", "workloads", "web")
		if n, updated := len(s.setsOf("web")), dig(web, "status", "updatedReplicas"); n != 2 || updated != int64(2) || dig(web, "status", "replicas") != int64(2) {
			return fmt.Errorf("%d ReplicaSets, %v updated", n, updated)
		}
		return nil
	})
	s.has("apps/v1 Deployment", "scaled", int64(3), "spec", "replicas")
	// A restart that Git declares.
	restarted := strings.Replace(deployment("workloads", "web", 2, "registry.example.com/shop/web:2.0.0"), "      labels: {app: web}\n    spec:",
		"      labels: {app: web}\n      annotations: {kubectl.kubernetes.io/restartedAt: \"2026-11-26T10:00:00Z\"}\n    spec:", 1)
	s.applied("restart", map[string]string{"web.yaml": restarted})
	s.Eventually("it does not restart", func() error {
		if n := len(s.setsOf("web")); n != 3 {
			return fmt.Errorf("%d ReplicaSets", n)
		}
		return nil
	})
	s.Eventually("no Job of the CronJob", func() error {
		for _, job := range s.List("batch/v1 Job", "workloads") {
			if strings.HasPrefix(job.GetName(), "nightly-") {
				return nil
			}
		}
		return fmt.Errorf("there is none yet")
	})
}

// deviceClaims is what the controller of kube-controller-manager makes of a ResourceClaimTemplate that a Pod names. No device is ever found.
func deviceClaims(t *testing.T, w *world.World) {
	s := newScene(t, w, "devices")
	train := strings.Replace(deployment("devices", "train", 1, image), "      containers:\n", "      resourceClaims: [{name: card, resourceClaimTemplateName: gpu}]\n      containers:\n", 1)
	s.applied("a template", map[string]string{
		"train.yaml": train,
		"gpu.yaml":   "apiVersion: resource.k8s.io/v1\nkind: ResourceClaimTemplate\nmetadata: {name: gpu, namespace: devices}\nspec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.example.com}}]}}}\n",
	})
	var claim unstructured.Unstructured
	s.Eventually("no claim is made", func() error {
		all := s.List("resource.k8s.io/v1 ResourceClaim", "devices")
		if len(all) != 1 {
			return fmt.Errorf("%d claims", len(all))
		}
		claim = all[0]
		return nil
	})
	// The controller's token claims another class.
	claim.SetName("")
	claim.SetResourceVersion("")
	claim.SetUID("")
	if err := unstructured.SetNestedSlice(claim.Object, []any{map[string]any{"name": "gpu", "exactly": map[string]any{"deviceClassName": "all.example.com"}}}, "spec", "devices", "requests"); err != nil {
		t.Fatal(err)
	}
	controller := "system:serviceaccount:kube-system:resource-claim-controller"
	_, err := s.As(controller, controlplane.ServiceAccountGroups("kube-system"), "resource.k8s.io/v1 ResourceClaim", "devices").Create(t.Context(), &claim, metav1.CreateOptions{})
	wantDenied(t, err, "ResourceClaim devices/", "spec.devices", "all.example.com")
}

func (s *scene) setsOf(deployment string) []unstructured.Unstructured {
	s.t.Helper()
	var out []unstructured.Unstructured
	for _, set := range s.List("apps/v1 ReplicaSet", s.name) {
		for _, owner := range set.GetOwnerReferences() {
			if owner.Name == deployment {
				out = append(out, set)
			}
		}
	}
	return out
}

// namespaceGoes is the end of a unit with its namespace and everything in it, what controllers made among it.
func namespaceGoes(t *testing.T, w *world.World) {
	s := newScene(t, w, "leaving")
	s.applied("web", map[string]string{"web.yaml": deployment("leaving", "web", 2, image), "more.yaml": strings.ReplaceAll(workloads, "NS", "leaving")})
	s.has("apps/v1 Deployment", "web", int64(2), "status", "availableReplicas")
	s.Repo.Git("rm", "-rqf", "--", s.unitFile(), "apps/leaving")
	s.Applied("fleet", s.Push("the unit goes", nil))
	s.gone("kustomize.toolkit.fluxcd.io/v1 Kustomization", world.FluxNamespace, "leaving")
	s.gone("v1 Namespace", "", "leaving")
}

const crontabs = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  names: {kind: CronTab, listKind: CronTabList, plural: crontabs, singular: crontab}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                schedule: {type: string}
                replicas: {type: integer, default: 1}
`

// customResources come with their definition in one commit, are defaulted by it, and are held as any other object is.
func customResources(t *testing.T, w *world.World) {
	s := newScene(t, w, "custom")
	const own = "apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata:\n  name: mine\n  namespace: custom\nspec:\n  schedule: SCHEDULE\n"
	s.applied("a kind and an object", map[string]string{"crd.yaml": crontabs, "own.yaml": strings.Replace(own, "SCHEDULE", `"* * * * 5"`, 1)})
	s.has("stable.example.com/v1 CronTab", "mine", int64(1), "spec", "replicas")
	s.applied("changed", map[string]string{"own.yaml": strings.Replace(own, "SCHEDULE", `"* * * * 6"`, 1)})
	s.has("stable.example.com/v1 CronTab", "mine", "* * * * 6", "spec", "schedule")
	said, err := s.Kubectl("ann", "-n", "custom", "patch", "crontab/mine", "--type=merge", "-p", `{"spec":{"replicas":9}}`)
	if err == nil {
		t.Errorf("admitted: %s", said)
	}
	wantAll(t, said, "CronTab custom/mine", "spec.replicas", "9", "apps/custom/own.yaml")
	said, err = s.Kubectl("ann", "delete", "crd", "crontabs.stable.example.com", "--wait=false")
	if err == nil {
		t.Errorf("admitted: %s", said)
	}
	wantAll(t, said, "CustomResourceDefinition crontabs.stable.example.com", "apps/custom/crd.yaml:3")
	s.applied("both go", map[string]string{"crd.yaml": "", "own.yaml": ""})
	s.gone("apiextensions.k8s.io/v1 CustomResourceDefinition", "", "crontabs.stable.example.com")
}
