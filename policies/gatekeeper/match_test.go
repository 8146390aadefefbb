package gatekeeper_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func replaced(s, old, with string) string { return strings.ReplaceAll(s, old, with) }

func TestMatch(t *testing.T) {
	const role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: reader, labels: {app: x}}\n"
	const generated = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: web-, namespace: shop}\n"
	for _, tc := range []struct {
		name, match, object string
		want                string // "" is a violation
	}{
		{"no kinds are all", "{}", pod, ""},
		{"its kind and group", `{kinds: [{apiGroups: [""], kinds: [Pod]}]}`, pod, ""},
		{"its kind in any group", `{kinds: [{kinds: [Pod]}]}`, pod, ""},
		{"every kind of its group", `{kinds: [{apiGroups: [rbac.authorization.k8s.io], kinds: ["*"]}]}`, role, ""},
		{"one of several rules", `{kinds: [{apiGroups: [apps], kinds: [Deployment]}, {apiGroups: ["*"], kinds: [Service, Pod]}]}`, pod, ""},
		{"its namespace", "{namespaces: [shop]}", pod, ""},
		{"another namespace", "{namespaces: [store]}", pod, "skipped: match.namespaces does not name its namespace"},
		{"the begin of its namespace", "{namespaces: [sh-*, sh*]}", pod, ""},
		{"the end of its namespace", `{namespaces: ["*op"]}`, pod, ""},
		{"the middle of its namespace", `{namespaces: ["*ho*"]}`, pod, ""},
		{"a star in the middle is none", "{namespaces: [sh]}", pod, "skipped: match.namespaces does not name its namespace"},
		{"a cluster-scoped object is in every namespace", "{namespaces: [store]}", role, ""},
		{"a Namespace is in itself", "{namespaces: [shop]}", namespace, ""},
		{"a Namespace is not in another", "{namespaces: [store]}", namespace, "skipped: match.namespaces does not name its namespace"},
		{"an excluded namespace", `{excludedNamespaces: [kube-*, "*hop"]}`, pod, "skipped: match.excludedNamespaces names its namespace"},
		{"an excluded Namespace", "{excludedNamespaces: [shop]}", namespace, "skipped: match.excludedNamespaces names its namespace"},
		{"a cluster-scoped object is never excluded", `{excludedNamespaces: ["*"]}`, role, ""},
		{"namespaced objects", "{scope: Namespaced}", pod, ""},
		{"a Namespace is cluster-scoped", "{scope: Namespaced}", namespace, "skipped: match.scope is Namespaced"},
		{"cluster-scoped objects", "{scope: Cluster}", role, ""},
		{"a namespaced object is not cluster-scoped", "{scope: Cluster}", pod, "skipped: match.scope is Cluster"},
		{"its labels", "{labelSelector: {matchLabels: {app: web}}}", pod, ""},
		{"other labels", "{labelSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}", pod, "skipped: match.labelSelector does not match it"},
		{"its name", "{name: web}", pod, ""},
		{"another name", "{name: we}", pod, "skipped: match.name does not match it"},
		{"the begin of a name to be generated", "{name: web-*}", generated, ""},
		{"the end of a name to be generated is not known", `{name: "*-web"}`, generated, "skipped: match.name does not match it"},
		{"what was written is not generated", "{source: Generated}", pod, "skipped: match.source is Generated, and it was written"},
		{"what was written is original", "{source: Original}", pod, ""},
		{"labels of a namespace that is not known", "{namespaceSelector: {matchLabels: {team: a}}}", pod, "deferred: labels of namespace shop"},
		{"labels of a Namespace itself", "{namespaceSelector: {matchLabels: {team: a}}}", namespace, ""},
		{"other labels of a Namespace itself", "{namespaceSelector: {matchLabels: {team: b}}}", namespace, "skipped: match.namespaceSelector does not match it"},
		{"a selector of namespaces leaves cluster-scoped objects in", "{namespaceSelector: {matchLabels: {team: b}}}", role, ""},
		{"what does not match anyway does not wait for the namespace", "{scope: Cluster, namespaceSelector: {matchLabels: {team: a}}}", pod, "skipped: match.scope is Cluster"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := tc.want
			if want == "" {
				want = "deny: told"
			}
			same(t, decide(t, mustCompile(t, template(always)+constraint("match: "+tc.match)), creation(object(t, tc.object))), want)
		})
	}
}

func TestNamespaceSelectorsAskTheNamespace(t *testing.T) {
	ps := mustCompile(t, template(always)+constraint("match: {namespaceSelector: {matchLabels: {team: a}}}"))
	c := creation(object(t, pod))
	c.Knows, c.Holder = policies.KnowsNamespace, object(t, namespace)
	same(t, decide(t, ps, c), "deny: told")
	c = creation(object(t, pod))
	c.Knows, c.Holder = policies.KnowsNamespace, object(t, replaced(namespace, "team: a", "team: b"))
	same(t, decide(t, ps, c), "skipped: match.namespaceSelector does not match its namespace")
	c = creation(object(t, pod))
	c.Knows = policies.KnowsNamespace
	same(t, decide(t, ps, c), "failed: match.namespaceSelector: namespace shop not found")
}

func TestAnUpdateMatchesByItsOldObjectToo(t *testing.T) {
	ps := mustCompile(t, template(always)+constraint("match: {labelSelector: {matchLabels: {app: web}}}"))
	c := creation(object(t, replaced(pod, "app: web", "app: gone")))
	c.Operation, c.Old, c.Knows = policies.Update, object(t, pod), policies.KnowsOld
	same(t, decide(t, ps, c), "deny: told")
}

func TestSubresources(t *testing.T) {
	ps := mustCompile(t, template(always)+constraint("match: {}"))
	for _, tc := range []struct {
		name, text, subresource string
		want                    []string
	}{
		{"ephemeral containers of a Pod", pod, "ephemeralcontainers", []string{"deny: told"}},
		{"the status of a Pod is not asked about", pod, "status", nil},
		{"a scale", "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: web, namespace: shop}\n", "scale", []string{"deny: told"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := creation(object(t, tc.text))
			c.Operation, c.Knows, c.Old, c.Resource.Subresource = policies.Update, policies.KnowsOld, c.Object, tc.subresource
			same(t, decide(t, ps, c), tc.want...)
		})
	}
}

func TestScopedActions(t *testing.T) {
	for _, tc := range []struct{ name, scoped, want string }{
		{"admission counts", "[{action: warn, enforcementPoints: [{name: validation.gatekeeper.sh}]}, {action: deny, enforcementPoints: [{name: audit.gatekeeper.sh}, {name: gator.gatekeeper.sh}]}]", "warn: told"},
		{"the strictest of admission counts", "[{action: warn, enforcementPoints: [{name: \"*\"}]}, {action: deny, enforcementPoints: [{name: vap.k8s.io}]}]", "deny: told"},
		{"gator counts where admission is not named", "[{action: deny, enforcementPoints: [{name: gator.gatekeeper.sh}]}]", "deny: told"},
		{"what is for the audit alone is recorded", "[{action: deny, enforcementPoints: [{name: audit.gatekeeper.sh}]}]", "audit: told"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			same(t, decide(t, mustCompile(t, template(always)+constraint("enforcementAction: scoped\nscopedEnforcementActions: "+tc.scoped)), creation(object(t, pod))), tc.want)
		})
	}
}
