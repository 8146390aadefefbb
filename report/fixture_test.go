package report

import (
	"context"
	"errors"
	"time"

	"gitgate.dev/gitgate/policies"
)

var (
	schemaPolicy = &policies.Policy{
		Name: "schema", Kind: "schema", Severity: policies.High, Rules: []string{"unknown-field", "invalid"},
		Doc: "The object is what the API server accepts. It is decoded, defaulted and validated by the API server's own code.",
	}
	limits = &policies.Policy{
		Name: "resources", Kind: "rego", Severity: policies.Medium, URL: "https://example.com/docs/resources",
		Doc: "Each container says how much memory it may use.", Controls: []string{"CIS 5.2.1", "NIST SP 800-53 SC-6"},
		Origin: policies.Position{File: "policies/resources.rego", Line: 3},
	}
	owner = &policies.Policy{
		Name: "owner-label", Kind: "cel", Severity: policies.Low, Action: policies.Warn, Doc: "Each object names the team that owns it.",
	}
	hosts = &policies.Policy{
		Name: "host-access", Kind: "cel", Severity: policies.Critical, Action: policies.Audit, Doc: "Pods keep away from the host.",
	}
	images = &policies.Policy{Name: "signed-images", Kind: "images", Doc: "Images are signed by the platform's key.", Needs: policies.Online}
	actor  = &policies.Policy{Name: "who-writes", Kind: "cel", Doc: "Only the reconciler writes.", Needs: policies.KnowsActor}
	strict = &policies.Policy{Name: "manifest", Kind: "manifest", Doc: "Files hold Kubernetes manifests."}
)

func ref(kind policies.GroupVersionKind, namespace, name, file string, document, line int) policies.ObjectRef {
	text := kind.Kind + " " + name
	if namespace != "" {
		text = kind.Kind + " " + namespace + "/" + name
	}
	return policies.ObjectRef{
		Kind: kind, Namespace: namespace, Name: name, Text: text,
		Origin: policies.Origin{File: file, Document: document, Line: line, Column: 1},
	}
}

