package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"gitgate.dev/gitgate/test/gen"
)

// unitSize is how many objects a Kustomization of a generated fleet has, whatever the size of the fleet: what a pull request
// changes is the same in all.
const unitSize = 200

// smallFleet is what a pull request on a large fleet is compared with.
const smallFleet = 1000

// pullRequest judges a pull request of one file on a large fleet, beside the same on a small one. The round that does not count
// renders both and fills the cache.
func (p *preparation) pullRequest(name string) (benchCase, error) {
	large, err := p.fleet(p.o.fleet)
	if err != nil {
		return benchCase{}, err
	}
	small, err := p.fleet(smallFleet)
	if err != nil {
		return benchCase{}, err
	}
	check := []string{p.gitgate, "check", "--base", "main", "--head", "topic"}
	env := []string{"XDG_CACHE_HOME=" + filepath.Join(p.work, "cache")}
	return benchCase{
		name:   name,
		ours:   command{args: check, dir: large, env: env, ok: judged},
		theirs: command{args: check, dir: small, env: env, ok: judged},
	}, nil
}

// fleet makes a repository of n objects, with a branch that changes one line of one file.
func (p *preparation) fleet(n int) (string, error) {
	dir := filepath.Join(p.work, fmt.Sprintf("fleet-%d", n))
	if _, err := gen.WriteFlux(dir, n, max(1, n/unitSize)); err != nil {
		return "", err
	}
	config := "apiVersion: gitgate.dev/v1alpha1\nkind: Gate\nsources: [{name: fleet, url: \"" + gen.FluxURL + "\", branch: main, path: clusters/prod}]\n" +
		"reconcilers: [{flux: {namespace: flux-system}}]\npolicies: [{library: pod-security/baseline}]\n"
	if err := os.WriteFile(filepath.Join(dir, "gitgate.yaml"), []byte(config), 0o644); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch", "main"}, {"add", "--all"}, {"commit", "--quiet", "--message", "all"},
		{"checkout", "--quiet", "-b", "topic"},
	} {
		if err := git(p.ctx, dir, args...); err != nil {
			return "", err
		}
	}
	if err := editReplicas(dir); err != nil {
		return "", err
	}
	return dir, git(p.ctx, dir, "commit", "--quiet", "--all", "--message", "one line")
}

var replicasLine = regexp.MustCompile(`(?m)^  replicas: [0-9]+$`)

// editReplicas changes the first Deployment of a fleet.
func editReplicas(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "apps", "*", "*-deployment.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if at := replicasLine.FindIndex(text); at != nil {
			changed := append([]byte{}, text[:at[0]]...)
			changed = append(append(changed, "  replicas: 17"...), text[at[1]:]...)
			return os.WriteFile(file, changed, 0o644)
		}
	}
	return errors.New("the generated fleet has no Deployment with replicas")
}

// git runs git without the user's settings.
func git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgSign=false"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
	}
	return nil
}
