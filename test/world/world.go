// Package world puts gitgate into a cluster as its users do, for tests and the demonstration: a real control plane, a real Git
// repository behind HTTP with signed commits, the gitgate program as `gitgate serve` with the chart's webhook configuration and the
// chart's permissions, and Flux's real kustomize-controller or a real Argo CD. What is not the real thing: the gate runs beside the
// cluster and not in a Pod, for there is no kubelet, and source-controller and helm-controller are stand-ins (FakeSources, FakeHelmController).
//
// It knows the chart and the program from outside, as a user does, and imports nothing of the product. What the scenes are it does
// not know: those are in test/e2e.
//
//	w := world.Start(ctx, t, world.Options{Program: program, Flux: true})
//	commit := w.Push("two replicas", map[string]string{"apps/shop/web.yaml": deployment})
//	w.Applied("apps", commit)
//	said, err := w.Kubectl("ann", "-n", "shop", "scale", "deployment/web", "--replicas=3")
package world

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/gitserver"
	"gitgate.dev/gitgate/test/process"
)

// T is what is wanted of a test: a testing.TB is one.
type T interface {
	gitserver.T
	Logf(format string, args ...any)
	Failed() bool
}

// The namespaces that a world has from the start, beside those of Kubernetes.
const (
	GateNamespace = "gitgate"
	FluxNamespace = "flux-system"
)

// Developers is the group of every person: it may do everything that the API server's own permissions can let it do, so that what
// is refused is refused by the gate.
const Developers = "developers"

// TenantAccount is the name of the service account that writes what a Kustomization declares which names none, where Flux is locked
// down for tenants.
const TenantAccount = "reconciler"

// FluxUser and GateUser are who Flux's kustomize-controller and the gate are to the API server.
const (
	FluxUser = "system:serviceaccount:" + FluxNamespace + ":kustomize-controller"
	GateUser = "system:serviceaccount:" + GateNamespace + ":gitgate"
)

// Options says what a world is to be.
type Options struct {
	Program string // of gitgate, as Build returns it
	Flux    bool   // with kustomize-controller and, declared in Git, the unit "fleet" of clusters/prod
	Helm    bool   // with a stand-in for Flux's helm-controller
	Tenants bool   // Flux is locked down for tenants: --default-service-account=TenantAccount, --no-cross-namespace-refs

	ArgoCD         bool              // with Argo CD and, declared in Git, the Application "root" of applications
	ArgoCDSettings map[string]string // of its ConfigMap argocd-cm, over those of its release

	Sources     string            // YAML of more of gitgate.yaml's sources: ", {name: …}"
	Reconcilers string            // YAML of gitgate.yaml's reconcilers; "" for Flux in flux-system
	Config      string            // more of gitgate.yaml
	Files       map[string]string // more of the first commit
	Unsigned    bool              // commits need no signature

	Values   string   // YAML of values of the chart, over those that every world has: mode deny, but not with ByHelm
	ByHelm   bool     // the chart is installed by the helm program; else by Helm's library, which is faster
	Replicas int      // of the gate; 0 is one
	Gate     []string // more flags of gitgate serve; they come last and so win
	Manifest []string // YAML that is in the cluster before the gate is

	Prepare func(*World) // what is to be done when everything is there but the gate

	ControlPlane controlplane.Options
}

// World is a cluster with a gate. Its methods end the test when they fail, unless they return an error.
type World struct {
	*shared
	Repo *gitserver.Repo
	t    T
}

// shared is what all views of one world have in common.
type shared struct {
	*controlplane.ControlPlane
	Git     *gitserver.Server
	Signer  *gitserver.Signer
	Sources *FakeSources        // nil without Flux
	Helm    *FakeHelmController // nil without Options.Helm

	ctx     context.Context
	options Options
	dir     string
	cluster *client
	gate    gate
	argoCD  *argoCD // nil without Argo CD

	mu       sync.Mutex
	programs map[string]*process.Process
}

// For is the same world, whose methods end another test: a subtest of the one that it was started for.
func (w *World) For(t T) *World { return &World{shared: w.shared, Repo: w.Repo.For(t), t: t} }

