// Package chart asks of the Helm chart's webhook configuration which requests the API server sends to the gate, and which of them wait for
// it, by the API server's own evaluation of rules, selectors and conditions. It knows nothing of what the gate answers.
package chart

import (
	"path"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	helm "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	registration "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// webhooks is the configuration that the chart renders with values, as the release gitgate in the namespace gitgate.
func webhooks(t *testing.T, values string) []registration.ValidatingWebhook {
	t.Helper()
	c, err := loader.Load("../../charts/gitgate")
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]any{}
	if err := yaml.Unmarshal([]byte(values), &given); err != nil {
		t.Fatal(err)
	}
	given["git"] = map[string]any{"repository": "https://git.example.com/platform/fleet.git"}
	in, err := helm.ToRenderValues(c, given, common.ReleaseOptions{Name: "gitgate", Namespace: "gitgate", Revision: 1, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(c, in)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if path.Base(name) != "webhook.yaml" {
			continue
		}
		var out registration.ValidatingWebhookConfiguration
		if err := yaml.UnmarshalStrict([]byte(text), &out); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		return out.Webhooks
	}
	t.Fatal("the chart has no webhook.yaml")
	return nil
}

// request is what somebody asks of the API server. namespace is "" for a cluster-scoped resource.
type request struct {
	user, groups, operation, resource, namespace, name string
	object                                             string
}

func (q request) attributes(t *testing.T) *admission.VersionedAttributes {
	t.Helper()
	resource, group, _ := strings.Cut(q.resource, ".")
	resource, sub, _ := strings.Cut(resource, "/")
	kind := schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Any"}
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(q.object), &content); err != nil {
		t.Fatal(err)
	}
	var o, old runtime.Object
	body := &unstructured.Unstructured{Object: content}
	switch q.operation {
	case "CREATE", "CONNECT":
		o = body
	case "UPDATE":
		o, old = body, body
	case "DELETE":
		old = body
	}
	who := &user.DefaultInfo{Name: q.user, Groups: append(strings.Fields(q.groups), "system:authenticated")}
	a := admission.NewAttributesRecord(o, old, kind, q.namespace, q.name, schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}, sub, admission.Operation(q.operation), nil, false, who)
	v := &admission.VersionedAttributes{Attributes: a, VersionedKind: kind}
	v.VersionedObject, v.VersionedOldObject = o, old
	return v
}

// asked says which of the webhooks the API server sends q to: "waits" where nothing gets in without an answer, "judged" where the
// API server goes on when nobody answers, "" for none.
func asked(t *testing.T, hooks []registration.ValidatingWebhook, q request) string {
	t.Helper()
	return asks(t, hooks)(q.namespace, q.attributes(t))
}

// asks is asked for many requests.
func asks(t *testing.T, hooks []registration.ValidatingWebhook) func(namespace string, a *admission.VersionedAttributes) string {
	t.Helper()
	type hook struct {
		webhook.WebhookAccessor
		matcher matchconditions.Matcher
		answer  string
	}
	compiler := cel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	var all []hook
	for _, h := range hooks {
		answer := map[registration.FailurePolicyType]string{registration.Fail: "waits", registration.Ignore: "judged"}[*h.FailurePolicy]
		*h.FailurePolicy = registration.Fail // an expression that fails is told, whatever the policy
		accessor := webhook.NewValidatingWebhookAccessor("u", "gitgate", &h)
		all = append(all, hook{accessor, accessor.GetCompiledMatcher(compiler), answer})
	}
	return func(namespace string, a *admission.VersionedAttributes) string {
		var to []string
		for _, h := range all {
			match := slices.ContainsFunc(h.GetRules(), func(r registration.RuleWithOperations) bool {
				m := rules.Matcher{Rule: r, Attr: a}
				return m.Matches()
			})
			selector, err := h.GetParsedNamespaceSelector()
			if err != nil {
				t.Fatal(err)
			}
			// What is in no namespace is never exempted by a selector.
			if !match || namespace != "" && !selector.Matches(labels.Set{corev1.LabelMetadataName: namespace}) {
				continue
			}
			result := h.matcher.Match(t.Context(), a, nil, nil)
			if result.Error != nil {
				t.Errorf("%s: %v", h.GetName(), result.Error)
			}
			if result.Matches {
				to = append(to, h.answer)
			}
		}
		return strings.Join(to, " and ")
	}
}

const (
	node     = "system:node:node-1"
	kubelets = "system:nodes"
	csr      = "spec: {signerName: kubernetes.io/kube-apiserver-client-kubelet}"
)

