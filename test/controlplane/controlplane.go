// Package controlplane starts a real Kubernetes control plane for tests: etcd and kube-apiserver, and on request
// kube-controller-manager and kube-scheduler, on free ports of the loopback with certificates made for the occasion. There is no
// kubelet, so Pods are stored and scheduled and never run. It knows nothing of gitgate.
//
//	cp := controlplane.Start(ctx, t, controlplane.Options{})   // ready in about 3 s once the binaries are built
//	admin := cp.Config("alice", "system:masters")              // *rest.Config of any user, by client certificate
//	path := cp.Kubeconfig("system:serviceaccount:flux-system:kustomize-controller", "system:serviceaccounts")
//	out, err := cp.Kubectl(ctx, path, "get", "ns")             // builds kubectl when first asked for
//
// The binaries come from package binaries: KUBEBUILDER_ASSETS, the user's cache folder, or a build that takes minutes once. Run
// `go run ./test/controlplane/build` to have it done before.
//
// An admission webhook of the test serves with cp.ServingCertificate("127.0.0.1") and names cp.CA() as its caBundle and an
// https://127.0.0.1:PORT/… URL. Flags of the API server go to Options.APIServer ("--runtime-config=…",
// "--admission-control-config-file=…"), Options.Release says which release it is of. Options.AuditPolicy turns the audit log on, cp.AuditLog() says where it is.
//
// Halt and Resume stop and start single components with their data, ports and identities kept: what a cold start or an outage
// is. When the test has failed, the end of each component's log is told. Stop (called by t.Cleanup) ends only processes that
// this value started; on Linux they end too when the test's process is killed.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/controlplane/binaries"
	"gitgate.dev/gitgate/test/process"
)

// The components of a control plane, as Halt and Resume name them.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

// Next is the release after that of the control plane. There is a kube-apiserver of it, and the other components of the release before may
// stand beside that, as they do while a cluster is upgraded.
const Next = "1.37"

// Options says what a control plane is to be. The zero value is etcd and an API server with RBAC and its default admission.
type Options struct {
	Release           string   // of kube-apiserver: Next, or "" for that of the other components
	APIServer         []string // more flags of kube-apiserver, "--name=value"; they come last and so win
	WebhookUser       string   // whose certificate kube-apiserver shows to webhooks; "" for none
	AuditPolicy       string   // YAML of an audit.k8s.io/v1 Policy; "" for no audit log
	ControllerManager bool     // with an identity for each controller, as real clusters have it
	Controllers       []string // more flags of kube-controller-manager
	Scheduler         bool
	Dir               string         // where all files go; "" for a temporary folder, removed at the end
	Editor            string         // a command that kubectl edit runs with the file behind it; "" for the environment's
	Ports             *process.Ports // of whom else takes ports in this process; nil for nobody
	Logf              func(format string, args ...any)
}

// ControlPlane is a running control plane. Its methods are safe for concurrent use.
type ControlPlane struct {
	options  Options
	dir      string
	ownDir   bool
	ca       *authority
	endpoint string // https://127.0.0.1:PORT

	mu         sync.Mutex
	running    map[string]*process.Process
	ports      map[string]int
	identities map[string]*identity
	writing    sync.Mutex // keeps two callers from writing one kubeconfig at once
}

// Start starts a control plane for one test and stops it when the test ends. Failure to start is fatal for the test.
func Start(ctx context.Context, t testing.TB, o Options) *ControlPlane {
	t.Helper()
	if o.Logf == nil {
		o.Logf = t.Logf
	}
	cp, err := New(ctx, o)
	if err != nil {
		t.Fatalf("control plane: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{Etcd, APIServer, ControllerManager, Scheduler} {
				if log := cp.Log(name, 40); log != "" {
					t.Logf("last lines of %s:\n%s", name, log)
				}
			}
		}
		cp.Stop()
	})
	return cp
}

