package e2e

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/test/gitserver"
	"gitgate.dev/gitgate/test/world"
)

// application is an Application of Argo CD with a namespace of its own, both of the scene's name.
type application struct {
	*world.World
	t    *testing.T
	name string

	project string   // "" for default
	spec    []string // more lines of the Application's spec
}

// newApplication begins a scene. Its files stay when it has ended: the root is not synchronised before an Application has gone with all
// that it has applied, for which each scene would wait.
func newApplication(t *testing.T, w *world.World, name string, spec ...string) *application {
	return &application{World: w.For(t), t: t, name: name, spec: spec}
}

// push commits files of the scene's folder with its Application beside them.
func (a *application) push(message string, files map[string]string) string {
	a.t.Helper()
	declared := a.Application(a.name, "apps/"+a.name, a.spec...)
	if a.project != "" {
		declared = strings.Replace(declared, "project: default", "project: "+a.project, 1)
	}
	all := map[string]string{
		"applications/" + a.name + ".yaml":    declared,
		"apps/" + a.name + "/_namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + a.name + "}\n",
	}
	for name, text := range files {
		all["apps/"+a.name+"/"+name] = text
	}
	return a.Commit(message, all)
}

// synced pushes and waits until Argo CD has applied all of it.
func (a *application) synced(message string, files map[string]string) string {
	a.t.Helper()
	commit := a.push(message, files)
	a.Synced("root", commit)
	a.Synced(a.name, commit)
	return commit
}

// value is a field of a live object; "" when there is none.
func (a *application) value(of, name string, path ...string) string {
	a.t.Helper()
	o := a.Get(of, a.name, name)
	if o == nil {
		return ""
	}
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return fmt.Sprint(v)
}

func (a *application) image(name string) string {
	a.t.Helper()
	o := a.Get("apps/v1 Deployment", a.name, name)
	if o == nil {
		return ""
	}
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	var images []string
	for _, c := range containers {
		images = append(images, fmt.Sprint(c.(map[string]any)["image"]))
	}
	return strings.Join(images, " ")
}

// refused runs kubectl as somebody and wants the gate to refuse it, with each of the parts in what it says.
func (a *application) refused(user string, args []string, parts ...string) {
	a.t.Helper()
	said, err := a.Kubectl(user, args...)
	if err == nil {
		a.t.Errorf("kubectl %s as %s: admitted: %s", strings.Join(args, " "), user, said)
		return
	}
	wantAll(a.t, said, append(parts, `.gitgate.dev" denied the request`)...)
}

func annotated(namespace, name, value string, annotations ...string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: %s\n  annotations: {%s}\ndata:\n  value: %q\n", name, namespace, strings.Join(annotations, ", "), value)
}

// emptyJob is a Job that is complete without a Pod: there is no kubelet.
func emptyJob(name, image, annotations string) string {
	return fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata:
  %s
  annotations: {%s}
spec:
  parallelism: 0
  completions: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: job, image: %q}]
`, name, annotations, image)
}

const (
	newer      = "registry.example.com/shop/web:1.1.0"
	controller = world.ArgoCDUser
)

// argoCDConfig lets one person scale what one scene has, so that something can drift.
const argoCDConfig = `writers:
  - name: oncall
    users: [oncall]
    writes: [{kinds: [Deployment.apps], namespaces: [argo-heal], fields: [spec.replicas], subresources: [scale]}]
