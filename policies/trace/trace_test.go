package trace_test

import (
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

const (
	fluxUser = "system:serviceaccount:flux-system:kustomize-controller"
	argoUser = "system:serviceaccount:argocd:argocd-application-controller"
	rsUser   = "system:serviceaccount:kube-system:replicaset-controller"
	depUser  = "system:serviceaccount:kube-system:deployment-controller"
	gcUser   = "system:serviceaccount:kube-system:generic-garbage-collector"
	nsUser   = "system:serviceaccount:kube-system:namespace-controller"
	hpaUser  = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
)

var (
	apps   = policies.Unit{Kind: "Kustomization", Namespace: "flux-system", Name: "apps", Prune: true}
	tenant = policies.Unit{Kind: "Kustomization", Namespace: "team-a", Name: "team", ServiceAccount: "team-a:reconciler", Prune: true}
	shop   = policies.Unit{Kind: "Application", Namespace: "argocd", Name: "shop", Prune: true}
	pay    = policies.Unit{Kind: "Application", Namespace: "argocd", Name: "pay", ServiceAccount: "pay:deployer", Prune: true}
)

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "registry.example.com/web:1.1.0"}]
`

// with is a manifest in which one text stands for another.
func with(manifest string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(manifest, pairs[i]) {
			panic("no " + pairs[i] + " in " + manifest)
		}
		manifest = strings.Replace(manifest, pairs[i], pairs[i+1], 1)
	}
	return manifest
}

const (
	marks   = "labels: {app: web, kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}"
	another = `apiVersion: v1
kind: ConfigMap
metadata: {name: conf, namespace: shop}
data: {a: "1"}
`
	namespace = `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: restricted}}
`
	binding = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: Group, name: readers, apiGroup: rbac.authorization.k8s.io}]
`
	tenants = `apiVersion: v1
kind: ConfigMap
metadata: {name: conf, namespace: team-a}
data: {a: "1"}
`
	ledger = `apiVersion: v1
kind: ConfigMap
metadata: {name: ledger, namespace: pay}
data: {a: "1"}
`
	widget = `apiVersion: widgets.example.k8s.io/v1
kind: Widget
metadata: {name: blue, namespace: shop}
spec: {size: 1}
`
	secret = `apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
type: Opaque
data: {password: c2VjcmV0}
`
)

func fleet(t testing.TB) *world {
	w := &world{}
	w.declares(t, apps, deployment, another, namespace, binding, secret, widget)
	w.declares(t, tenant, tenants)
	w.declares(t, pay, ledger)
	return w
}

