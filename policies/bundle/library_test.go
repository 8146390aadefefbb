package bundle_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
)

// fakeLibrary has the families pod and best; what pod asks for depends on the version.
type fakeLibrary struct{}

var shippedPolicies = []string{"best/limits", "best/tags", "pod/basic/ports", "pod/strict/users"}

func (fakeLibrary) Names() []string {
	return append([]string{"best", "pod", "pod/basic", "pod/strict"}, shippedPolicies...)
}

func (fakeLibrary) Policies(name, _ string) (out []string, err error) {
	for _, p := range shippedPolicies {
		if p == name || strings.HasPrefix(p, name+"/") || name == "pod/strict" && strings.HasPrefix(p, "pod/") {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no %s", name)
	}
	return out, nil
}

func (l fakeLibrary) Select(name, version string) ([]policies.Document, error) {
	names, err := l.Policies(name, version)
	var docs []policies.Document
	for _, n := range names {
		docs = append(docs, policies.Document{File: "library:" + n, Text: []byte(n)})
	}
	if l.HasVersions(name) {
		docs = append(docs, policies.Document{File: "library:version", Text: []byte(version)})
	}
	return docs, err
}

func (fakeLibrary) HasVersions(name string) bool { return strings.HasPrefix(name, "pod") }

func withLibrary(config string) (*bundle.Bundle, error) {
	return bundle.Load(context.Background(), bundle.Options{
		FS: fstest.MapFS{"gitgate.yaml": file(head + config)}, File: "gitgate.yaml", Kubernetes: "1.36", Library: fakeLibrary{},
		Kinds: func(*bundle.Config, bundle.Host) ([]bundle.Kind, error) {
			return []bundle.Kind{{Name: "ships", Ships: true, Compile: func(_ context.Context, docs []policies.Document) (out []*policies.Policy, err error) {
				for _, d := range docs {
					if name := string(d.Text); slices.Contains(shippedPolicies, name) {
						p := rule(name, d)
						if name == "best/tags" {
							p.Action = policies.Warn
						}
						out = append(out, p)
					}
				}
				return out, nil
			}}}, nil
		},
	})
}

func TestWhatShipsIsTakenByName(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"a policy", "policies: [{library: best/limits}]\n", "best/limits:deny"},
		{"a family, each with its own action", "policies: [{library: best}]\n", "best/limits:deny best/tags:warn"},
		{"a family with an action", "policies: [{library: best, action: audit}]\n", "best/limits:audit best/tags:audit"},
		{"a family that has another's too", "policies: [{library: pod/strict}]\n", "pod/basic/ports:deny pod/strict/users:deny"},
		{"of two families the stronger action holds", "policies: [{library: pod/strict, action: warn}, {library: pod/basic, action: deny}]\n", "pod/basic/ports:deny pod/strict/users:warn"},
		{"the order does not matter", "policies: [{library: pod/basic, action: deny}, {library: pod/strict, action: warn}]\n", "pod/basic/ports:deny pod/strict/users:warn"},
		{"a family cannot weaken another", "policies: [{library: pod/basic, action: audit}, {library: pod/strict}]\n", "pod/basic/ports:deny pod/strict/users:deny"},
		{"a policy that is named itself has its action", "policies: [{library: best, action: deny}, {library: best/limits, action: audit}]\n", "best/limits:audit best/tags:deny"},
		{"one version for all", "policies: [{library: pod/strict, version: latest}, {library: pod/basic, version: latest}, {library: best/tags}]\n", "best/tags:warn pod/basic/ports:deny pod/strict/users:deny"},
	} {
		b, err := withLibrary(c.config)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := names(b); got != c.want {
			t.Errorf("%s: got %s, expected %s", c.name, got, c.want)
		}
		if len(b.PolicyFiles) != 0 || !slices.Equal(b.Files, []string{"gitgate.yaml"}) {
			t.Errorf("%s: files are %v and %v, expected none of the library", c.name, b.Files, b.PolicyFiles)
		}
	}
}

func TestWhatDoesNotShipIsRefused(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"a name that is near", "policies: [{library: best/limit}]\n", `gitgate.yaml:3:22: library "best/limit" does not exist: did you mean "best/limits"?`},
		{"a name that is far", "policies: [{library: something-else-altogether}]\n", `does not exist: expected one of best, pod, `},
		{"a name twice", "policies: [{library: best}, {library: best}]\n", `policies[1].library: best is named by policies[0] already`},
		{"a version where none matters", "policies: [{library: best, version: latest}]\n", `policies[0].version: library best asks for the same at every version of Kubernetes`},
		{"two versions", "policies: [{library: pod/basic, version: latest}, {library: pod/strict}]\n", `policies[1].version: policies[0] asks for another version of the library`},
		{"an exemption from nothing", "policies: [{library: best}]\nexempt: [{policies: [pod/basic], reason: r}]\n", `exempt[0]`},
	} {
		_, err := withLibrary(c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) && c.name != "an exemption from nothing" {
			t.Errorf("%s: got %v, expected %s", c.name, err, c.want)
		}
	}
}

func TestAnExemptionFromAFamilyIsOneFromItsPolicies(t *testing.T) {
	verdict := func(config, name string) policies.Verdict {
		b, err := withLibrary(config)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range b.Engine.Policies() {
			p.Judge = func(context.Context, *policies.Change) (policies.Finding, error) {
				return policies.Finding{Violations: []policies.Violation{{Message: "no"}}}, nil
			}
		}
		o := policies.NewObject(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name}}, policies.Origin{}, nil, nil)
		d := b.Engine.Decide(t.Context(), &policies.Change{Operation: policies.Create, Object: o})
		return d.Verdict()
	}
	const exempt = "exempt: [{policies: [pod/strict], names: [agent], reason: r}]\n"
	for _, c := range []struct {
		name, config, object string
		want                 policies.Verdict
	}{
		{"the object that is exempt", "policies: [{library: pod/strict}]\n" + exempt, "agent", policies.Allow},
		{"another object", "policies: [{library: pod/strict}]\n" + exempt, "web", policies.Denied},
		{"the other family, which is asked for by itself, holds", "policies: [{library: pod/basic}, {library: pod/strict}]\n" + exempt, "agent", policies.Denied},
		{"a mode for a family", "policies: [{library: pod/strict}]\nmodes: [{policies: [pod/strict], action: warn}]\n", "web", policies.AllowWarn},
		{"a mode leaves the other family alone", "policies: [{library: pod/basic}, {library: pod/strict}]\nmodes: [{policies: [pod/strict], action: warn}]\n", "web", policies.Denied},
	} {
		if got := verdict(c.config, c.object); got != c.want {
			t.Errorf("%s: got %s, expected %s", c.name, got, c.want)
		}
	}
}

func TestTheDigestCoversWhatShips(t *testing.T) {
	digest := func(config string) string {
		b, err := withLibrary(config)
		if err != nil {
			t.Fatal(err)
		}
		return b.Digest
	}
	if digest("policies: [{library: pod}]\n") == digest("policies: [{library: pod, version: latest}]\n") {
		t.Error("another version has the same digest")
	}
}
