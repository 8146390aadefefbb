package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/policies/bundle"
)

// in makes a program in an empty folder.
func in(t *testing.T) (p *program, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return &program{stdin: strings.NewReader(""), stdout: stdout, stderr: stderr, env: func(string) string { return "" }, dir: t.TempDir()}, stdout, stderr
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { panic("broken writer") }

func TestAPanicIsNeverAYes(t *testing.T) {
	p, _, stderr := in(t)
	p.stdout = brokenWriter{}
	if code := p.run(context.Background(), []string{"version"}); code != exitUnjudged {
		t.Errorf("exit code is %d, want %d", code, exitUnjudged)
	}
	if said := stderr.String(); !strings.Contains(said, "a bug in gitgate, nothing was judged: broken writer") || strings.Contains(said, "goroutine") {
		t.Errorf("said:\n%s", said)
	}
	stderr.Reset()
	p.run(context.Background(), []string{"version", "--verbose"})
	if said := stderr.String(); !strings.Contains(said, "goroutine") {
		t.Errorf("with --verbose, without the stack:\n%s", said)
	}
}

func TestAnInterruptedCheckIsNoVerdict(t *testing.T) {
	p, _, stderr := in(t)
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	p.stdin = r
	go func() {
		w.Write([]byte("apiVersion: v1\n"))
		cancel()
	}()
	if code := p.run(ctx, []string{"check", "-"}); code != exitUnjudged {
		t.Errorf("exit code is %d, want %d; said:\n%s", code, exitUnjudged, stderr)
	}
	if !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("said:\n%s", stderr)
	}
}

func TestASignalEndsTheProgramCleanly(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		var stderr bytes.Buffer
		// The test's own program is gitgate when it is called so: see TestMain.
		cmd := &exec.Cmd{Path: exe, Args: []string{"gitgate", "check", "-", "-o", "json=report.json"}, Dir: t.TempDir(), Stderr: &stderr}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// More than a pipe holds: when all of it is written, gitgate is reading, and no longer starting.
		if _, err := stdin.Write(bytes.Repeat([]byte("# waiting\n"), 40_000)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitUnjudged {
			t.Errorf("%v: exit code is %d (%v), want %d", signal, code, err, exitUnjudged)
		}
		if said := stderr.String(); !strings.Contains(said, "interrupted") || strings.Contains(said, "goroutine") {
			t.Errorf("%v: said:\n%s", signal, said)
		}
		stdin.Close()
		entries, err := os.ReadDir(cmd.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "report.json" {
				t.Errorf("%v: %s is left behind", signal, e.Name())
			}
		}
	}
}

func TestABuiltinThatIsAllowedAsksTheNetwork(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"teams": ["shop"]}`)
	}))
	defer server.Close()
	p, stdout, stderr := in(t)
	for name, text := range map[string]string{
		"gitgate.yaml":         "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies: [{path: policies}]\nrego: {allowBuiltins: [http.send]}\n",
		"policies/teams.rego":  "package teams\n\nimport rego.v1\n\ndeny contains sprintf(\"%s is no team\", [input.metadata.labels.team]) if {\n\tanswer := http.send({\"method\": \"GET\", \"url\": \"" + server.URL + "\"})\n\tnot input.metadata.labels.team in answer.body.teams\n}\n",
		"apps/configmaps.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {team: shop}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, labels: {team: nobody}}\n",
	} {
		file := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code := p.run(t.Context(), []string{"check", filepath.Join(p.dir, "apps")})
	if code != 1 || asked == 0 || !strings.Contains(stdout.String(), "nobody is no team") || strings.Contains(stdout.String(), "shop is no team") {
		t.Errorf("exit code %d after %d questions:\n%s%s", code, asked, stdout, stderr)
	}
}

func TestTheVersionsOfTheConfigurationAreThoseOfTheRules(t *testing.T) {
	if got, want := bundle.Versions(), apiserver.Versions(); !slices.Equal(got, want) {
		t.Errorf("gitgate.yaml takes %v, the rules know %v", got, want)
	}
}
