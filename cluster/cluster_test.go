package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/policies"
)

// mapper is a RESTMapper that forgets nothing.
type mapper struct {
	*meta.DefaultRESTMapper
	resets atomic.Int64
}

func (m *mapper) Reset() { m.resets.Add(1) }

func object(apiVersion, kind, namespace, name string, more map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name},
	}}
	if namespace != "" {
		u.SetNamespace(namespace)
	}
	for k, v := range more {
		u.Object[k] = v
	}
	return u
}

type world struct {
	*cluster.Cluster
	dynamic *dynamicfake.FakeDynamicClient
	kube    *fake.Clientset
	mapper  *mapper
	asked   atomic.Int64
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{
		{Version: "v1", Resource: "namespaces"}:                                           "NamespaceList",
		{Group: "apps", Version: "v1", Resource: "replicasets"}:                           "ReplicaSetList",
		{Version: "v1", Resource: "nodes"}:                                                "NodeList",
		{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}: "KustomizationList",
		{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}:        "HelmReleaseList",
		{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}:             "ApplicationList",
	}
	w := &world{dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...), kube: fake.NewClientset()}
	w.dynamic.PrependReactor("get", "*", func(ktesting.Action) (bool, runtime.Object, error) {
		w.asked.Add(1)
		return false, nil, nil
	})
	w.mapper = &mapper{DefaultRESTMapper: meta.NewDefaultRESTMapper(nil)}
	w.mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}, meta.RESTScopeNamespace)
	w.mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Node"}, meta.RESTScopeRoot)
	w.Cluster = cluster.New(cluster.Clients{Dynamic: w.dynamic, Kubernetes: w.kube, Mapper: w.mapper}, nil)
	return w
}

var (
	replicaSet = policies.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}
	node       = policies.GroupVersionKind{Version: "v1", Kind: "Node"}
)

func TestLiveObjectsAreLookedUpOnceForAWhile(t *testing.T) {
	w := newWorld(t, object("apps/v1", "ReplicaSet", "shop", "web", nil), object("v1", "Node", "", "n1", nil))
	get := func(kind policies.GroupVersionKind, namespace, name string, fresh bool) string {
		o, err := w.Get(t.Context(), kind, namespace, name, fresh)
		if err != nil {
			return err.Error()
		}
		if o == nil {
			return "none"
		}
		return o.String()
	}
	for _, tc := range []struct {
		name  string
		got   string
		want  string
		asked int64
	}{
		{"the first time", get(replicaSet, "shop", "web", false), "ReplicaSet shop/web", 1},
		{"again", get(replicaSet, "shop", "web", false), "ReplicaSet shop/web", 1},
		{"one that is not there", get(replicaSet, "shop", "api", false), "none", 2},
		{"that again", get(replicaSet, "shop", "api", false), "none", 2},
		{"with a fresh answer", get(replicaSet, "shop", "api", true), "none", 3},
		{"a cluster-scoped one, whatever the namespace", get(node, "shop", "n1", false), "Node n1", 4},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
	if n := w.asked.Load(); n != 4 {
		t.Errorf("the API server was asked %d times, want 4", n)
	}
}

func TestObjectsOfAClusterScopedKindAreListed(t *testing.T) {
	w := newWorld(t, object("v1", "Node", "", "n1", nil), object("v1", "Node", "", "n2", nil))
	all, err := w.List(t.Context(), node)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	w.dynamic.PrependReactor("list", "nodes", func(ktesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", errors.New("no"))
	})
	if all, err := w.List(t.Context(), node); err == nil {
		t.Error("who may not list got", all)
	}
}

func TestManyAskersAskOnce(t *testing.T) {
	w := newWorld(t, object("apps/v1", "ReplicaSet", "shop", "web", nil))
	release := make(chan struct{})
	w.dynamic.PrependReactor("get", "replicasets", func(ktesting.Action) (bool, runtime.Object, error) {
		<-release
		return false, nil, nil
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if o, err := w.Get(t.Context(), replicaSet, "shop", "web", false); err != nil || o == nil {
				t.Error(o, err)
			}
		})
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Get(impatient, replicaSet, "shop", "web", false); !errors.Is(err, context.Canceled) {
		t.Errorf("who gives up got %v", err)
	}
	close(release)
	wg.Wait()
	if n := w.asked.Load(); n > 2 {
		t.Errorf("the API server was asked %d times", n)
	}
}

func TestAnErrorIsNoAnswer(t *testing.T) {
	w := newWorld(t)
	w.dynamic.PrependReactor("get", "replicasets", func(ktesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "replicasets"}, "web", errors.New("no"))
	})
	for range 2 {
		if o, err := w.Get(t.Context(), replicaSet, "shop", "web", false); err == nil {
			t.Errorf("got %v", o)
		}
	}
	for i := range 100 {
		if _, err := w.Get(t.Context(), policies.GroupVersionKind{Group: "x", Version: "v1", Kind: fmt.Sprint("K", i)}, "", "a", false); err == nil {
			t.Error("a kind that does not exist was found")
		}
	}
	if n := w.mapper.resets.Load(); n > 1 {
		t.Errorf("invented kinds made the mapper look %d times", n)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal(what)
}

