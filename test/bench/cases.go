package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gitgate.dev/gitgate/test/gen"
)

// prepare makes the input of the cases that are wanted, and builds the peers they need.
func prepare(ctx context.Context, o options, work, gitgate string, wanted *regexp.Regexp) ([]benchCase, error) {
	repo, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	p := &preparation{ctx: ctx, o: o, work: work, repo: repo, gitgate: gitgate}
	var cases []benchCase
	for _, c := range []struct {
		name  string
		build func(name string) (benchCase, error)
	}{
		{"start: gitgate version", p.start},
		{fmt.Sprintf("schema: %d manifests", o.manifests), p.schema},
		{"schema: examples/fleet", p.schemaFleet},
		{fmt.Sprintf("rego: 20 policies, %d manifests", o.manifests), p.rego},
		{"rego: 20 policies, examples/fleet", p.regoFleet},
		{fmt.Sprintf("gatekeeper: 20 templates, %d workloads", o.workloads), p.gatekeeper},
		{fmt.Sprintf("kyverno: 20 ClusterPolicies, %d workloads", o.workloads), p.clusterPolicies},
		{fmt.Sprintf("kyverno: 20 ValidatingPolicies, %d workloads", min(o.workloads, mostValidating)), p.validatingPolicies},
		{fmt.Sprintf("gatekeeper beside 180 that cannot match, %d workloads", o.workloads), p.gatekeeperBeside},
		{fmt.Sprintf("pull request: %d objects beside %d", o.fleet, smallFleet), p.pullRequest},
		{fmt.Sprintf("large: %d manifests", o.large), p.large},
	} {
		if !wanted.MatchString(c.name) || strings.HasSuffix(c.name, ": 0 manifests") || strings.HasPrefix(c.name, "pull request: 0 ") {
			continue
		}
		built, err := c.build(c.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		cases = append(cases, built)
	}
	return cases, nil
}

type preparation struct {
	ctx                 context.Context
	o                   options
	work, repo, gitgate string
}

// judged are the exit codes of a run that did its work: all well, or something found.
var judged = []int{0, 1}

func (p *preparation) start(name string) (benchCase, error) {
	return benchCase{name: name, ours: command{args: []string{p.gitgate, "version"}}}, nil
}

func (p *preparation) schema(name string) (benchCase, error) {
	tree, err := p.tree(p.o.manifests)
	if err != nil {
		return benchCase{}, err
	}
	return p.schemaOf(name, tree)
}

func (p *preparation) schemaFleet(name string) (benchCase, error) {
	return p.schemaOf(name, filepath.Join(p.repo, "examples", "fleet", "clusters"))
}

func (p *preparation) schemaOf(name, tree string) (benchCase, error) {
	kubeconform, err := peer(p.ctx, "github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0")
	if err != nil {
		return benchCase{}, err
	}
	schemas := filepath.Join(p.work, "schemas")
	if _, err := os.Stat(schemas); err != nil {
		if err := writeKubeconformSchemas(p.ctx, schemas); err != nil {
			return benchCase{}, err
		}
	}
	config, err := p.config("schema", "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\n")
	if err != nil {
		return benchCase{}, err
	}
	return benchCase{
		name: name,
		ours: command{args: []string{p.gitgate, "check", "--config", config, tree}, ok: judged},
		theirs: command{args: []string{kubeconform, "-strict", "-ignore-missing-schemas", "-n", "2",
			"-schema-location", filepath.Join(schemas, "{{ .ResourceKind }}{{ .KindSuffix }}.json"), tree}, ok: judged},
	}, nil
}

func (p *preparation) rego(name string) (benchCase, error) {
	tree, err := p.tree(p.o.manifests)
	if err != nil {
		return benchCase{}, err
	}
	return p.regoOf(name, tree)
}

func (p *preparation) regoFleet(name string) (benchCase, error) {
	return p.regoOf(name, filepath.Join(p.repo, "examples", "fleet", "clusters"))
}

// regoOf judges with the same 20 policies on both sides. gitgate judges the schema as well: it has no switch for that.
func (p *preparation) regoOf(name, tree string) (benchCase, error) {
	conftest, err := peer(p.ctx, "github.com/open-policy-agent/conftest", "v0.71.1")
	if err != nil {
		return benchCase{}, err
	}
	dir := filepath.Join(p.work, "rego")
	policies := filepath.Join(dir, "policies")
	if err := os.RemoveAll(dir); err != nil {
		return benchCase{}, err
	}
	if err := copyPolicies(filepath.Join(p.repo, "policies", "rego", "testdata", "bench"), policies); err != nil {
		return benchCase{}, err
	}
	config, err := p.config("rego", "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\npolicies:\n  - path: policies\n")
	if err != nil {
		return benchCase{}, err
	}
	return benchCase{
		name:   name,
		ours:   command{args: []string{p.gitgate, "check", "--config", config, tree}, ok: judged},
		theirs: command{args: []string{conftest, "test", "--policy", policies, "--all-namespaces", "--no-color", "--parser", "yaml", tree}, ok: judged},
	}, nil
}

// copyPolicies copies the Rego files of a folder; what else lies beside them is input for the Go benchmarks.
func copyPolicies(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "*.rego"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("policies in %s: %d found: %w", from, len(files), err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// large has no peer: it shows that time grows with the number of manifests and memory does not.
func (p *preparation) large(name string) (benchCase, error) {
	tree, err := p.tree(p.o.large)
	if err != nil {
		return benchCase{}, err
	}
	config, err := p.config("schema", "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\n")
	if err != nil {
		return benchCase{}, err
	}
	return benchCase{name: name, ours: command{args: []string{p.gitgate, "check", "--config", config, tree}, ok: judged}}, nil
}

// tree writes n manifests, once.
func (p *preparation) tree(n int) (string, error) {
	dir := filepath.Join(p.work, fmt.Sprintf("tree-%d", n))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	_, err := gen.WriteTree(dir, n)
	return dir, err
}

// config writes a gitgate.yaml into a folder of its own and returns its path.
func (p *preparation) config(name, text string) (string, error) {
	file := filepath.Join(p.work, name, "gitgate.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	return file, os.WriteFile(file, []byte(text), 0o644)
}