func TestAReconcilerWritesWhatGitDeclaresAndNothingElse(t *testing.T) {
	live := with(deployment, "labels: {app: web}", marks)
	older := with(live, "web:1.1.0", "web:1.0.0")
	for _, tc := range []struct {
		name string
		q    request
		want string // the class, or texts that the answer has, one a line
	}{
		{"a creation of what is declared", request{object: deployment}, "reconciler"},
		{"a creation with the marks of its unit", request{object: live}, "reconciler"},
		{"an update to what is declared", request{old: older, object: live}, "reconciler"},
		{"an update that changes nothing", request{old: older, object: older}, "reconciler"},
		{"a drift that stays for now", request{old: with(live, "replicas: 3", "replicas: 1"), object: with(live, "replicas: 3", "replicas: 1")}, "reconciler"},
		{"a drift that is corrected", request{old: with(live, "replicas: 3", "replicas: 1"), object: live}, "reconciler"},
		{"a field that is no longer declared goes", request{old: with(live, "  replicas: 3", "  replicas: 3\n  paused: true"), object: live}, "reconciler"},
		{"marks that another writer took away come back", request{old: deployment, object: live}, "reconciler"},

		{"a stolen token adds a sidecar", request{old: live, object: with(live, `web:1.1.0"}`, `web:1.1.0"}, {name: miner, image: evil}`)}, "[field] spec.template.spec.containers[1]: "},
		{"a stolen token puts a sidecar first", request{object: with(live, "[{name: web", "[{name: miner, image: evil}, {name: web")}, "[field] spec.template.spec.containers[0]: "},
		{"a stolen token changes an image", request{old: live, object: with(live, "web:1.1.0", "evil:1")}, `spec.template.spec.containers[0].image: "registry.example.com/evil:1" is not what Git declares: "registry.example.com/web:1.1.0" at apps/web.yaml:10, commit abc123000000 by Ann <ann@example.com>`},
		{"a stolen token adds hostPID", request{old: live, object: with(live, "      containers", "      hostPID: true\n      containers")}, "[field] spec.template.spec.hostPID: true is not declared"},
		{"a stolen token adds hostPID in a creation", request{object: with(live, "      containers", "      hostPID: true\n      containers")}, "[field] spec.template.spec.hostPID"},
		{"a stolen token adds an object", request{object: with(another, "name: conf", "name: evil")}, "[object] ConfigMap shop/evil is declared by no accepted commit"},
		{"a stolen token adds an object with marks", request{object: with(deployment, "name: web", "name: evil", "labels: {app: web}", marks)}, "[object] Deployment shop/evil"},
		{"a stolen token writes a declared object into another namespace", request{object: with(another, "namespace: shop", "namespace: prod")}, "[object] ConfigMap prod/conf"},
		{"a stolen token invents a field manager", request{old: live, object: with(live, "labels: {app", "managedFields: [{manager: hpa, operation: Update, fieldsV1: {\"f:spec\": {\"f:replicas\": {}}}}], labels: {app", "replicas: 3", "replicas: 30")}, "[field] spec.replicas: 30"},
		{"a stolen token smuggles in an annotation", request{old: live, object: with(live, "labels: {app", "annotations: {evil: x}, labels: {app")}, "[field] metadata.annotations"},
		{"a stolen token smuggles in a label", request{old: live, object: with(live, "{app: web, kust", "{app: web, sidecar.istio.io/inject: \"false\", kust")}, "[field] metadata.labels[sidecar.istio.io/inject]"},
		{"a stolen token gives the marks of another unit", request{object: with(deployment, "labels: {app: web}", "labels: {app: web, kustomize.toolkit.fluxcd.io/name: other, kustomize.toolkit.fluxcd.io/namespace: flux-system}")}, "[field] metadata.labels[kustomize.toolkit.fluxcd.io/name]"},
		{"a stolen token takes a foreign finalizer away", request{old: with(live, "labels: {app", "finalizers: [example.com/hold], labels: {app"), object: live}, "[field] metadata.finalizers[example.com/hold]: is taken away"},
		{"a stolen token adds a finalizer", request{old: live, object: with(live, "labels: {app", "finalizers: [evil.com/hold], labels: {app")}, "[field] metadata.finalizers"},
		{"a stolen token makes an object somebody's", request{old: live, object: with(live, "labels: {app", "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: conf, uid: u1}], labels: {app")}, "[field] metadata.ownerReferences"},
		{"a stolen token takes an owner away", request{old: with(live, "labels: {app", "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: conf, uid: u1}], labels: {app"), object: live}, "metadata.ownerReferences[u1]: is taken away"},
		{"a stolen token lowers the Pod Security level", request{old: namespace, object: with(namespace, "restricted", "privileged"), ns: ""}, "[field] metadata.labels[pod-security.kubernetes.io/enforce]: \"privileged\" is not what Git declares: \"restricted\""},
		{"a stolen token takes an undeclared Pod Security level away", request{old: with(namespace, "}}", ", pod-security.kubernetes.io/warn: restricted}}"), object: namespace}, "metadata.labels[pod-security.kubernetes.io/warn]: is taken away"},
		{"a stolen token binds another role", request{old: binding, object: with(binding, "name: view", "name: cluster-admin")}, `[field] roleRef.name: "cluster-admin" is not what Git declares: "view"`},
		{"a stolen token adds a subject", request{old: binding, object: with(binding, "subjects: [", "subjects: [{kind: User, name: mallory}, ")}, "[field] subjects"},
		{"a stolen token binds itself", request{object: with(binding, "name: readers}\n", "name: evil}\n", "name: view", "name: cluster-admin")}, "[object] ClusterRoleBinding evil"},
		{"a stolen token lies in last-applied", request{old: live, object: with(live, "labels: {app", `annotations: {kubectl.kubernetes.io/last-applied-configuration: "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"},\"spec\":{\"template\":{\"spec\":{\"securityContext\":{\"runAsNonRoot\":true}}}}}"}, labels: {app`)}, "[field] metadata.annotations: what is set is not declared"},
		{"last-applied that says what Git does", request{object: with(live, "labels: {app", `annotations: {kubectl.kubernetes.io/last-applied-configuration: "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"annotations\":{}},\"spec\":{\"replicas\":3},\"status\":{}}"}, labels: {app`)}, "reconciler"},
		{"a stolen token writes a status with the object", request{old: live, object: live + "status: {replicas: 9}\n"}, "[field] status: is written with the object"},
		{"a stolen token writes a status of a custom resource at its creation", request{object: widget + "status: {ready: true}\n"}, "[field] status: is written with the object"},
		{"a custom resource", request{object: widget}, "reconciler"},
		{"a stolen token deletes what is declared", request{old: live}, "[delete] Deployment shop/web is still declared at apps/web.yaml:3"},
		{"a stolen token deletes what nobody declared", request{old: with(another, "name: conf", "name: other")}, "[delete] ConfigMap shop/other was declared by no accepted commit"},
		{"a stolen token deletes the namespace", request{old: namespace}, "[delete] Namespace shop is still declared"},
		{"a stolen token scales", request{res: "deployments.apps/scale", object: "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 0}\n", old: "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 3}\n"}, "[subresource] scale of Deployment shop/web"},
		{"a stolen token writes the status of a Deployment", request{res: "deployments.apps/status", old: live, object: live + "status: {replicas: 9}\n"}, "[subresource] status of Deployment shop/web"},
		{"a secret's value is not told", request{old: secret, object: with(secret, "c2VjcmV0", "ZXZpbA==")}, "[field] data.password: the value is not what Git declares: another at"},

		{"the account of a unit that is not this one", request{user: "system:serviceaccount:team-a:reconciler", object: another}, "[writer] ConfigMap shop/conf is declared by Kustomization flux-system/apps, which system:serviceaccount:team-a:reconciler does not apply: Flux's kustomize-controller does"},
		{"the account of the unit that declares it", request{user: "system:serviceaccount:team-a:reconciler", object: tenants}, "reconciler"},
		{"a unit's account writes another image of its own object", request{user: "system:serviceaccount:team-a:reconciler", object: with(tenants, `"1"`, `"2"`)}, "[field] data.a"},
		{"the controller itself in place of the account that the unit takes", request{object: tenants}, "[writer] ConfigMap team-a/conf is declared by Kustomization team-a/team, which system:serviceaccount:flux-system:kustomize-controller does not apply: system:serviceaccount:team-a:reconciler does"},
		{"the account that an AppProject names", request{user: "system:serviceaccount:pay:deployer", object: ledger}, "reconciler"},
		{"Argo CD's controller in place of the account that the AppProject names", request{user: argoUser, object: ledger}, "reconciler"},
		{"the account that an AppProject names writes another value", request{user: "system:serviceaccount:pay:deployer", object: with(ledger, `"1"`, `"2"`)}, "[field] data.a"},
		{"the account that an AppProject names for another unit", request{user: "system:serviceaccount:pay:deployer", object: another}, "[writer]"},
		{"another reconciler", request{user: argoUser, object: deployment}, "[writer] Deployment shop/web is declared by Kustomization flux-system/apps, which"},
		{"an account that no unit takes, with the marks of one in its namespace", request{user: "system:serviceaccount:team-a:rogue", object: with(tenants, "namespace: team-a", "namespace: team-a, labels: {kustomize.toolkit.fluxcd.io/name: team, kustomize.toolkit.fluxcd.io/namespace: team-a}")},
			"[writer] ConfigMap team-a/conf as it is written is what commit\nsystem:serviceaccount:team-a:reconciler applies it, not system:serviceaccount:team-a:rogue\nno Kustomization, HelmRelease or AppProject that Git declares takes the service account team-a:rogue"},
		{"an account that no unit takes makes an object of a unit that is another's", request{user: "system:serviceaccount:team-a:rogue", object: with(tenants, "name: conf, namespace: team-a", "name: more, namespace: team-a, labels: {kustomize.toolkit.fluxcd.io/name: team, kustomize.toolkit.fluxcd.io/namespace: team-a}")},
			"[object] system:serviceaccount:team-a:rogue may not create ConfigMap team-a/more: no accepted commit declares it\nit names Kustomization team-a/team as its unit, which system:serviceaccount:team-a:reconciler applies\nno Kustomization, HelmRelease or AppProject that Git declares takes the service account team-a:rogue"},
		{"the account of a unit makes an object that no commit declares", request{user: "system:serviceaccount:team-a:reconciler", object: with(tenants, "name: conf", "name: more")}, "[object] ConfigMap team-a/more is declared by no accepted commit"},
		{"the account of a unit deletes another unit's object", request{user: "system:serviceaccount:team-a:reconciler", old: another}, "[delete] ConfigMap shop/conf is still declared"},
		{"an account of the same name in another namespace", request{user: "system:serviceaccount:evil:kustomize-controller", object: deployment}, "[writer] Deployment shop/web as it is written is what commit abc123000000"},
		{"a longer name that begins alike", request{user: fluxUser + "-2", object: deployment}, "[writer]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.q.user == "" {
				tc.q.user = fluxUser
			}
			got := answer(newPolicy(t, fleet(t), nil).Judge(t.Context(), tc.q.change(t)))
			check(t, got, tc.want)
		})
	}
}