func TestAWatchFollowsTheCluster(t *testing.T) {
	w := newWorld(t, object("v1", "Namespace", "", "shop", nil))
	var changes atomic.Int64
	watch, err := w.Watch(t.Context(), policies.Resource{Version: "v1", Resource: "namespaces"}, func() { changes.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first look never ended", func() bool { return watch.Ready() && watch.Get("", "shop") != nil })
	namespaces := w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	made := object("v1", "Namespace", "", "pay", nil)
	made.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "m"}})
	if _, err := namespaces.Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a creation was not seen", func() bool { return watch.Get("", "pay") != nil })
	if _, kept := policies.Lookup(watch.Get("", "pay").Map(), policies.Path{"metadata", "managedFields"}); kept {
		t.Error("managedFields are kept")
	}
	if err := namespaces.Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a deletion was not seen", func() bool { return watch.Get("", "shop") == nil && len(watch.List()) == 1 })
	eventually(t, "changes were not told", func() bool { return changes.Load() >= 3 })
}

func TestAResourceThatIsNotServedKeepsNobodyWaiting(t *testing.T) {
	w := newWorld(t)
	w.dynamic.PrependReactor("list", "namespaces", func(ktesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "")
	})
	watch, err := w.Watch(t.Context(), policies.Resource{Version: "v1", Resource: "namespaces"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it waits for ever", watch.Ready)
}

func TestRevisionsAreReadWhereReconcilersWriteThem(t *testing.T) {
	const a, b = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	sync := func(revision string) map[string]any {
		return map[string]any{"sync": map[string]any{"revision": revision}}
	}
	w := newWorld(t,
		object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "flux-system", "apps", map[string]any{"status": map[string]any{
			"lastAttemptedRevision": "main@sha1:" + b, "lastAppliedRevision": "main@sha1:" + a,
		}}),
		object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "flux-system", "new", nil),
		object("argoproj.io/v1alpha1", "Application", "argocd", "shop", map[string]any{
			"operation": sync("main"), "status": map[string]any{"operationState": map[string]any{"operation": sync(a)}},
		}),
		object("argoproj.io/v1alpha1", "Application", "argocd", "by-hand", map[string]any{
			"operation": sync("main"), "status": map[string]any{"history": []any{
				map[string]any{"id": int64(0), "revision": a}, map[string]any{"id": int64(1), "revisions": []any{b}}, "nonsense",
			}},
		}),
		object("argoproj.io/v1alpha1", "Application", "argocd", "many", map[string]any{
			"operation": map[string]any{"sync": map[string]any{"revisions": []any{b, a, int64(7)}}},
		}),
	)
	r, err := w.Revisions(t.Context(), true, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first look never ended", r.Ready)
	for _, tc := range []struct {
		name, kind, namespace, object string
		want                          []string
	}{
		{"Flux: what it attempts, then what it applied", "Kustomization", "flux-system", "apps", []string{b, a}},
		{"one that has not begun", "Kustomization", "flux-system", "new", nil},
		{"one that is not there", "Kustomization", "flux-system", "gone", nil},
		{"Argo CD: a commit, and not a name that a person typed", "Application", "argocd", "shop", []string{a}},
		{"Argo CD by the names of branches: what was applied", "Application", "argocd", "by-hand", []string{b, a}},
		{"Argo CD with several sources", "Application", "argocd", "many", []string{b, a}},
		{"a kind that tells nothing", "", "", "clusters/prod", nil},
	} {
		if got := r.Of(tc.kind, tc.namespace, tc.object); fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestTheSecretOfAnAuthorityIsWrittenByOneAtATime(t *testing.T) {
	w := newWorld(t)
	none, err := w.ReadSecret(t.Context(), "gitgate", "ca")
	if err != nil || none.Data != nil {
		t.Fatal(none, err)
	}
	if err := w.WriteSecret(t.Context(), "gitgate", "ca", none, map[string][]byte{"k": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteSecret(t.Context(), "gitgate", "ca", none, map[string][]byte{"k": []byte("2")}); !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("two replicas made it: %v", err)
	}
	one, err := w.ReadSecret(t.Context(), "gitgate", "ca")
	if err != nil || string(one.Data["k"]) != "1" {
		t.Fatal(one, err)
	}
	if err := w.WriteSecret(t.Context(), "gitgate", "ca", one, map[string][]byte{"k": []byte("3")}); err != nil {
		t.Fatal(err)
	}
	if now, err := w.ReadSecret(t.Context(), "gitgate", "ca"); err != nil || string(now.Data["k"]) != "3" {
		t.Error(now, err)
	}
}

func TestEveryWebhookOfAConfigurationTrustsTheAuthority(t *testing.T) {
	w := newWorld(t)
	if _, err := w.TrustAuthority(t.Context(), "gitgate", []byte("PEM")); err == nil {
		t.Error("a configuration that is not there is no error")
	}
	configurations := w.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := configurations.Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "gitgate"},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "a.gitgate.dev"}, {Name: "b.gitgate.dev", ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: []byte("old")}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if changed, err := w.TrustAuthority(t.Context(), "gitgate", []byte("PEM")); err != nil || changed != want {
			t.Errorf("changed %v, %v; want %v", changed, err, want)
		}
	}
	got, err := configurations.Get(t.Context(), "gitgate", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, hook := range got.Webhooks {
		if string(hook.ClientConfig.CABundle) != "PEM" {
			t.Errorf("%s trusts %q", hook.Name, hook.ClientConfig.CABundle)
		}
	}
}
