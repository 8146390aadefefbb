package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/policies/library"
	"gitgate.dev/gitgate/policies/schema"
	"gitgate.dev/gitgate/validate"
	"gitgate.dev/gitgate/webhook"
)

// atDoors is one configuration at both doors.
type atDoors struct {
	check *loaded
	serve *loaded
}

func openDoors(t testing.TB, config string) atDoors {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	p := &program{stderr: &stderr, env: func(string) string { return "" }, dir: dir}
	check, err := p.load(t.Context(), configFlags{file: config}, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	root, err := os.OpenRoot(filepath.Dir(config))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	serve := &loaded{rules: check.rules}
	options := bundle.Options{FS: root.FS(), File: filepath.Base(config), Build: buildVersion(), Library: library.Library{}}
	options.Kinds = func(c *bundle.Config, host bundle.Host) ([]bundle.Kind, error) {
		c.Kubernetes = check.rules.Version()
		return kinds(c, host, check.rules, door{answered: true})
	}
	if serve.Bundle, err = bundle.Load(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	return atDoors{check, serve}
}

// judged is what a policy says of a change, in words that both doors have.
func judged(d *policies.Decision) map[string]string {
	out := map[string]string{}
	for i := range d.Results {
		r := &d.Results[i]
		if r.Policy.Kind == schema.Name && r.Policy.Origin.File == "" || r.Policy.Kind == "manifest" {
			continue // at admission the API server has said it
		}
		name := r.Policy.Name
		if r.Pod {
			name += " of the Pod"
		}
		said := []string{}
		for j, v := range r.Finding.Violations {
			said = append(said, fmt.Sprintf("%s %s %s: %s (%v, %v)", r.ActionOf(j), v.Rule, v.Path, v.Message, r.Standing(j), v.Fix))
		}
		slices.Sort(said)
		text := r.Outcome.String() + " " + strings.Join(said, "; ")
		if r.Err != nil {
			text += r.Err.Error()
		}
		out[name] = text
	}
	return out
}

// What check says of a manifest, admission says of the request that creates it, but for what one of them cannot know.
func TestBothDoorsGiveOneVerdict(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, tc := range []struct{ config, manifests string }{
		{"../../examples/fleet/gitgate.yaml", "../../examples/fleet/clusters"},
		{"../../examples/fleet/gitgate.yaml", "../../examples/fleet/broken"},
		{"../../examples/fleet/gitgate.yaml", "../../test/fixtures/fleet"},
		{"../../test/fixtures/cel/gitgate.yaml", "../../test/fixtures/cel"},
		{"../../test/fixtures/rego/gitgate.yaml", "../../test/fixtures/rego"},
	} {
		t.Run(tc.manifests, func(t *testing.T) {
			config, err := filepath.Abs(tc.config)
			if err != nil {
				t.Fatal(err)
			}
			doors := openDoors(t, config)
			if doors.check.Digest != doors.serve.Digest {
				t.Fatalf("digests differ: %s and %s", doors.check.Digest, doors.serve.Digest)
			}
			recorder := &recordingEngine{}
			sink := func(d policies.Decision) error {
				recorder.decisions = append(recorder.decisions, d)
				return nil
			}
			watched, err := policies.New(append([]*policies.Policy{recorder.policy()}, doors.check.Engine.Policies()...), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = validate.Run(t.Context(), validate.Options{
				Paths: []string{tc.manifests}, Engine: watched, Rules: doors.check.rules, Known: doors.check.Schemas, Exclude: excluded(doors.check), Workers: 1,
			}, sink)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := policies.New(doors.serve.Engine.Policies(), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range recorder.changes {
				stored, err := c.Object.Stored()
				if err != nil || stored == nil {
					continue // the API server refuses it
				}
				got := admit(t, plain, c, stored)
				want := judged(recorder.of(i))
				for name, atAdmission := range judged(got) {
					atCheck := want[name]
					if strings.HasPrefix(atCheck, "deferred") || strings.HasPrefix(atAdmission, "deferred") {
						continue
					}
					compared++
					if atCheck != atAdmission {
						t.Errorf("%s: %s\ncheck     %s\nadmission %s", c.Object, name, atCheck, atAdmission)
					}
				}
			}
		})
	}
	if t.Logf("%d verdicts were compared", compared); compared < 50 {
		t.Error("too few")
	}
}

// recordingEngine keeps the changes that check makes.
type recordingEngine struct {
	changes   []*policies.Change
	decisions []policies.Decision
}

func (r *recordingEngine) policy() *policies.Policy {
	return &policies.Policy{
		Name: "recorder", Refers: []policies.GroupKind{{Group: "*", Kind: "*"}},
		Match: policies.Match{Resources: []policies.ResourceRule{{Groups: []string{"*"}, Versions: []string{"*"}, Resources: []string{"*"}}}, NoPods: true},
		Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
			r.changes = append(r.changes, c)
			return policies.Finding{Evidence: []policies.Evidence{{Kind: "number", Value: fmt.Sprint(len(r.changes) - 1)}}}, nil
		},
	}
}

// of is the decision on change i.
func (r *recordingEngine) of(i int) *policies.Decision {
	for j := range r.decisions {
		d := &r.decisions[j]
		for k := range d.Results {
			if d.Results[k].Policy.Name == "recorder" && d.Results[k].Finding.Evidence[0].Value == fmt.Sprint(i) {
				return d
			}
		}
	}
	return &policies.Decision{}
}

// admit puts the creation that c is before the webhook, as an API server would that stores it so.
func admit(t testing.TB, engine *policies.Engine, c *policies.Change, stored map[string]any) *policies.Decision {
	t.Helper()
	var got *policies.Decision
	h, err := webhook.New(webhook.Options{
		State:     func() *webhook.State { return &webhook.State{Engine: engine} },
		Tell:      tell,
		Namespace: func(context.Context, string) (*policies.Object, error) { return c.Holder, nil },
		Seen:      func(_ *policies.Change, d *policies.Decision) { got = d },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, webhook.Path, strings.NewReader(reviewOf(t, c, stored)))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	if got == nil {
		t.Fatalf("%s: HTTP %d %s", c.Object, w.Code, w.Body)
	}
	return got
}

func reviewOf(t testing.TB, c *policies.Change, stored map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": map[string]any{
			"uid": "u-1", "operation": "CREATE", "name": c.Object.Name, "namespace": c.Namespace,
			"kind":     map[string]any{"group": c.Object.Kind.Group, "version": c.Object.Kind.Version, "kind": c.Object.Kind.Kind},
			"resource": map[string]any{"group": c.Resource.Group, "version": c.Resource.Version, "resource": c.Resource.Resource},
			"userInfo": map[string]any{"username": "ann"}, "object": stored,
			"options": map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