func TestTheAPIServerAsksTheGateOnceAndWaitsForItWhereAClusterCanComeUpWithoutIt(t *testing.T) {
	const deny = "mode: deny\n"
	sa := func(name string) string { return "system:serviceaccount:kube-system:" + name }
	for _, tc := range []struct {
		name, values string
		q            request
		want         string
	}{
		{"a Deployment", deny, request{user: "ann", operation: "CREATE", resource: "deployments.apps", namespace: "shop", name: "web"}, "waits"},
		{"an object without a name yet", deny, request{user: "ann", operation: "CREATE", resource: "secrets", namespace: "shop"}, "waits"},
		{"a role of the cluster, which is in no namespace", deny, request{user: "ann", operation: "CREATE", resource: "clusterroles.rbac.authorization.k8s.io", name: "r"}, "waits"},
		{"a namespace", deny, request{user: "ann", operation: "CREATE", resource: "namespaces", namespace: "shop", name: "shop"}, "waits"},
		{"a Pod that a controller makes", deny, request{user: sa("replicaset-controller"), operation: "CREATE", resource: "pods", namespace: "shop", name: "web-1"}, "waits"},
		{"a shell in a Pod", deny, request{user: "ann", operation: "CONNECT", resource: "pods/exec", namespace: "shop", name: "web-1"}, "waits"},
		{"all of it in mode audit", "mode: audit", request{user: "ann", operation: "CREATE", resource: "deployments.apps", namespace: "shop", name: "web"}, "judged"},

		{"a lease", deny, request{user: node, groups: kubelets, operation: "UPDATE", resource: "leases.coordination.k8s.io", namespace: "kube-node-lease", name: "node-1"}, ""},
		{"an event", deny, request{user: node, groups: kubelets, operation: "CREATE", resource: "events", namespace: "shop", name: "e"}, ""},
		{"a review of a token", deny, request{user: "ann", operation: "CREATE", resource: "tokenreviews.authentication.k8s.io"}, ""},
		{"a token", deny, request{user: node, groups: kubelets, operation: "CREATE", resource: "serviceaccounts/token", namespace: "shop", name: "default"}, ""},
		{"a service account", deny, request{user: "ann", operation: "UPDATE", resource: "serviceaccounts", namespace: "shop", name: "default"}, "waits"},
		{"the status that a node says of itself", deny, request{user: node, groups: kubelets, operation: "UPDATE", resource: "nodes/status", name: "node-1"}, ""},
		{"the same by who has a node's name and not its group", deny, request{user: node, operation: "UPDATE", resource: "nodes/status", name: "node-1"}, "judged"},
		{"the status of a Pod by its node", deny, request{user: node, groups: kubelets, operation: "UPDATE", resource: "pods/status", namespace: "shop", name: "web-1"}, ""},
		{"endpoints by their controller", deny, request{user: sa("endpointslice-controller"), operation: "CREATE", resource: "endpointslices.discovery.k8s.io", namespace: "shop", name: "web-1"}, ""},
		{"endpoints by a controller of that name in another namespace", deny, request{user: "system:serviceaccount:shop:endpointslice-controller", operation: "CREATE", resource: "endpointslices.discovery.k8s.io", namespace: "shop", name: "web-1"}, "waits"},
		{"endpoints by another controller", deny, request{user: sa("replicaset-controller"), operation: "UPDATE", resource: "endpointslices.discovery.k8s.io", namespace: "shop", name: "web-1"}, "waits"},
		{"endpoints by a reconciler", deny, request{user: "system:serviceaccount:flux-system:kustomize-controller", operation: "UPDATE", resource: "endpoints", namespace: "shop", name: "web"}, "waits"},
		{"a Service by the controller of endpoints", deny, request{user: sa("endpointslice-controller"), operation: "UPDATE", resource: "services", namespace: "shop", name: "web"}, "waits"},
		{"slices of another group by the controller of endpoints", deny, request{user: sa("endpointslice-controller"), operation: "CREATE", resource: "endpointslices.example.com", namespace: "shop", name: "web"}, "waits"},
		{"endpoints by a person", deny, request{user: "ann", operation: "CREATE", resource: "endpointslices.discovery.k8s.io", namespace: "shop", name: "web-1"}, "waits"},

		{"the taint of a node that does not answer", deny, request{user: sa("node-controller"), operation: "UPDATE", resource: "nodes", name: "node-1"}, "judged"},
		{"a new node by the cloud's controller", deny, request{user: sa("cloud-node-controller"), operation: "UPDATE", resource: "nodes", name: "node-1"}, "judged"},
		{"a node that is gone", deny, request{user: sa("node-controller"), operation: "DELETE", resource: "nodes", name: "node-1"}, "judged"},
		{"a person's way through a kubelet", deny, request{user: "ann", operation: "CONNECT", resource: "nodes/proxy", name: "node-1"}, "waits"},
		{"the certificate of a new kubelet", deny, request{user: "system:bootstrap:abcdef", operation: "CREATE", resource: "certificatesigningrequests.certificates.k8s.io", name: "c", object: csr}, "judged"},
		{"its approval", deny, request{user: sa("certificate-controller"), operation: "UPDATE", resource: "certificatesigningrequests/approval.certificates.k8s.io", name: "c", object: csr}, "judged"},
		{"the certificate of a person", deny, request{user: "ann", operation: "CREATE", resource: "certificatesigningrequests.certificates.k8s.io", name: "c", object: "spec: {signerName: kubernetes.io/kube-apiserver-client}"}, "waits"},
		{"a request for a certificate that goes", deny, request{user: "ann", operation: "DELETE", resource: "certificatesigningrequests.certificates.k8s.io", name: "c", object: csr}, "waits"},
		{"a role that an API server makes when it starts", deny, request{user: "system:apiserver", groups: "system:masters", operation: "CREATE", resource: "clusterroles.rbac.authorization.k8s.io", name: "system:new"}, "judged"},
		{"where API servers are found", deny, request{user: "system:apiserver", groups: "system:masters", operation: "UPDATE", resource: "endpoints", namespace: "default", name: "kubernetes"}, "judged"},
		{"an address for a Pod", deny, request{user: "system:serviceaccount:calico-system:calico-node", operation: "UPDATE", resource: "ipamblocks.crd.projectcalico.org", name: "10-0-0-0-26"}, "judged"},
		{"a network policy of the same API", deny, request{user: "ann", operation: "UPDATE", resource: "globalnetworkpolicies.crd.projectcalico.org", name: "p"}, "waits"},
		{"another kind that is listed", deny + "webhook: {neverBlock: {kinds: [machines.example.com]}}", request{user: "ann", operation: "CREATE", resource: "machines.example.com", name: "m"}, "judged"},
		{"one that is no longer listed", deny + "webhook: {neverBlock: {kinds: []}}", request{user: "ann", operation: "CREATE", resource: "ipamblocks.crd.projectcalico.org", name: "b"}, "waits"},
		{"a Pod in a namespace of the network's", deny + "webhook: {neverBlock: {namespaces: [calico-system]}}", request{user: sa("daemon-set-controller"), operation: "CREATE", resource: "pods", namespace: "calico-system", name: "p"}, "judged"},

		{"kube-system", deny, request{user: "ann", operation: "CREATE", resource: "pods", namespace: "kube-system", name: "p"}, "judged"},
		{"kube-system, not to be judged", deny + "webhook: {kubeSystem: false}", request{user: "ann", operation: "CREATE", resource: "pods", namespace: "kube-system", name: "p"}, ""},
		{"the gate's own namespace", deny, request{user: "ann", operation: "CREATE", resource: "pods", namespace: "gitgate", name: "p"}, ""},
		{"the gate's own namespace, to be judged", deny + "webhook: {ownNamespace: true}", request{user: "ann", operation: "CREATE", resource: "secrets", namespace: "gitgate"}, "judged"},
		{"the gate's own authority there", deny + "webhook: {ownNamespace: true}", request{user: "system:serviceaccount:gitgate:gitgate", operation: "UPDATE", resource: "secrets", namespace: "gitgate", name: "gitgate-tls"}, ""},
		{"what its replicas know, by the gate itself", deny + "webhook: {ownNamespace: true}", request{user: "system:serviceaccount:gitgate:gitgate", operation: "UPDATE", resource: "secrets", namespace: "gitgate", name: "gitgate-state"}, ""},
		{"a namespace that is left out", deny + "webhook: {excludeNamespaces: [lab]}", request{user: "ann", operation: "CREATE", resource: "pods", namespace: "lab", name: "p"}, ""},
		{"a namespace whose name is like one that is left out", deny + "webhook: {excludeNamespaces: [lab]}", request{user: "ann", operation: "CREATE", resource: "pods", namespace: "lab2", name: "p"}, "waits"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := asked(t, webhooks(t, tc.values), tc.q); got != tc.want {
				t.Errorf("the API server: %q, want %q", got, tc.want)
			}
		})
	}
}
