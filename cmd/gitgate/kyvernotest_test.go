package main

import (
	"context"
	"os"
	"strings"
	"testing"
)

// Kyverno's own tests are run when GITGATE_KYVERNO_TESTS names a folder of them, such as test/cli of its repository: what its CLI
// passes has to pass. What could not run (signatures, registries) is logged.
func TestKyvernosOwnTests(t *testing.T) {
	folder := os.Getenv("GITGATE_KYVERNO_TESTS")
	if folder == "" {
		t.Skip("GITGATE_KYVERNO_TESTS names no folder")
	}
	p, stdout, stderr := in(t)
	p.run(context.Background(), []string{"policy", "test", folder})
	for line := range strings.Lines(stdout.String()) {
		switch {
		case strings.HasPrefix(line, "FAIL "):
			t.Error(line)
		case strings.HasPrefix(line, "ERROR"):
			t.Log(line)
		}
	}
	t.Log(stderr.String())
}