// check says whether an answer is the wanted class, or has all of the wanted lines' texts.
func check(t *testing.T, got, want string) {
	t.Helper()
	if strings.ContainsAny(want, " []:") {
		for _, line := range strings.Split(want, "\n") {
			if !strings.Contains(got, line) {
				t.Errorf("got:\n%s\nwant:\n%s", got, line)
			}
		}
	} else if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestWhatIsTakenOutOfGitIsDeleted(t *testing.T) {
	// The ledger is no longer declared, and its Application does not prune by itself.
	byHand := func(spec string) func(*world) {
		return func(w *world) {
			for _, f := range w.forms {
				f.Current = f.Unit != pay
			}
			for i := range w.units {
				w.units[i].Prune = w.units[i].Prune && w.units[i].Name != pay.Name
			}
			w.declares(t, shop, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: pay, namespace: argocd}\n"+spec+"\n")
		}
	}
	marked := with(another, "namespace: shop", "namespace: shop, labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}")
	for _, tc := range []struct {
		name  string
		world func(*world)
		q     request
		want  string
	}{
		{"by its unit", func(w *world) { w.forms[1].Current = false }, request{old: another}, "reconciler"},
		{"known by its marks alone", func(w *world) { w.forms = w.forms[:1] }, request{old: marked}, "reconciler"},
		{"not without marks", func(w *world) { w.forms = w.forms[:1] }, request{old: another}, "[delete] ConfigMap shop/conf was declared by no accepted commit"},
		{"not by a unit that does not prune", func(w *world) { w.forms[1].Current, w.units[0].Prune = false, false }, request{old: another}, "[delete] Git no longer declares ConfigMap shop/conf, but Kustomization flux-system/apps does not prune"},
		{"by an Application that a person synchronises", byHand("spec: {project: default}"), request{user: argoUser, old: ledger}, "reconciler"},
		{"by an Application whose automation is off", byHand("spec: {syncPolicy: {automated: {enabled: false}}}"), request{user: argoUser, old: ledger}, "reconciler"},
		{"not by an Application that synchronises by itself and does not prune", byHand("spec: {syncPolicy: {automated: {}}}"), request{user: argoUser, old: ledger}, "[delete] Git no longer declares ConfigMap pay/ledger, but Application argocd/pay does not prune"},
		{"not what is to be kept", func(w *world) { w.forms[1].Current = false }, request{old: with(another, "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}")}, "[delete] Git no longer declares ConfigMap shop/conf, but it says of itself that it is to be kept"},
		{"not what Argo CD keeps", byHand("spec: {project: default}"), request{user: argoUser, old: with(ledger, "namespace: pay", "namespace: pay, annotations: {argocd.argoproj.io/sync-options: 'Replace=true, Prune=false'}")}, "it is to be kept"},
		{"by a unit that is gone itself", func(w *world) { w.forms[1].Current, w.units = false, nil }, request{old: another}, "reconciler"},
		{"not by another reconciler", func(w *world) { w.forms[1].Current = false }, request{user: argoUser, old: another}, "[writer] ConfigMap shop/conf was applied by Kustomization flux-system/apps"},
		{"with its namespace", func(w *world) {
			w.live = append(w.live, policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}}, policies.Origin{}, nil, nil))
		}, request{old: another}, "reconciler"},
		{"to be made anew, where Git lets it", func(w *world) {
			w.forms[1].Object = object(t, with(another, "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}"))
		}, request{old: with(another, `"1"`, `"2"`)}, "reconciler"},
		{"not to be made anew when it is as declared", func(w *world) {
			w.forms[1].Object = object(t, with(another, "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}"))
		}, request{old: with(another, "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}")}, "[delete] ConfigMap shop/conf is still declared\nthere is nothing to make anew"},
		{"not to be made anew by the live object's word", func(*world) {}, request{old: with(another, "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}", `"1"`, `"2"`)}, "[delete] ConfigMap shop/conf is still declared"},
		{"not to be made anew when only controllers changed it", func(w *world) {
			w.forms[0].Object = object(t, with(deployment, "labels: {app: web}", "annotations: {kustomize.toolkit.fluxcd.io/force: enabled}, labels: {app: web}"))
		}, request{old: with(deployment, "labels: {app: web}", "annotations: {kustomize.toolkit.fluxcd.io/force: enabled, deployment.kubernetes.io/revision: \"2\"}, labels: {app: web}") + "status: {replicas: 3}\n"}, "[delete] Deployment shop/web is still declared\nthere is nothing to make anew"},
		{"to be made anew without what Git no longer declares", func(w *world) {
			w.declares(t, apps, with(another, `a: "1"`, `a: "1", b: "2"`))
			w.forms[len(w.forms)-1].Current = false
			w.forms[1].Object = object(t, with(another, "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}"))
		}, request{old: with(another, `a: "1"`, `a: "1", b: "2"`, "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}")}, "reconciler"},
		{"at each sync of Argo CD that replaces it by force", forcedByArgo(t, ledger, "Force=true,Replace=true", ""), request{user: payUser, old: with(ledger, "namespace: pay", "namespace: pay, annotations: {argocd.argoproj.io/sync-options: \"Force=true,Replace=true\"}")}, "reconciler"},
		{"at each sync of an Application that replaces", forcedByArgo(t, ledger, "Force=true", "Replace=true"), request{user: payUser, old: with(ledger, "namespace: pay", "namespace: pay, annotations: {argocd.argoproj.io/sync-options: Force=true}")}, "reconciler"},
		{"not by Argo CD that applies it by force, as it is as declared", forcedByArgo(t, ledger, "Force=true", ""), request{user: payUser, old: with(ledger, "namespace: pay", "namespace: pay, annotations: {argocd.argoproj.io/sync-options: Force=true}")}, "there is nothing to make anew"},
		{"not by force of the Application, of which Argo CD knows nothing", forcedByArgo(t, ledger, "", "Force=true"), request{user: payUser, old: with(ledger, `"1"`, `"2"`)}, "[delete] ConfigMap pay/ledger is still declared"},
		{"not a Namespace, which Argo CD only updates", forcedByArgo(t, paySpace, "Force=true,Replace=true", ""), request{user: payUser, old: with(paySpace, "name: pay", "name: pay, annotations: {argocd.argoproj.io/sync-options: \"Force=true,Replace=true\"}")}, "there is nothing to make anew"},
		{"as a hook", func(w *world) {
			w.declares(t, shop, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: pre, namespace: shop, annotations: {argocd.argoproj.io/hook: PreSync}}\n")
		}, request{user: argoUser, old: "apiVersion: batch/v1\nkind: Job\nmetadata: {name: pre, namespace: shop}\n"}, "reconciler"},
		{"not when the unit cannot be known", func(w *world) {
			w.forms = w.forms[:1]
			w.opaque = []trace.Opaque{{Unit: apps, What: "plugin cue", Reason: "render it in CI"}}
		}, request{old: marked}, "could not judge: ConfigMap shop/conf carries the marks of Kustomization flux-system/apps, and whether that still declares it is not known: plugin cue: render it in CI"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := fleet(t)
			tc.world(w)
			if tc.q.user == "" {
				tc.q.user = fluxUser
			}
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}

