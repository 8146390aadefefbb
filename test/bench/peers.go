package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	if err := goTool(ctx, "GOBIN="+dir, "install", pkg+"@"+version); err != nil {
		return "", fmt.Errorf("building the peer %s@%s: %w", pkg, version, err)
	}
	return program, nil
}

// peerOf is peer for a program whose module has replaced others, so that it cannot be installed by its version: it is built in a module
// of its own that requires nothing else and has the same replacements.
func peerOf(ctx context.Context, module, version, pkg string, replacements ...string) (string, error) {
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
	work, err := os.MkdirTemp("", "gitgate-peer-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	text := fmt.Sprintf("module peer\n\ngo %s\n\nrequire %s %s\n", strings.TrimPrefix(runtime.Version(), "go"), module, version)
	for _, r := range replacements {
		text += "\nreplace " + r + "\n"
	}
	if err := os.WriteFile(filepath.Join(work, "go.mod"), []byte(text), 0o644); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", program, pkg)
	cmd.Dir, cmd.Stdout, cmd.Stderr = work, os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building the peer %s@%s: %w", pkg, version, err)
	}
	return program, nil
}

// goTool runs the go command with one more variable.
func goTool(ctx context.Context, variable string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
