package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peer builds a Go program at a pinned version once and returns its path. The folder is keyed by module and version.
func peer(ctx context.Context, pkg, version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "gitgate", "peers", strings.ReplaceAll(pkg, "/", "_")+"@"+version)
	program := filepath.Join(dir, filepath.Base(pkg))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	fmt.Fprintf(os.Stderr, "bench: building %s@%s (once)\n", pkg, version)
	if err := goTool(ctx, dir, "install", pkg+"@"+version); err != nil {
		return "", fmt.Errorf("building the peer %s@%s: %w", pkg, version, err)
	}
	return program, nil
}

// goTool runs the go command; a bin folder is where it installs to.
func goTool(ctx context.Context, bin string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = os.Environ()
	if bin != "" {
		cmd.Env = append(cmd.Env, "GOBIN="+bin)
	}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