const (
	payUser  = "system:serviceaccount:pay:deployer"
	paySpace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: pay}\n"
)

// forcedByArgo declares a manifest of the Application pay with sync options of its own, and that Application with its.
func forcedByArgo(t *testing.T, manifest, own, application string) func(*world) {
	return func(w *world) {
		w.forms = slices.DeleteFunc(w.forms, func(f *policies.Form) bool { return f.Unit == pay })
		if own != "" {
			manifest = with(manifest, "metadata: {", "metadata: {annotations: {argocd.argoproj.io/sync-options: \""+own+"\"}, ")
		}
		w.declares(t, pay, manifest)
		w.declares(t, shop, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: pay, namespace: argocd}\nspec: {syncPolicy: {syncOptions: [\""+application+"\"]}}\n")
	}
}

// Argo CD writes what Git declares also where it ignores differences. With RespectIgnoreDifferences=true it writes there what is live.
func TestAFieldWhoseDifferencesAreIgnoredIsNobodysToSet(t *testing.T) {
	const (
		plain    = "ignoreDifferences: [{group: apps, kind: Deployment, jsonPointers: [/spec/replicas]}]"
		respects = plain + ", syncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"
		applied  = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"pay"},"spec":{"replicas":REPLICAS,"template":{"spec":{"containers":[{"name":"web","image":"registry.example.com/web:1.1.0"}]}}}}`
	)
	declared := with(deployment, "namespace: shop", "namespace: pay")
	scaled := func(n string) string { return with(declared, "replicas: 3", "replicas: "+n) }
	says := func(manifest, n string) string {
		return with(manifest, "metadata: {", "metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '"+strings.Replace(applied, "REPLICAS", n, 1)+"'}, ")
	}
	const field, note = "[field] spec.replicas: 9 is not what Git declares: 3", "[field] metadata.annotations"
	for _, tc := range []struct {
		name, spec string
		q          request
		want       string
	}{
		{"the declared value", plain, request{old: scaled("5"), object: declared}, "reconciler"},
		{"the declared value, as client-side apply writes it", plain, request{old: says(scaled("5"), "3"), object: says(declared, "3")}, "reconciler"},
		{"another value", plain, request{old: scaled("5"), object: scaled("9")}, field},
		{"the live value said to be applied, without respect", plain, request{old: scaled("5"), object: says(scaled("5"), "5")}, note},

		{"the live value, with respect", respects, request{old: scaled("5"), object: scaled("5")}, "reconciler"},
		{"the live value, as client-side apply writes it", respects, request{old: scaled("5"), object: says(scaled("5"), "5")}, "reconciler"},
		{"the live value beside a change", respects, request{old: with(scaled("5"), "web:1.1.0", "web:1.0.0"), object: says(scaled("5"), "5")}, "reconciler"},
		{"another value, with respect", respects, request{old: scaled("5"), object: says(scaled("9"), "9")}, field},
		{"another value said to be applied", respects, request{old: scaled("5"), object: says(scaled("5"), "9")}, note},
		{"the live value said to be applied, and another one written", respects, request{old: scaled("5"), object: says(declared, "5")}, note},
		{"another field said to be applied", respects, request{old: scaled("5"), object: with(says(scaled("5"), "5"), `"template":{"spec":{`, `"template":{"spec":{"hostPID":true,`)}, note},
		{"another field, with respect", respects, request{old: scaled("5"), object: with(scaled("5"), "web:1.1.0", "evil:1")}, `"registry.example.com/evil:1" is not what Git declares`},
		{"a creation with another value", respects, request{object: scaled("9")}, field},
		{"a creation that says another value", respects, request{object: says(declared, "9")}, note},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{}
			w.declares(t, pay, declared)
			w.declares(t, shop, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: pay, namespace: argocd}\nspec: {"+tc.spec+"}\n")
			tc.q.user = payUser
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}

func TestAnOlderStateDoesNotComeBackByItself(t *testing.T) {
	w := fleet(t)
	w.declares(t, apps, with(deployment, "web:1.1.0", "web:1.0.0"))
	w.forms[len(w.forms)-1].Current = false
	q := request{user: fluxUser, old: deployment, object: with(deployment, "web:1.1.0", "web:1.0.0")}
	check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), q.change(t))), "reconciler")
	w.older = true
	check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), q.change(t))), "[replay] Deployment shop/web is what commits up to ffffffffffff declared, and 999999999999 was applied to Kustomization flux-system/apps since")
	q.object, q.old = deployment, with(deployment, "web:1.1.0", "web:1.0.0")
	check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), q.change(t))), "reconciler")
}

func TestTheLiveObjectShowsThatANewerCommitWasApplied(t *testing.T) {
	before := with(deployment, "web:1.1.0", "web:1.0.0")
	of := func(unit policies.Unit) *world {
		w := &world{}
		w.declares(t, unit, deployment, before)
		w.forms[0].Since.Hash, w.forms[1].Until.Hash, w.forms[1].Current = "new", "old", false
		w.order = []string{"old", "new"}
		return w
	}
	for _, tc := range []struct {
		name string
		unit policies.Unit
		q    request
		want string
	}{
		{"the older state in its place", apps, request{old: deployment, object: before}, "[replay] Deployment shop/web is what commits up to old declared, and new was applied to Kustomization flux-system/apps since"},
		{"the older state in its place, which has what controllers add", apps, request{old: with(deployment, "labels: {app: web}", "annotations: {deployment.kubernetes.io/revision: \"2\"}, labels: {app: web}") + "status: {replicas: 3}\n", object: before}, "[replay]"},
		{"the live object is the older one", apps, request{old: before, object: before}, "reconciler"},
		{"the live object is neither", apps, request{old: with(deployment, "replicas: 3", "replicas: 9"), object: before}, "reconciler"},
		{"the object is not there", apps, request{object: before}, "reconciler"},
		{"helm-controller goes back", policies.Unit{Kind: "HelmRelease", Namespace: "shop", Name: "web"}, request{user: helmUser, old: deployment, object: before}, "reconciler"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.q.user == "" {
				tc.q.user = fluxUser
			}
			check(t, answer(newPolicy(t, of(tc.unit), nil).Judge(t.Context(), tc.q.change(t))), tc.want)
		})
	}
}

func TestAFieldThatANewerCommitAddsOrTakesAwayShowsThatItWasApplied(t *testing.T) {
	more := with(deployment, "      containers", "      securityContext: {runAsNonRoot: true}\n      containers")
	for _, tc := range []struct {
		name         string
		older, newer string
		live         string
		want         string
	}{
		{"the newer one adds a field, and it is there", deployment, more, more, "[replay]"},
		{"the newer one adds a field, and it is not there", deployment, more, deployment, "reconciler"},
		{"the newer one takes a field away, and it is gone", more, deployment, deployment, "[replay]"},
		{"the newer one takes a field away, and it is there", more, deployment, with(more, "replicas: 3", "replicas: 9"), "reconciler"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{}
			w.declares(t, apps, tc.newer, tc.older)
			w.forms[0].Since.Hash, w.forms[1].Until.Hash, w.forms[1].Current = "new", "old", false
			w.order = []string{"old", "new"}
			// What is written is compared with the newer form first, and it is not that one's.
			write := with(tc.older, "labels: {app: web}", marks)
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), request{user: fluxUser, old: tc.live, object: write}.change(t))), tc.want)
			if tc.want == "reconciler" && len(w.wrote) > 0 && w.wrote[0] == "new" {
				t.Errorf("a reconciler that is behind was taken to have come as far as %v", w.wrote)
			}
		})
	}
}

func TestHowFarAReconcilerHasComeIsSeenByWhatItWritesInFull(t *testing.T) {
	live := with(deployment, "replicas: 3", "replicas: 9")
	for _, tc := range []struct {
		name string
		q    request
		dry  bool
		want int
	}{
		{"a creation", request{object: deployment}, false, 1},
		{"an update to what is declared", request{old: live, object: deployment}, false, 1},
		{"an update that changes nothing", request{old: deployment, object: deployment}, false, 0},
		{"an update that leaves a drift", request{old: live, object: with(live, "labels: {app: web}", marks)}, false, 0},
		{"a dry run", request{object: deployment}, true, 0},
		{"what is refused", request{object: with(deployment, "replicas: 3", "replicas: 9")}, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := fleet(t)
			tc.q.user = fluxUser
			c := tc.q.change(t)
			c.DryRun = tc.dry
			if _, err := newPolicy(t, w, nil).Judge(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if len(w.wrote) != tc.want {
				t.Errorf("noted %v", w.wrote)
			}
		})
	}
}

func TestGitIsAskedOnceBeforeNo(t *testing.T) {
	pushed := with(deployment, "web:1.1.0", "web:1.2.0")
	q := request{user: fluxUser, old: deployment, object: pushed}
	for _, tc := range []struct {
		name  string
		fresh func(*world) (bool, error)
		want  string
	}{
		{"it has the commit", func(w *world) (bool, error) { w.declares(t, apps, pushed); return true, nil }, "reconciler"},
		{"it has another commit", func(w *world) (bool, error) { return true, nil }, "[field] spec.template.spec.containers[0].image"},
		{"it has nothing new", func(w *world) (bool, error) { return false, nil }, "[field] spec.template.spec.containers[0].image"},
		{"it cannot be asked", func(w *world) (bool, error) { return false, errDown }, "could not judge: accepted commits known here do not declare it\nconnection refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := fleet(t)
			w.fresh = func() (bool, error) { return tc.fresh(w) }
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), q.change(t))), tc.want)
			if w.fetched != 1 {
				t.Errorf("Git was asked %d times", w.fetched)
			}
		})
	}
	t.Run("people do not make it ask", func(t *testing.T) {
		w := fleet(t)
		q.user = "alice@example.com"
		newPolicy(t, w, nil).Judge(t.Context(), q.change(t))
		if w.fetched != 0 {
			t.Errorf("Git was asked %d times", w.fetched)
		}
	})
}

// Another replica has let in what this one has not fetched.
func TestGitIsAskedBeforeYesWhenTheReconcilerIsAhead(t *testing.T) {
	for _, tc := range []struct {
		name  string
		q     request
		fresh func(*world) (bool, error)
		want  string
	}{
		{"the commit changes it", request{object: deployment, old: with(deployment, "web:1.1.0", "web:1.2.0")}, func(w *world) (bool, error) {
			w.forms[0].Current, w.older = false, true
			w.declares(t, apps, with(deployment, "web:1.1.0", "web:1.2.0"))
			return true, nil
		}, "[replay] Deployment shop/web is what commits up to ffffffffffff declared"},
		{"the commit leaves it", request{object: deployment, old: with(deployment, "web:1.1.0", "web:1.2.0")}, func(*world) (bool, error) { return true, nil }, "reconciler"},
		{"the commit is not accepted", request{object: deployment, old: with(deployment, "web:1.1.0", "web:1.2.0")}, func(*world) (bool, error) { return false, nil }, "reconciler"},
		{"Git cannot be asked", request{object: deployment, old: with(deployment, "web:1.1.0", "web:1.2.0")}, func(*world) (bool, error) { return false, errDown }, "could not judge: Kustomization flux-system/apps names a commit that is not known here\nconnection refused"},
		{"the commit declares anew what is deleted", request{old: another}, func(w *world) (bool, error) { w.forms[1].Current = true; return true, nil }, "[delete] ConfigMap shop/conf is still declared"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := fleet(t)
			w.ahead, w.fresh, tc.q.user = true, func() (bool, error) { return tc.fresh(w) }, fluxUser
			w.forms[1].Current = false
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), tc.q.change(t))), tc.want)
			if w.fetched != 1 {
				t.Errorf("Git was asked %d times", w.fetched)
			}
		})
	}
}

func TestWhatIsNotKnownIsNeitherYesNorNo(t *testing.T) {
	w := fleet(t)
	release := policies.Unit{Kind: "HelmRelease", Namespace: "flux-system", Name: "podinfo"}
	w.opaque = []trace.Opaque{{Source: "fleet", Unit: release, What: "chart podinfo from https://charts.example.com", Reason: "vendor the chart into the repository"}}
	helm := "system:serviceaccount:flux-system:helm-controller"
	p := newPolicy(t, w, nil)
	check(t, answer(p.Judge(t.Context(), request{user: helm, object: with(another, "conf", "other")}.change(t))), "could not judge: no accepted commit is known to declare ConfigMap shop/other\nvendor the chart")
	check(t, answer(p.Judge(t.Context(), request{user: fluxUser, object: with(another, "conf", "other")}.change(t))), "[object] ConfigMap shop/other is declared by no accepted commit")
	w.held = []trace.Held{{Source: "fleet", Reason: "its branch was rewritten"}}
	check(t, answer(p.Judge(t.Context(), request{user: fluxUser, object: with(another, "conf", "other")}.change(t))), "new commits of source fleet are not accepted: its branch was rewritten")
	check(t, answer(p.Judge(t.Context(), &policies.Change{Operation: policies.Update, Object: object(t, another), Actor: &policies.Actor{User: fluxUser}})), "could not judge: request is incomplete")
}

func TestAnAccountIsLookedForInGitBeforeItIsRefused(t *testing.T) {
	account := "system:serviceaccount:team-b:reconciler"
	unit := policies.Unit{Kind: "Kustomization", Namespace: "team-b", Name: "team", ServiceAccount: "team-b:reconciler", Prune: true}
	const marked = `apiVersion: v1
kind: ConfigMap
metadata: {name: conf, namespace: team-b, labels: {kustomize.toolkit.fluxcd.io/name: team, kustomize.toolkit.fluxcd.io/namespace: team-b}}
`
	for _, tc := range []struct {
		name    string
		object  string
		fresh   func(*world) (bool, error)
		want    string
		fetched int
	}{
		{"a newer commit declares its unit", marked, func(w *world) (bool, error) { w.declares(t, unit, marked); return true, nil }, "reconciler", 1},
		{"nothing is newer", marked, func(*world) (bool, error) { return false, nil }, "[object] " + account + " may not create\nit names Kustomization team-b/team as its unit, which Git does not declare\ntakes the service account team-b:reconciler", 1},
		{"Git cannot be asked", marked, func(*world) (bool, error) { return false, errDown }, "[object] " + account + " may not create\ncould not be asked: connection refused", 1},
		{"what it writes names no unit", with(marked, ", labels: {kustomize.toolkit.fluxcd.io/name: team, kustomize.toolkit.fluxcd.io/namespace: team-b}", ""), nil, "[object] " + account + " may not create", 0},
		{"what it writes names a unit of another namespace", with(marked, "io/namespace: team-b", "io/namespace: team-a"), nil, "[object] " + account + " may not create", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := fleet(t)
			if tc.fresh != nil {
				w.fresh = func() (bool, error) { return tc.fresh(w) }
			}
			check(t, answer(newPolicy(t, w, nil).Judge(t.Context(), request{user: account, object: tc.object}.change(t))), tc.want)
			if w.fetched != tc.fetched {
				t.Errorf("Git was asked %d times, want %d", w.fetched, tc.fetched)
			}
		})
	}
}
