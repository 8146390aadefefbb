package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gitgate.dev/gitgate/webhook/certs"
)

// logged is what a running gate writes; safe while it writes.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// line returns the first line of the log with that message.
func (l *logged) line(message string) map[string]any {
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil && m["msg"] == message {
			return m
		}
	}
	return nil
}

// running is a gate that runs.
type running struct {
	log             *logged
	address, health string
	client          *http.Client
	stop            func() int // and returns the exit code
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal(what)
}

func certificateIn(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	a, _, err := certs.Authority{}.Renew([]string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, text := range map[string][]byte{cert: a.Cert, key: a.CertKey} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func startGate(t *testing.T, args ...string) *running {
	t.Helper()
	return startGateIn(t, func(string) string { return "" }, args...)
}

func startGateIn(t *testing.T, env func(string) string, args ...string) *running {
	t.Helper()
	cert, key := certificateIn(t, t.TempDir())
	g := &running{log: &logged{}}
	p := &program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: g.log, env: env, dir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- p.run(ctx, append([]string{"serve", "--no-cluster", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--interval", "1s", "--drain-delay", "0s",
			"--tls-cert", cert, "--tls-key", key}, args...))
	}()
	g.stop = sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() { g.stop() })
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if line := g.log.line("serving"); line != nil {
			g.address, g.health = line["address"].(string), line["health"].(string)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not serve:\n%s", g.log)
		}
		select {
		case code := <-done:
			done <- code
			t.Fatalf("exit code %d:\n%s", code, g.log)
		default:
		}
	}
	g.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 30 * time.Second}
	return g
}

