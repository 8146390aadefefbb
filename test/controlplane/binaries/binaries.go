// Package binaries makes the programs of a real Kubernetes control plane and of the reconcilers, Flux and Argo CD, for tests: it builds them from their modules with the
// go command, each family in a module of its own that is pinned by hash, and keeps them in the user's cache folder, so that
// only the first run on a machine pays. It needs Go, and the module proxy the first time; no package of the system. It knows
// nothing of gitgate and starts nothing but go.
package binaries

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// AssetsVariable names the environment variable with a folder of ready binaries, as controller-runtime's envtest reads it.
const AssetsVariable = "KUBEBUILDER_ASSETS"

//go:embed *.mod *.sum
var modules embed.FS

// recipe is one module from which one or more programs are built. Each program has a name of its own: one of another release than that of
// the control plane has the release behind it, also in the folder of KUBEBUILDER_ASSETS.
type recipe struct {
	name     string // of its .mod and .sum files
	module   string // that the programs are of
	version  string
	ldflags  string
	programs map[string]string // program -> import path of its main package
}

var recipes = []recipe{
	{
		name: "etcd", module: "go.etcd.io/etcd/server/v3", version: "v3.7.3", ldflags: "-s -w",
		programs: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
	},
	{
		name: "kubernetes", module: "k8s.io/kubernetes", version: KubernetesVersion,
		// The version that the programs tell is stamped in by their own build.
		ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=" + KubernetesVersion +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
		programs: map[string]string{
			"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
			"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
			"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
			"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
		},
	},
	{
		name: "kubernetes-1.37", module: "k8s.io/kubernetes", version: nextKubernetesVersion,
		ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=" + nextKubernetesVersion +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
		programs: map[string]string{"kube-apiserver-1.37": "k8s.io/kubernetes/cmd/kube-apiserver"},
	},
	{
		// The later releases do not resolve, or need a newer Go.
		name: "flux", module: "github.com/fluxcd/kustomize-controller", version: "v1.9.5", ldflags: "-s -w",
		programs: map[string]string{"kustomize-controller": "github.com/fluxcd/kustomize-controller"},
	},
	{
		name: "argocd", module: "github.com/argoproj/argo-cd/v3", version: "v3.5.7", ldflags: "-s -w",
		// One program; the environment variable ARGOCD_BINARY_NAME says which component it is to be.
		programs: map[string]string{"argocd": "github.com/argoproj/argo-cd/v3/cmd"},
	},
	{
		// Argo CD's repository server runs it.
		name: "kustomize", module: "sigs.k8s.io/kustomize/kustomize/v5", version: "v5.8.2", ldflags: "-s -w",
		programs: map[string]string{"kustomize": "sigs.k8s.io/kustomize/kustomize/v5"},
	},
	{
		// And this, for charts.
		name: "helm", module: "helm.sh/helm/v4", version: "v4.2.4", ldflags: "-s -w",
		programs: map[string]string{"helm": "helm.sh/helm/v4/cmd/helm"},
	},
}

// KubernetesVersion is the release of the control plane that is built.
const KubernetesVersion = "v1.36.3"

// nextKubernetesVersion is the release of the programs whose names end in -1.37.
const nextKubernetesVersion = "v1.37.1"

