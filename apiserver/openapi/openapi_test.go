package openapi

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

func gvk(apiVersion, kind string) policies.GroupVersionKind {
	group, version := policies.ParseAPIVersion(apiVersion)
	return policies.GroupVersionKind{Group: group, Version: version, Kind: kind}
}

func version(t testing.TB, minor string) *Version {
	t.Helper()
	v, err := Of(minor)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAllEmbeddedDataCanBeRead(t *testing.T) {
	t.Parallel()
	for _, r := range Releases() {
		if !strings.HasPrefix(r.Module, "k8s.io/kubernetes@v"+r.Minor+".") || !strings.HasPrefix(r.Sum, "h1:") {
			t.Errorf("release %+v does not name its source and checksum", r)
		}
		v := version(t, r.Minor)
		if n := len(v.Kinds()); n < 60 {
			t.Errorf("%s serves only %d kinds", r.Minor, n)
		}
		types := v.types()
		for _, s := range types {
			if s.mask&v.bit == 0 {
				continue
			}
			for _, m := range s.read() {
				for f := m.form; f != nil; f = f.item {
					if f.sort == structure && types[f.shape].mask&v.bit == 0 {
						t.Errorf("%s: %s.%s has a type that %s does not have: %s", r.Minor, s.name, m.name, r.Minor, types[f.shape].name)
					}
				}
			}
		}
		for _, k := range v.Kinds() {
			s := types[k.shape]
			if s.mask&v.bit == 0 || !strings.HasSuffix(s.name, "."+k.Version+"."+k.Kind) {
				t.Errorf("%s: %v has the type %s", r.Minor, k.GroupVersionKind, s.name)
			}
			for _, field := range []string{"apiVersion", "kind", "metadata"} {
				if s.member(field) == nil {
					t.Errorf("%s: %v has no field %s", r.Minor, k.GroupVersionKind, field)
				}
			}
		}
	}
}

func TestAVersionThatIsNotEmbeddedIsNamedWithThoseThatAre(t *testing.T) {
	t.Parallel()
	_, err := Of("1.12")
	if err == nil || err.Error() != `kubernetes version "1.12": expected one of 1.34, 1.35, 1.36, 1.37` {
		t.Errorf("error is %v", err)
	}
}

func TestWhichKindsAVersionServes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, version, apiVersion, kind string
		resource                        string // "" when it is not served
		namespaced                      bool
		since, gone                     string
	}{
		{name: "a Deployment", version: "1.36", apiVersion: "apps/v1", kind: "Deployment", resource: "deployments", namespaced: true},
		{name: "a cluster-scoped kind", version: "1.34", apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", resource: "clusterroles"},
		{name: "a kind of the core group", version: "1.37", apiVersion: "v1", kind: "Endpoints", resource: "endpoints", namespaced: true},
		{name: "a kind that came later", version: "1.34", apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingAdmissionPolicy", since: "1.36"},
		{name: "a kind that came later, now there", version: "1.36", apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingAdmissionPolicy", resource: "mutatingadmissionpolicies"},
		{name: "a kind that went", version: "1.37", apiVersion: "networking.k8s.io/v1beta1", kind: "ServiceCIDR", gone: "1.37"},
		{name: "a kind that went, still there", version: "1.36", apiVersion: "networking.k8s.io/v1beta1", kind: "ServiceCIDR", resource: "servicecidrs"},
		{name: "a kind that lived in one version", version: "1.37", apiVersion: "scheduling.k8s.io/v1alpha1", kind: "Workload", gone: "1.36"},
		{name: "a kind that went before", version: "1.36", apiVersion: "policy/v1beta1", kind: "PodSecurityPolicy"},
		{name: "a list, which is no object", version: "1.36", apiVersion: "v1", kind: "PodList"},
		{name: "a subresource's kind, which is no object", version: "1.36", apiVersion: "autoscaling/v1", kind: "Scale"},
		{name: "options, which are no object", version: "1.36", apiVersion: "v1", kind: "DeleteOptions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := version(t, c.version)
			k := v.Kind(gvk(c.apiVersion, c.kind))
			switch {
			case k == nil && c.resource != "":
				t.Fatal("is not served")
			case k != nil && (k.Plural != c.resource || k.Namespaced != c.namespaced):
				t.Errorf("is served as %q, namespaced %v", k.Plural, k.Namespaced)
			}
			if since, gone := v.Elsewhere(gvk(c.apiVersion, c.kind)); since != c.since || gone != c.gone {
				t.Errorf("is served since %q, gone in %q", since, gone)
			}
		})
	}
}

func TestDeprecationIsOfAVersion(t *testing.T) {
	t.Parallel()
	k := version(t, "1.36").Kind(gvk("v1", "Endpoints"))
	if !version(t, "1.34").IsDeprecated(k) || k.Replacement != gvk("discovery.k8s.io/v1", "EndpointSlice") {
		t.Errorf("Endpoints: %+v", k)
	}
	k = version(t, "1.36").Kind(gvk("admissionregistration.k8s.io/v1beta1", "MutatingAdmissionPolicy"))
	if version(t, "1.36").IsDeprecated(k) || !version(t, "1.37").IsDeprecated(k) || !k.Optional() {
		t.Errorf("MutatingAdmissionPolicy: %+v", k)
	}
}

func TestAMisspeltKindIsGuessed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ apiVersion, kind, want string }{
		{"apps/v1", "Deploymnt", "apps/v1 Deployment"},
		{"apps/v1", "deployment", "apps/v1 Deployment"},
		{"v1", "Deployment", "apps/v1 Deployment"},
		{"extensions/v1beta1", "Ingress", "networking.k8s.io/v1 Ingress"},
		{"apps/v2", "StatefulSet", "apps/v1 StatefulSet"},
		{"v1", "Podd", "v1 Pod"},
		{"example.com/v1", "Widget", ""},
		{"v1", "X", ""},
	} {
		got := ""
		if k := version(t, "1.36").Nearest(gvk(c.apiVersion, c.kind)); k != nil {
			got = k.APIVersion() + " " + k.Kind
		}
		if got != c.want {
			t.Errorf("%s %s is taken for %q, expected %q", c.apiVersion, c.kind, got, c.want)
		}
	}
}

// decode reads YAML as the API server's clients do: whole numbers as int64.
func decode(t testing.TB, text string) map[string]any {
	t.Helper()
	j, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(j, &m); err != nil {
		t.Fatal(err)
	}
	return m
}