// New starts a control plane and returns when it is ready. The caller owns it and must Stop it.
func New(ctx context.Context, o Options) (*ControlPlane, error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.Ports == nil {
		o.Ports = &process.Ports{}
	}
	cp := &ControlPlane{options: o, dir: o.Dir, running: map[string]*process.Process{}, ports: map[string]int{}, identities: map[string]*identity{}}
	wanted := []string{Etcd, APIServer}
	if o.ControllerManager {
		wanted = append(wanted, ControllerManager)
	}
	if o.Scheduler {
		wanted = append(wanted, Scheduler)
	}
	programs, err := cp.find(ctx, wanted...)
	if err != nil {
		return nil, err
	}
	if cp.dir == "" {
		if cp.dir, err = os.MkdirTemp("", "controlplane-"); err != nil {
			return nil, err
		}
		cp.ownDir = true
	}
	if cp.ca, err = newAuthority(cp.dir); err != nil {
		cp.Stop()
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if o.AuditPolicy != "" {
		if err := os.WriteFile(cp.file("audit-policy.yaml"), []byte(o.AuditPolicy), 0o600); err != nil {
			cp.Stop()
			return nil, err
		}
	}
	// The API server needs etcd, and the clients of the API server come up beside each other.
	for _, stage := range [][]string{wanted[:1], wanted[1:2], wanted[2:]} {
		if err := cp.launchAll(ctx, stage, programs); err != nil {
			cp.Stop()
			return nil, err
		}
	}
	return cp, nil
}

func (cp *ControlPlane) launchAll(ctx context.Context, names []string, programs map[string]string) error {
	errs := make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() {
			if err := cp.launch(ctx, name, programs[name]); err != nil {
				errs[i] = errors.Join(err, errors.New(cp.Log(name, 30)))
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// Stop ends every component at once, without asking, and removes the temporary folder. It may be called twice.
func (cp *ControlPlane) Stop() {
	for _, name := range []string{Scheduler, ControllerManager, APIServer, Etcd} {
		if p := cp.take(name); p != nil {
			p.Kill()
		}
	}
	if cp.ownDir {
		_ = os.RemoveAll(cp.dir)
	}
}

// Halt ends one component if it runs, and returns when it has ended. Data, port and identity are kept for Resume.
func (cp *ControlPlane) Halt(name string) {
	if p := cp.take(name); p != nil {
		p.Stop()
	}
}

// take is the process of a component, which its caller ends; nil when it does not run.
func (cp *ControlPlane) take(name string) *process.Process {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	p := cp.running[name]
	delete(cp.running, name)
	return p
}

// Resume starts a component that was halted, or one that Options did not ask for, and returns when it is ready.
func (cp *ControlPlane) Resume(ctx context.Context, name string) error {
	programs, err := cp.find(ctx, name)
	if err != nil {
		return err
	}
	if err := cp.launch(ctx, name, programs[name]); err != nil {
		return errors.Join(err, errors.New(cp.Log(name, 30)))
	}
	return nil
}

// find returns the path of each component's program.
func (cp *ControlPlane) find(ctx context.Context, components ...string) (map[string]string, error) {
	cp.mu.Lock()
	release := cp.options.Release
	cp.mu.Unlock()
	paths := map[string]string{}
	for _, name := range components {
		program := name
		if name == APIServer && release != "" {
			program += "-" + release
		}
		found, err := binaries.Find(ctx, cp.options.Logf, program)
		if err != nil {
			return nil, err
		}
		paths[name] = found[program]
	}
	return paths, nil
}

// UpgradeAPIServer has kube-apiserver be of another release from its next start on, with flags in place of those of Options.APIServer
// and AddAPIServerFlags.
func (cp *ControlPlane) UpgradeAPIServer(release string, flags ...string) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.options.Release, cp.options.APIServer = release, flags
}

// AddAPIServerFlags gives kube-apiserver more flags from its next start on.
func (cp *ControlPlane) AddAPIServerFlags(flags ...string) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.options.APIServer = slices.Concat(cp.options.APIServer, flags)
}

// Dir is the folder of all files of the control plane.
func (cp *ControlPlane) Dir() string { return cp.dir }

// Endpoint is the URL of the API server.
func (cp *ControlPlane) Endpoint() string { return cp.endpoint }

// AuditLog is the file that the API server writes its audit events to, one JSON object a line.
func (cp *ControlPlane) AuditLog() string { return cp.file("audit.log") }

// Log is the last lines of what a component has written.
func (cp *ControlPlane) Log(name string, lines int) string {
	return process.Tail(cp.file(name+".log"), lines)
}

// Kubectl runs kubectl with a kubeconfig and returns what it wrote to both outputs. Who edits an object does it with the editor of
// Options.Editor.
func (cp *ControlPlane) Kubectl(ctx context.Context, kubeconfig string, args ...string) (string, error) {
	programs, err := binaries.Find(ctx, cp.options.Logf, "kubectl")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, programs["kubectl"], append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
	// kubectl edit leaves what was refused in the temporary folder.
	cmd.Env = append(os.Environ(), "KUBECACHEDIR="+cp.file("kubectl-cache"), "TMPDIR="+cp.dir)
	if cp.options.Editor != "" {
		cmd.Env = append(cmd.Env, "KUBE_EDITOR="+cp.options.Editor)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (cp *ControlPlane) file(name string) string { return filepath.Join(cp.dir, name) }

// launch starts a component on the port it had before or on a free one, and waits until it is ready. Between the choice of a
// free port and its use another process may take it: then it is chosen anew.
func (cp *ControlPlane) launch(ctx context.Context, name, program string) error {
	cp.mu.Lock()
	_, runs := cp.running[name]
	_, kept := cp.ports[name]
	cp.mu.Unlock()
	if runs {
		return fmt.Errorf("%s runs already", name)
	}
	var err error
	for range 3 {
		if err = cp.attempt(ctx, name, program); err == nil || kept || !strings.Contains(cp.Log(name, 30), "address already in use") {
			return err
		}
		cp.mu.Lock()
		delete(cp.ports, name)
		delete(cp.ports, name+" peer")
		cp.mu.Unlock()
	}
	return err
}

func (cp *ControlPlane) attempt(ctx context.Context, name, program string) error {
	args, ready, err := cp.plan(name)
	if err != nil {
		return err
	}
	p, err := process.Start(exec.Command(program, args...), cp.file(name+".log"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := ready(ctx)
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-p.Ended:
			return fmt.Errorf("%s ended before it was ready: %v", name, p.Err)
		case <-ctx.Done():
			p.Stop()
			return fmt.Errorf("%s did not become ready: %w; last: %v", name, ctx.Err(), last)
		case <-tick.C:
		}
	}
	cp.mu.Lock()
	cp.running[name] = p
	cp.mu.Unlock()
	return nil
}

// plan gives a component's arguments and the question that finds it ready.
func (cp *ControlPlane) plan(name string) (args []string, ready func(context.Context) error, err error) {
	port, err := cp.port(name)
	if err != nil {
		return nil, nil, err
	}
	switch name {
	case Etcd:
		return cp.planEtcd(port)
	case APIServer:
		return cp.planAPIServer(port)
	case ControllerManager:
		return cp.planController(name, port, slices.Concat([]string{
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + cp.file("sa.key"),
			"--root-ca-file=" + cp.file("ca.crt"),
			"--controllers=*",
		}, cp.options.Controllers))
	case Scheduler:
		return cp.planController(name, port, nil)
	}
	return nil, nil, fmt.Errorf("component %q: not known", name)
}

func (cp *ControlPlane) port(name string) (int, error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if port := cp.ports[name]; port != 0 {
		return port, nil
	}
	port, err := cp.options.Ports.Free()
	if err == nil {
		cp.ports[name] = port
	}
	return port, err
}