// asks sends the creation of ConfigMap shop/c with one value, and returns whether it was admitted, and the message.
func (g *running) asks(t *testing.T, user, value string) (bool, string) {
	t.Helper()
	body := fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1","operation":"CREATE","namespace":"shop","name":"c",
		"kind":{"group":"","version":"v1","kind":"ConfigMap"},"resource":{"group":"","version":"v1","resource":"configmaps"},
		"userInfo":{"username":%q,"groups":["system:authenticated"]},
		"object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"shop"},"data":{"n":%q}}}}`, user, value)
	resp, err := g.client.Post("https://"+g.address+"/validate?timeout=10s", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Response struct {
			UID     string
			Allowed bool
			Status  struct{ Message string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Response.UID != "u-1" {
		t.Fatalf("HTTP %d: %v", resp.StatusCode, err)
	}
	return answer.Response.Allowed, answer.Response.Status.Message
}

func (g *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := g.client.Get("http://" + g.health + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (g *running) metric(t *testing.T, line string) bool {
	t.Helper()
	_, text := g.get(t, "/metrics")
	return strings.Contains(text, "\n"+line+"\n")
}

// fleet is a Git repository with a work tree to commit in.
type fleet struct{ bare, work string }

func (f fleet) git(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = f.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func (f fleet) push(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(f.work, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f.git(t, "add", "-A")
	f.git(t, "commit", "-qm", "change")
	f.git(t, "push", "-q", f.bare, "HEAD:main")
}

const gateFile = `apiVersion: gitgate.dev/v1alpha1
kind: Gate
sources: [{name: fleet, path: clusters/prod}]
reconcilers: [{flux: {namespace: flux-system}}]
trace: {}
`

func configMapOf(value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\ndata: {\"n\": \"" + value + "\"}\n"
}

func newFleet(t *testing.T) fleet {
	t.Helper()
	f := fleet{bare: filepath.Join(t.TempDir(), "fleet.git"), work: t.TempDir()}
	f.git(t, "init", "-q", "-b", "main", ".")
	f.git(t, "init", "-q", "--bare", "-b", "main", f.bare)
	f.push(t, map[string]string{"gitgate.yaml": gateFile, "clusters/prod/c.yaml": configMapOf("1")})
	return f
}

const flux = "system:serviceaccount:flux-system:kustomize-controller"

func TestTheGateFollowsGit(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	args := []string{"--repository", "file://" + f.bare, "--state", t.TempDir()}
	g := startGate(t, args...)
	admits := func(value string, want bool) {
		t.Helper()
		if ok, said := g.asks(t, flux, value); ok != want {
			t.Errorf("n: %q admitted: %v, want %v: %s", value, ok, want, said)
		}
	}
	if code, said := g.get(t, "/readyz"); code != 200 {
		t.Errorf("ready: HTTP %d %s", code, said)
	}
	admits("1", true)
	admits("2", false)
	if ok, said := g.asks(t, "ann", "1"); ok || !strings.Contains(said, "the reconciler applies it, not ann") || !strings.Contains(said, "clusters/prod/c.yaml:") {
		t.Errorf("a person: admitted %v: %s", ok, said)
	}

	// What was pushed a moment ago is looked for before the gate says no.
	f.push(t, map[string]string{"clusters/prod/c.yaml": configMapOf("2")})
	admits("2", true)

	// A configuration that does not compile leaves the one of before in force, and what Git declares goes on.
	f.push(t, map[string]string{"gitgate.yaml": gateFile + "traec: {}\n", "clusters/prod/c.yaml": configMapOf("3")})
	eventually(t, "the metric does not turn red", func() bool { return g.metric(t, "gitgate_bundle_failing 1") })
	admits("3", true)
	admits("4", false)

	// Restarted without Git: the newest configuration that compiles, and the last accepted commit.
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, g.log)
	}
	if err := os.Rename(f.bare, f.bare+".gone"); err != nil {
		t.Fatal(err)
	}
	g = startGate(t, args...)
	admits("3", true)
	if ok, said := g.asks(t, flux, "4"); ok || said == "" {
		t.Errorf("admitted %v: %s", ok, said)
	}
	if err := os.Rename(f.bare+".gone", f.bare); err != nil {
		t.Fatal(err)
	}
	f.push(t, map[string]string{"gitgate.yaml": gateFile, "clusters/prod/c.yaml": configMapOf("5")})
	eventually(t, "the metric stays red", func() bool { return g.metric(t, "gitgate_bundle_failing 0") })
	admits("5", true)

	// A rewritten branch is held: what was accepted goes on.
	f.git(t, "checkout", "-q", "--orphan", "other")
	f.git(t, "commit", "-qm", "rewritten")
	f.git(t, "push", "-qf", f.bare, "HEAD:main")
	f.push(t, map[string]string{"clusters/prod/c.yaml": configMapOf("6")})
	eventually(t, "the source is not held", func() bool { return g.metric(t, `gitgate_source_held{source="fleet"} 1`) })
	admits("5", true)
	admits("6", false)
}

func TestAFolderIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("gitgate.yaml", "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies: [{path: policies}]\n")
	rule := func(value string) string {
		return "package main\nimport rego.v1\ndeny contains msg if {\n\tinput.data.n == \"" + value + "\"\n\tmsg := \"n is " + value + "\"\n}\n"
	}
	write("policies/n.rego", rule("1"))
	g := startGate(t, "--config", filepath.Join(dir, "gitgate.yaml"))
	if ok, said := g.asks(t, "ann", "1"); ok || !strings.Contains(said, "ConfigMap shop/c: data.n: n is 1 [") {
		t.Errorf("admitted %v: %s", ok, said)
	}
	if ok, said := g.asks(t, "ann", "2"); !ok {
		t.Errorf("refused: %s", said)
	}
	write("policies/n.rego", rule("22"))
	eventually(t, "the change is not seen", func() bool { ok, _ := g.asks(t, "ann", "22"); return !ok })
	write("policies/n.rego", "package main\ndeny {")
	eventually(t, "the metric does not turn red", func() bool { return g.metric(t, "gitgate_bundle_failing 1") })
	if ok, _ := g.asks(t, "ann", "22"); ok {
		t.Error("the policies of before are not in force")
	}
}

func TestAModeCapsWhatComesOfAPolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"gitgate.yaml": "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies: [{path: n.rego}]\nmodes: [{policies: [\"*\"], namespaces: [shop], action: deny}]\n",
		"n.rego":       "package main\nimport rego.v1\ndeny contains \"never\" if input.kind == \"ConfigMap\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for mode, want := range map[string]bool{"deny": false, "warn": true, "audit": true} {
		g := startGate(t, "--config", filepath.Join(dir, "gitgate.yaml"), "--mode", mode)
		if admitted, said := g.asks(t, "ann", "1"); admitted != want {
			t.Errorf("--mode %s: admitted %v: %s", mode, admitted, said)
		}
		g.stop()
	}
}

func TestServeRefusesFlagsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                                      "needs a certificate",
		"--tls-cert a":                          "needs a certificate",
		"--tls-secret a --tls-name b":           "expected NAMESPACE/NAME",
		"--tls-secret a/b":                      "needs --tls-name",
		"--tls-secret a/b --tls-cert c":         "does not go with",
		"--tls-name a --tls-cert c --tls-key d": "need --tls-secret",
		"--client-name a --tls-cert c --tls-key d": "needs --client-ca",
		"--mode maybe":                          "expected deny, warn or audit",
		"--on-unsure maybe":                     "expected deny or admit",
		"--interval 1ms":                        "expected at least 1s",
		"--log-format xml":                      "expected json or text",
		"--no-cluster --kubeconfig a":           "exclude each other",
		"--kubernetes-version 1.10":             "expected one of",
		"--max-body 0":                          "--max-body 0: expected at least 1",
		"--budget 1ms":                          "expected at least 10ms",
		"--drain-delay -1s":                     "expected no negative value",
		"--repository x --anchor fleet":         "--anchor fleet: expected SOURCE=COMMIT",
		"--repository x --anchor fleet=main":    "expected SOURCE=COMMIT with the full name of a commit",
		"--repository x --config-anchor c0ffee": "--config-anchor c0ffee: expected the full name of a commit",
		"--config-anchor 5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689": "needs --repository",
		"--no-cluster --tls-cert c --tls-key d":                    "no gitgate.yaml",
		"--no-cluster --tls-cert c --tls-key d --log-level loud":   "expected debug",
	} {
		p, _, stderr := in(t)
		if code := p.run(t.Context(), append([]string{"serve"}, strings.Fields(args)...)); code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, said %q, want %q", args, code, stderr, want)
		}
	}
}