// Build builds gitgate into dir and returns its path. It builds as go test does, whose cache has most of it.
func Build(ctx context.Context, dir string) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "gitgate")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", program, "./cmd/gitgate")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build gitgate: %w\n%s", err, out)
	}
	return program, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("module of gitgate: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// Start makes a world and returns when its gate refuses what nobody declared. It ends with the test.
func Start(ctx context.Context, t T, o Options) *World {
	t.Helper()
	o.ControlPlane.ControllerManager, o.ControlPlane.Scheduler = true, true
	if o.ControlPlane.Logf == nil {
		o.ControlPlane.Logf = t.Logf
	}
	if o.ControlPlane.Ports == nil {
		o.ControlPlane.Ports = &process.Ports{}
	}
	w := &World{t: t, shared: &shared{ctx: ctx, options: o, dir: t.TempDir(), programs: map[string]*process.Process{}}}
	var err error
	if w.ControlPlane, err = controlplane.New(ctx, o.ControlPlane); err != nil {
		t.Fatalf("control plane: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.tellLogs()
		}
		w.stopPrograms()
		w.ControlPlane.Stop()
	})
	if w.cluster, err = newClient(w.Admin()); err != nil {
		t.Fatal(err)
	}
	w.openGit()
	w.must("people, namespaces and kinds", w.populate())
	w.must("gate", w.planGate())
	if o.Flux {
		w.must("flux", w.startFlux())
	}
	if o.ArgoCD {
		w.must("argocd", w.startArgoCD())
	}
	for _, text := range o.Manifest {
		w.must("manifests", w.cluster.apply(ctx, text))
	}
	w.must("chart", w.install())
	if o.Prepare != nil {
		o.Prepare(w)
	}
	w.StartGate()
	w.Guarded()
	return w
}

// Context is what the world lives as long as.
func (w *World) Context() context.Context { return w.ctx }

func (w *World) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// Run starts a program that is ended with the world, or by Halt; its outputs go to a log of its name, the end of which is told when
// the test fails.
func (w *World) Run(name string, cmd *exec.Cmd) *process.Process {
	w.t.Helper()
	p, err := process.Start(cmd, w.logFile(name))
	w.must(name, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.programs[name] = p
	return p
}

// HaltProgram ends a program that Run started, and returns when it has ended.
func (w *World) HaltProgram(name string) {
	w.mu.Lock()
	p := w.programs[name]
	delete(w.programs, name)
	w.mu.Unlock()
	if p != nil {
		p.Stop()
	}
}

// ended says that a program which should run does not.
func (w *World) ended(name string) error {
	p := w.program(name)
	if p == nil {
		return fmt.Errorf("%s does not run", name)
	}
	select {
	case <-p.Ended:
		return fmt.Errorf("%s has ended (%v): %s", name, p.Err, process.Tail(w.logFile(name), 5))
	default:
		return nil
	}
}

func (w *World) program(name string) *process.Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.programs[name]
}

func (w *World) logFile(name string) string { return filepath.Join(w.dir, name+".log") }

func (w *World) stopPrograms() {
	w.mu.Lock()
	names := make([]string, 0, len(w.programs))
	for name := range w.programs {
		names = append(names, name)
	}
	w.mu.Unlock()
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() { w.HaltProgram(name) })
	}
	all.Wait()
}

func (w *World) tellLogs() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.programs {
		w.t.Logf("last lines of %s:\n%s", name, process.Tail(w.logFile(name), 25))
	}
	for _, name := range []string{controlplane.APIServer, controlplane.ControllerManager} {
		w.t.Logf("last lines of %s:\n%s", name, w.ControlPlane.Log(name, 12))
	}
}

// patience is how long something may take that is about to happen, on a machine that has ten other things to do. Nothing is measured by it.
const patience = 6 * time.Minute

// errPatience ends a wait.
var errPatience = errors.New("it did not happen")

// Eventually asks again and again until ok says nil, and ends the test with its last word when it never does.
func (w *World) Eventually(what string, ok func() error) {
	w.t.Helper()
	err := errPatience
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
		if w.ctx.Err() != nil {
			break
		}
	}
	w.t.Fatalf("%s: %v", what, err)
}