// Names lists the programs that Find can make, sorted.
func Names() []string {
	var names []string
	for _, r := range recipes {
		for name := range r.programs {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Find returns the absolute path of each named program: from the folder that KUBEBUILDER_ASSETS names if it has it, else from the
// cache, into which it is built first when it is not there. Two processes never build the same family at once. logf hears of
// builds, which take minutes; it may be nil.
func Find(ctx context.Context, logf func(format string, args ...any), names ...string) (map[string]string, error) {
	if logf == nil {
		logf = func(string, ...any) {}
	}
	found := map[string]string{}
	for _, name := range names {
		r, ok := recipeOf(name)
		if !ok {
			return nil, fmt.Errorf("program %q: not known; expected one of %s", name, strings.Join(Names(), ", "))
		}
		path, err := r.find(ctx, logf, name)
		if err != nil {
			return nil, fmt.Errorf("program %s: %w", name, err)
		}
		found[name] = path
	}
	return found, nil
}

// Source returns the folder of the module that the named program is built from, as the module cache has it: its manifests and
// custom resource definitions lie there. It is to be read only.
func Source(ctx context.Context, program string) (string, error) {
	r, ok := recipeOf(program)
	if !ok {
		return "", fmt.Errorf("program %q: not known; expected one of %s", program, strings.Join(Names(), ", "))
	}
	work, err := os.MkdirTemp("", "gitgate-source-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := r.writeModule(work); err != nil {
		return "", err
	}
	for _, args := range [][]string{{"mod", "download", r.module}, {"list", "-mod=readonly", "-m", "-f", "{{.Dir}}", r.module}} {
		out, err := goCommand(ctx, work, args...).Output()
		if err != nil {
			return "", fmt.Errorf("source of %s: go %s: %w", program, strings.Join(args, " "), err)
		}
		if dir := strings.TrimSpace(string(out)); dir != "" && args[0] == "list" {
			return dir, nil
		}
	}
	return "", fmt.Errorf("source of %s: module %s is not in the module cache", program, r.module)
}

func recipeOf(program string) (recipe, bool) {
	for _, r := range recipes {
		if _, ok := r.programs[program]; ok {
			return r, true
		}
	}
	return recipe{}, false
}

func (r recipe) find(ctx context.Context, logf func(string, ...any), program string) (string, error) {
	if assets := os.Getenv(AssetsVariable); assets != "" {
		path, err := filepath.Abs(filepath.Join(assets, program+exeSuffix()))
		if err != nil {
			return "", err
		}
		if isProgram(path) {
			return path, nil
		}
	}
	dir, err := r.dir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, program+exeSuffix())
	if isProgram(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if isProgram(path) { // another process has built it while this one waited
		return path, nil
	}
	logf("building %s %s into %s: minutes on a cold cache, once on this machine", program, r.version, dir)
	start := time.Now()
	if err := r.build(ctx, dir, program, path); err != nil {
		return "", err
	}
	logf("built %s in %s", program, time.Since(start).Round(time.Second))
	return path, nil
}

// dir is the cache folder of the recipe, keyed by all that decides what its binaries are.
func (r recipe) dir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	h := sha256.New()
	for _, name := range []string{r.name + ".mod", r.name + ".sum"} {
		text, err := modules.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	fmt.Fprintf(h, "%s\n%s %s", r.ldflags, runtime.GOOS, runtime.GOARCH)
	key := fmt.Sprintf("%s-%s-%s", r.name, r.version, hex.EncodeToString(h.Sum(nil))[:12])
	return filepath.Join(cache, "gitgate", "controlplane", key), nil
}

// build makes one program at path, whole or not at all.
func (r recipe) build(ctx context.Context, dir, program, path string) error {
	work, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := r.writeModule(work); err != nil {
		return err
	}
	cmd := goCommand(ctx, work, "build", "-mod=readonly", "-trimpath", "-buildvcs=false",
		"-ldflags="+r.ldflags, "-o", "program", r.programs[program])
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("go build %s: %w", r.programs[program], err), errors.New(tail(string(out), 40)))
	}
	return os.Rename(filepath.Join(work, "program"), path)
}

// writeModule puts the recipe's go.mod and go.sum into dir.
func (r recipe) writeModule(dir string) error {
	for from, to := range map[string]string{r.name + ".mod": "go.mod", r.name + ".sum": "go.sum"} {
		text, err := modules.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// goCommand is a go command in the module at dir. What the caller's own go command is told about its module does not reach it.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "PWD="+dir)
	return cmd
}

// lock takes the lock file at path, or gives up when ctx ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	type taken struct {
		unlock func()
		err    error
	}
	got := make(chan taken, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(path).Lock()
		got <- taken{unlock, err}
	}()
	select {
	case t := <-got:
		return t.unlock, t.err
	case <-ctx.Done():
		go func() {
			if t := <-got; t.err == nil {
				t.unlock()
			}
		}()
		return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
	}
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0)
}

func exeSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

// tail is the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
