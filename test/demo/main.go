// Command demo shows gitgate at work, on the loopback of one machine and in two minutes: a real API server, the gate, and Flux's
// kustomize-controller, to which a commit, a person with kubectl, and a stolen token come in turn. What it starts it ends. The first
// run on a machine builds the programs of the control plane, which takes minutes. (`make demo`)
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"gitgate.dev/gitgate/test/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	s := &stage{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.strike()
		s.play(ctx)
	}()
	<-done
	stop()
	if s.Failed() {
		os.Exit(1)
	}
}

// stage is the test that a world wants, outside of go test. What fails ends the goroutine that plays.
type stage struct {
	mu     sync.Mutex
	failed bool
	after  []func()
}

func (s *stage) Helper()          {}
func (s *stage) Cleanup(f func()) { s.mu.Lock(); defer s.mu.Unlock(); s.after = append(s.after, f) }
func (s *stage) Failed() bool     { s.mu.Lock(); defer s.mu.Unlock(); return s.failed }

func (s *stage) Logf(format string, args ...any) {
	fmt.Fprintln(os.Stderr, wrapped("    ", fmt.Sprintf(format, args...)))
}

func (s *stage) Fatal(args ...any) { s.Fatalf("%s", fmt.Sprint(args...)) }

func (s *stage) Fatalf(format string, args ...any) {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	fmt.Fprintf(os.Stderr, "demo: "+format+"\n", args...)
	runtime.Goexit()
}

func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "gitgate-demo-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// strike ends what was started, the last first.
func (s *stage) strike() {
	for {
		s.mu.Lock()
		n := len(s.after)
		if n == 0 {
			s.mu.Unlock()
			return
		}
		f := s.after[n-1]
		s.after = s.after[:n-1]
		s.mu.Unlock()
		f()
	}
}

const file = "apps/shop/web.yaml"

func manifest(replicas int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: registry.example.com/shop/web:1.0.0
`, replicas)
}

const evil = "registry.example.com/evil:1"

func (s *stage) play(ctx context.Context) {
	say("Building gitgate.")
	program, err := world.Build(ctx, s.TempDir())
	if err != nil {
		s.Fatal(err)
	}
	say("Starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler,",
		"Flux's kustomize-controller, a Git server, and gitgate as the chart has it.")
	w := world.Start(ctx, s, world.Options{Program: program, Flux: true})
	w.StartKubelet("node-1")

	say("1. A signed commit declares a Deployment. Flux applies it; the gate finds each",
		"field in the commit and lets it in.")
	commit := w.Push("shop: web", map[string]string{
		"clusters/prod/shop.yaml": world.Unit("shop", "apps/shop"),
		"apps/shop/shop.yaml":     "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
		file:                      manifest(2),
	})
	w.Applied("shop", commit)
	s.git(w, "log", "-1", "--format=%h %an: %s")
	s.admitted(w, "ann", "-n", "shop", "get", "deployment", "web")

	say("2. Ann, who may do everything, edits it by hand: 2 replicas become 5.")
	s.editor("sed -i 's/replicas: 2/replicas: 5/'")
	s.refused(w, "ann", "-n", "shop", "edit", "deployment", "web")

	say("3. She does what it says. The commit is her change, with her name on it.")
	w.Applied("shop", w.Push("shop: more web", map[string]string{file: manifest(5)}))
	s.git(w, "show", "--format=%h %an: %s", "--unified=0", "HEAD", "--", file)
	s.admitted(w, "ann", "-n", "shop", "get", "deployment", "web")

	say("4. Somebody has stolen the token of Flux, which is cluster-admin.")
	s.refused(w, world.FluxUser, "-n", "shop", "set", "image", "deployment/web", "web="+evil)
	say("Everything is ended and removed.")
}

// admitted shows a command of kubectl and what it prints.
func (s *stage) admitted(w *world.World, user string, args ...string) {
	prompt(user, "kubectl", args)
	out, err := w.Kubectl(user, args...)
	if err != nil {
		s.Fatal(out)
	}
	show(out)
}

// refused shows a command of kubectl that the gate has to refuse.
func (s *stage) refused(w *world.World, user string, args ...string) {
	prompt(user, "kubectl", args)
	out, err := w.Kubectl(user, args...)
	if err == nil || !strings.Contains(out, "gate.gitgate.dev") {
		s.Fatal("the gate does not refuse it: ", out)
	}
	show(editing.ReplaceAllString(out, ""))
}

// editing is what kubectl edit prints beside the refusal: the copy that it keeps of what was edited.
var editing = regexp.MustCompile(`(?m)^(A copy of your changes .*|You can run .kubectl replace .*)\n?`)

func (s *stage) git(w *world.World, args ...string) {
	prompt("ann", "git", args[:1])
	show(w.Repo.Git(args...))
}

// editor makes kubectl edit run a command on the file, in place of an editor.
func (s *stage) editor(command string) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		s.Fatal(err)
	}
	script := filepath.Join(s.TempDir(), "editor")
	if err := os.WriteFile(script, []byte("#!"+shell+"\n"+command+` "$1"`+"\n"), 0o700); err != nil {
		s.Fatal(err)
	}
	if err := os.Setenv("KUBE_EDITOR", script); err != nil {
		s.Fatal(err)
	}
}

// width is that of the narrowest terminal that is meant.
const width = 79

func say(lines ...string) {
	fmt.Println()
	for _, line := range lines {
		fmt.Println(line)
	}
}

func prompt(user, program string, args []string) {
	if i := strings.LastIndexByte(user, ':'); i >= 0 {
		user = user[i+1:]
	}
	fmt.Println()
	fmt.Println(wrapped("  ", user+"$ "+program+" "+strings.Join(args, " ")))
}

func show(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Println(wrapped("    ", strings.TrimRight(line, "\n")))
	}
}

// wrapped breaks a line at spaces so that it fits, each part behind the indentation of the whole.
func wrapped(indent, line string) string {
	indent += line[:len(line)-len(strings.TrimLeft(line, " "))]
	var out strings.Builder
	at := 0
	words := strings.Fields(line)
	if !strings.Contains(strings.TrimSpace(line), " ") || len(indent)+len(strings.TrimSpace(line)) <= width {
		return indent + strings.TrimSpace(line) // a table keeps its columns
	}
	for _, word := range words {
		switch {
		case at == 0:
			out.WriteString(indent)
			at = len(indent)
		case at+1+len(word) > width:
			out.WriteString("\n" + indent + "  ")
			at = len(indent) + 2
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(word)
		at += len(word)
	}
	return out.String()
}