// fleet is a run over a small repository: something of everything that a report has to tell.
func fleet() ([]policies.Decision, Summary) {
	deployment := policies.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	v1 := func(kind string) policies.GroupVersionKind {
		return policies.GroupVersionKind{Version: "v1", Kind: kind}
	}
	exemption := &policies.Exemption{
		Policies: []string{"host-access"}, Reason: "reads the node's logs", Until: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC),
		Pos: policies.Position{File: "gitgate.yaml", Line: 40, Column: 5},
	}
	decisions := []policies.Decision{
		{
			Subject: ref(v1("Namespace"), "", "shop", "apps/namespace.yaml", 0, 1), Operation: policies.Create,
			Results: []policies.Result{{Policy: schemaPolicy, Outcome: policies.Passed}, {Policy: owner, Outcome: policies.Passed}},
		},
		{
			Subject: ref(deployment, "shop", "web", "apps/web.yaml", 0, 1), Operation: policies.Create,
			Results: []policies.Result{
				{Policy: schemaPolicy, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{
					{
						Rule: "unknown-field", Message: `unknown field "replica", expected one of the fields of apps/v1 Deployment spec`,
						Path: policies.Path{"spec", "replica"}, At: policies.AtKey, Fix: "write replicas",
						Pos: policies.Position{File: "apps/web.yaml", Line: 7, Column: 3, EndColumn: 10, Text: "  replica: 3"},
					},
					{
						Rule: "invalid", Message: "containerPort is 70000, expected 1 to 65535",
						Path: policies.Path{"spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"},
						Pos:  policies.Position{File: "apps/web.yaml", Line: 21, Column: 33, EndColumn: 38, Text: "        ports: [{containerPort: 70000}]"},
					},
				}}},
				{Policy: limits, Outcome: policies.Violated, Pod: true, Finding: policies.Finding{Violations: []policies.Violation{{
					Message: "container web has no memory limit, expected resources.limits.memory",
					Path:    policies.Path{"spec", "template", "spec", "containers", 0}, Fix: "add to the container:\nresources:\n  limits: {memory: 128Mi}",
					Pos: policies.Position{File: "apps/web.yaml", Line: 18, Column: 9, EndColumn: 18, Text: "      - name: web"},
				}}}},
				{Policy: owner, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{{
					Message: "Deployment shop/web has no label owner, expected the name of a team", Path: policies.Path{"metadata", "labels"},
					Pos: policies.Position{File: "apps/web.yaml", Line: 5, Column: 3, EndColumn: 9, Text: "  labels: {app: web}"},
				}}}},
				{Policy: images, Outcome: policies.Deferred, Missing: "the network"},
				{Policy: actor, Outcome: policies.Deferred, Missing: "who makes the change"},
			},
		},
		{
			Subject: ref(v1("Secret"), "shop", "db", "apps/web.yaml", 1, 30), Operation: policies.Create,
			Results: []policies.Result{
				{Policy: schemaPolicy, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{{
					Rule: "invalid", Message: `data.password is "hunter2!", expected base64`, Path: policies.Path{"data", "password"},
					Pos: policies.Position{File: "apps/web.yaml", Line: 35, Column: 13, EndColumn: 21, Text: "  password: hunter2!"},
				}}}},
				{Policy: owner, Outcome: policies.Passed},
			},
		},
		{
			Subject:   policies.ObjectRef{Text: "object (unnamed)", Origin: policies.Origin{File: "ops/notes.yaml", Line: 1, Column: 1}},
			Operation: policies.Create,
			Results: []policies.Result{{Policy: strict, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{{
				Rule: "syntax", Message: "a tab begins the line, expected spaces", Fix: "indent by spaces",
				Pos: policies.Position{File: "ops/notes.yaml", Line: 3, Column: 1, EndColumn: 2, Text: "\tname: 日本 # two"},
			}}}}},
		},
		{
			Subject: ref(policies.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DaemonSet"}, "ops", "logs", "ops/logs.yaml", 0, 1), Operation: policies.Create,
			Results: []policies.Result{
				{Policy: schemaPolicy, Outcome: policies.Passed},
				{Policy: hosts, Outcome: policies.Violated, Pod: true, Finding: policies.Finding{Violations: []policies.Violation{
					{
						Rule: "path", Message: "volume logs is a hostPath, expected none", Path: policies.Path{"spec", "template", "spec", "volumes", 0, "hostPath"},
						Pos: policies.Position{File: "ops/logs.yaml", Line: 16, Column: 9, Text: "        hostPath: {path: /var/log}"},
					},
					{
						Rule: "network", Message: "hostNetwork is true, expected false", Path: policies.Path{"spec", "template", "spec", "hostNetwork"},
						Pos: policies.Position{File: "ops/logs.yaml", Line: 12, Column: 20, EndColumn: 24, Text: "      hostNetwork: true"},
					},
				}}, Exempted: []*policies.Exemption{exemption, nil}},
				{Policy: limits, Outcome: policies.Failed, Pod: true, Err: errors.Join(errors.New("no time left to judge"), context.DeadlineExceeded)},
				{Policy: owner, Outcome: policies.Skipped, Finding: policies.Finding{Skipped: "match condition not-ops is false"}},
				{Policy: images, Outcome: policies.Deferred, Missing: "the network"},
			},
		},
		{
			Subject: policies.ObjectRef{Kind: v1("ConfigMap"), Namespace: "shop", Name: "old", Text: "ConfigMap shop/old"}, Operation: policies.Delete,
			Results: []policies.Result{{
				Policy: actor, Outcome: policies.Passed,
				Finding: policies.Finding{Evidence: []policies.Evidence{{Kind: "commit", Value: "4f1c2d0"}}},
			}},
		},
	}
	s := Summary{
		Digest:   "sha256:ab12cd34ef560718293a4b5c6d7e8f90ab12cd34ef560718293a4b5c6d7e8f90",
		Policies: []*policies.Policy{schemaPolicy, limits, owner, hosts, images, actor, strict},
		Files:    4, Objects: 6, Elapsed: 1234 * time.Millisecond,
		Skipped: []Skipped{{File: "charts/web/values.yaml", Reason: "no manifest: neither apiVersion nor kind"}},
	}
	for i := range decisions {
		s.Count(&decisions[i])
	}
	s.ExitCode = ExitCode(s.Verdict)
	return decisions, s
}