`

// argoCDBefore is in the cluster before the gate is: a service account that applies the Applications of one project, and an
// Application of a repository that nobody knows.
func argoCDBefore(rogue string) []string {
	return []string{
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: deployer}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n" +
			"subjects: [{kind: ServiceAccount, name: deployer, namespace: argo-tenant}]\n",
		fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: rogue, namespace: argocd}\nspec:\n  project: default\n  source: {repoURL: %q, targetRevision: main, path: .}\n"+
			"  destination: {server: https://kubernetes.default.svc, namespace: default}\n", rogue),
	}
}

func TestArgoCD(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real control plane")
	}
	foreign := gitserver.NewRepo(t)
	foreign.Commit("miner", map[string]string{"miner.yaml": deployment("default", "miner", 1, "registry.example.com/evil/miner:1")})
	w := start(t, world.Options{
		ArgoCD: true, ArgoCDSettings: map[string]string{"application.sync.impersonation.enabled": "true", "application.sync.impersonation.enforced": "false"},
		Config: argoCDConfig, Gate: []string{"--log-level=debug"}, Manifest: argoCDBefore(gitserver.Serve(t, foreign).URL),
	})
	for _, scene := range []struct {
		name string
		play func(*testing.T, *world.World)
	}{
		{"what a commit declares is applied, and what a person changes by hand is denied", argoByHand},
		{"server-side apply, and an image that a commit changes", argoServerSide},
		{"a drift is corrected", argoHeal},
		{"what a commit takes away is pruned", argoPrune},
		{"hooks are made, deleted and made again", argoHooks},
		{"objects are replaced, and made anew where Git says so", argoReplace},
		{"a namespace is created for an Application", argoNamespace},
		{"an Application that goes takes its objects with it", argoCascade},
		{"an Application of Applications", argoNested},
		{"an ApplicationSet", argoSet},
		{"a service account that the project names applies its Applications", argoTenant},
		{"a chart with values of another source", argoChart},
		{"an older revision, and a branch that nobody accepted", argoRevisions},
		{"a stolen token", argoStolen},
		{"an Application that Git does not declare", argoRogue},
	} {
		t.Run(scene.name, func(t *testing.T) { scene.play(t, w) })
	}
}

func argoByHand(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-by-hand", world.Automated)
	commit := a.synced("web", map[string]string{"web.yaml": deployment(a.name, "web", 2, image)})
	a.Eventually("the controllers make no Pods of it", func() error {
		if n := len(a.List("v1 Pod", a.name)); n != 2 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	declared := []string{"argo-by-hand/web", "apps/argo-by-hand/web.yaml", short(commit), "Test Author", "Argo CD"}
	a.refused("ann", []string{"-n", a.name, "set", "image", "deployment/web", "web=" + newer}, append(declared, "web.yaml:16", newer)...)
	a.refused("ann", []string{"-n", a.name, "scale", "deployment/web", "--replicas=3"}, append(declared, "web.yaml:7")...)
	a.refused("ann", []string{"-n", a.name, "label", "deployment/web", "tier=front"}, append(declared, "metadata.labels")...)
	a.refused("ann", []string{"-n", a.name, "delete", "deployment/web"}, append(declared, "delete it in")...)
	a.refused("ann", []string{"-n", "argocd", "patch", "application/" + a.name, "--type=merge", "-p", `{"spec":{"source":{"targetRevision":"evil"}}}`}, "applications/argo-by-hand.yaml", short(commit), "evil")
	a.refused("ann", []string{"-n", "argocd", "annotate", "application/" + a.name, "argocd.argoproj.io/refresh=normal"}, "applications/argo-by-hand.yaml")
}

func argoServerSide(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-ssa", world.Automated)
	a.synced("web, by client-side apply", map[string]string{"web.yaml": deployment(a.name, "web", 1, image)})
	a.synced("another image", map[string]string{"web.yaml": deployment(a.name, "web", 1, newer)})
	if got := a.image("web"); got != newer {
		t.Errorf("image is %q, want %q", got, newer)
	}
	a.spec = []string{world.Automated + "    syncOptions: [ServerSideApply=true]\n"}
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: argo-ssa}\nspec:\n  selector: {app: web}\n  ports: [{port: 80, targetPort: 8080}]\n"
	a.synced("server-side apply", map[string]string{"web.yaml": deployment(a.name, "web", 2, newer), "service.yaml": service})
	a.synced("the image of before", map[string]string{"web.yaml": deployment(a.name, "web", 2, image)})
	if got := a.image("web"); got != image {
		t.Errorf("image is %q, want %q", got, image)
	}
}

func argoHeal(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-heal", world.Automated)
	a.synced("web", map[string]string{"web.yaml": deployment(a.name, "web", 2, image)})
	before := a.Get("apps/v1 Deployment", a.name, "web").GetGeneration()
	if said, err := a.Kubectl("oncall", "-n", a.name, "scale", "deployment/web", "--replicas=5"); err != nil {
		t.Fatalf("a declared writer is refused: %s", said)
	}
	a.Eventually("the drift is not corrected", func() error {
		o := a.Get("apps/v1 Deployment", a.name, "web")
		if n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); n != 2 || o.GetGeneration() < before+2 {
			return fmt.Errorf("%d replicas in generation %d", n, o.GetGeneration())
		}
		return nil
	})
}

func argoPrune(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-prune", world.Automated)
	a.synced("two", map[string]string{"one.yaml": annotated(a.name, "one", "1"), "two.yaml": annotated(a.name, "two", "2")})
	a.refused(controller, []string{"-n", a.name, "delete", "configmap/two"}, "is still declared at apps/argo-prune/two.yaml")
	a.synced("one", map[string]string{"two.yaml": ""})
	if a.Get("v1 ConfigMap", a.name, "two") != nil {
		t.Error("what Git no longer declares is there")
	}
	a.Repo.Git("revert", "--no-edit", "-S", "HEAD")
	a.Synced(a.name, a.Repo.Git("rev-parse", "HEAD"))
	if a.value("v1 ConfigMap", "two", "data", "value") != "2" {
		t.Error("what a revert declares again is not there")
	}
}

func argoHooks(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-hooks", world.Automated)
	files := func(image, value string) map[string]string {
		return map[string]string{
			"pre.yaml":  emptyJob("name: migrate", image, "argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation"),
			"post.yaml": emptyJob("generateName: warm-", image, "argocd.argoproj.io/hook: PostSync, argocd.argoproj.io/hook-delete-policy: HookSucceeded"),
			"done.yaml": emptyJob("name: done", image, "argocd.argoproj.io/hook: PostSync"),
			"data.yaml": annotated(a.name, "data", value),
		}
	}
	a.synced("hooks", files(image, "1"))
	first := a.Get("batch/v1 Job", a.name, "migrate")
	if first == nil {
		t.Fatal("there is no PreSync hook")
	}
	a.synced("hooks of another image", files(newer, "2"))
	if second := a.Get("batch/v1 Job", a.name, "migrate"); second == nil || second.GetUID() == first.GetUID() {
		t.Error("the PreSync hook was not made again")
	}
	if jobs := a.List("batch/v1 Job", a.name); len(jobs) != 2 {
		t.Errorf("there are %d Jobs, want migrate and done: the other one goes when it has succeeded", len(jobs))
	}
}

func argoReplace(t *testing.T, w *world.World) {
	a := newApplication(t, w, "argo-replace", world.Automated)
	const replace, force = "argocd.argoproj.io/sync-options: Replace=true", `argocd.argoproj.io/sync-options: "Force=true,Replace=true"`
	a.synced("replace", map[string]string{"data.yaml": annotated(a.name, "data", "1", replace), "job.yaml": emptyJob("name: job", image, force), "web.yaml": deployment(a.name, "web", 1, image)})
	before := a.Get("batch/v1 Job", a.name, "job").GetUID()
	a.synced("replaced", map[string]string{
		"data.yaml": annotated(a.name, "data", "2", replace), "job.yaml": emptyJob("name: job", newer, force),
		"web.yaml": strings.Replace(deployment(a.name, "web", 3, newer), "spec:", "  annotations: {"+replace+"}\nspec:", 1),
	})
	if a.value("v1 ConfigMap", "data", "data", "value") != "2" || a.image("web") != newer {
		t.Error("objects were not replaced")
	}
	if after := a.Get("batch/v1 Job", a.name, "job").GetUID(); after == before {
		t.Error("the Job, which cannot be changed, was not made anew")
	}
}
