package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gitgate.dev/gitgate/test/gen"
)

// The admission controllers that have a command line: their own programs judge the same workloads by the same policies, 20 for Pod
// Security in each language (test/bench/policies).

const (
	gatekeeperModule  = "github.com/open-policy-agent/gatekeeper/v3"
	gatekeeperVersion = "v3.23.1"
	kyvernoModule     = "github.com/kyverno/kyverno"
	kyvernoVersion    = "v1.19.1"
	// kyvernoReplaces is what the go.mod of Kyverno replaces.
	kyvernoReplaces = "k8s.io/pod-security-admission => github.com/kyverno/pod-security-admission v0.0.0-20251031094455-46f20778634f"
)

// mostValidating is how many workloads the Kyverno CLI judges by ValidatingPolicies in reasonable time: it compiles them anew for each.
const mostValidating = 100

func (p *preparation) gatekeeper(name string) (benchCase, error) {
	tree, err := p.workloadTree(p.o.workloads)
	if err != nil {
		return benchCase{}, err
	}
	policies := p.policies("gatekeeper")
	gator, err := peer(p.ctx, gatekeeperModule+"/cmd/gator", gatekeeperVersion)
	if err != nil {
		return benchCase{}, err
	}
	return p.beside(name, "gatekeeper", tree, []string{gator, "test", "--filename", policies, "--filename", tree})
}

func (p *preparation) clusterPolicies(name string) (benchCase, error) {
	return p.kyverno(name, "kyverno", p.o.workloads)
}

func (p *preparation) validatingPolicies(name string) (benchCase, error) {
	return p.kyverno(name, "validatingpolicy", min(p.o.workloads, mostValidating))
}

func (p *preparation) kyverno(name, language string, workloads int) (benchCase, error) {
	tree, err := p.workloadTree(workloads)
	if err != nil {
		return benchCase{}, err
	}
	kyverno, err := peerOf(p.ctx, kyvernoModule, kyvernoVersion, kyvernoModule+"/cmd/cli/kubectl-kyverno", kyvernoReplaces)
	if err != nil {
		return benchCase{}, err
	}
	return p.beside(name, language, tree, []string{kyverno, "apply", p.policies(language), "--resource", tree})
}

// gatekeeperBeside has no peer: both sides are gitgate, the second with the same 20 templates nine times more for kinds that are not
// there. What is printed as the peer's figure is that of the larger set.
func (p *preparation) gatekeeperBeside(name string) (benchCase, error) {
	tree, err := p.workloadTree(p.o.workloads)
	if err != nil {
		return benchCase{}, err
	}
	files, err := filepath.Glob(filepath.Join(p.policies("gatekeeper"), "*.yaml"))
	if err != nil {
		return benchCase{}, err
	}
	extra := filepath.Join(p.work, "beside", "policies", "other")
	if err := os.MkdirAll(extra, 0o755); err != nil {
		return benchCase{}, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return benchCase{}, err
		}
		own := filepath.Join(filepath.Dir(extra), filepath.Base(file))
		if err := os.WriteFile(own, text, 0o644); err != nil {
			return benchCase{}, err
		}
		for i := range 9 {
			other := strings.NewReplacer("kind: Pod", fmt.Sprintf("kind: Other%d", i), "name: pod", fmt.Sprintf("name: other%d", i),
				"kinds: [Pod]", "kinds: [Nothing]", "kinds: [Deployment, StatefulSet, DaemonSet, ReplicaSet]", "kinds: [Nothing]", "kinds: [Job, CronJob]", "kinds: [Nothing]").Replace(string(text))
			if err := os.WriteFile(filepath.Join(extra, fmt.Sprintf("%d-%s", i, filepath.Base(file))), []byte(other), 0o644); err != nil {
				return benchCase{}, err
			}
		}
	}
	larger, err := p.config("beside", "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies:\n  - path: policies\n")
	if err != nil {
		return benchCase{}, err
	}
	return p.beside(name, "gatekeeper", tree, []string{p.gitgate, "check", "--config", larger, tree})
}

// beside judges a tree by the policies of a language with gitgate, and as the peer does. gitgate judges the schema as well: it has no
// switch for that.
func (p *preparation) beside(name, language, tree string, theirs []string) (benchCase, error) {
	dir := filepath.Join(p.work, language)
	if err := os.RemoveAll(dir); err != nil {
		return benchCase{}, err
	}
	if err := os.CopyFS(filepath.Join(dir, "policies"), os.DirFS(p.policies(language))); err != nil {
		return benchCase{}, err
	}
	config, err := p.config(language, "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies:\n  - path: policies\n")
	if err != nil {
		return benchCase{}, err
	}
	return benchCase{
		name:   name,
		ours:   command{args: []string{p.gitgate, "check", "--config", config, tree}, ok: judged},
		theirs: command{args: theirs, ok: judged},
	}, nil
}

func (p *preparation) policies(language string) string {
	return filepath.Join(p.repo, "test", "bench", "policies", language)
}

var workloadKinds = []string{"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}

// workloadTree writes n generated workloads, a file each, once.
func (p *preparation) workloadTree(n int) (string, error) {
	dir := filepath.Join(p.work, fmt.Sprintf("workloads-%d", n))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	written := 0
	for m := range gen.Manifests(100 * n) {
		if !slices.Contains(workloadKinds, m.Kind) {
			continue
		}
		if written == n {
			break
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d-%s.yaml", written, strings.ToLower(m.Kind))), []byte(m.Text), 0o644); err != nil {
			return "", err
		}
		written++
	}
	return dir, nil
}
