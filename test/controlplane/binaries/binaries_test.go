package binaries_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gitgate.dev/gitgate/test/controlplane/binaries"
)

func TestReadyProgramsAreTakenByTheirWholeName(t *testing.T) {
	assets := t.TempDir()
	t.Setenv(binaries.AssetsVariable, assets)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	ready := filepath.Join(assets, "kube-apiserver")
	if err := os.WriteFile(ready, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	found, err := binaries.Find(t.Context(), nil, "kube-apiserver")
	if err != nil || found["kube-apiserver"] != ready {
		t.Errorf("found %v, %v, want %s", found, err, ready)
	}
	// One of another release is none of them: it would have to be built, for which there is no time here.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := binaries.Find(ended, nil, "kube-apiserver-1.37"); err == nil {
		t.Errorf("found %v, want another release than the ready one's", found)
	}
}

func TestEachProgramHasAName(t *testing.T) {
	names := binaries.Names()
	if twice := slices.Compact(slices.Clone(names)); len(twice) != len(names) {
		t.Errorf("names: %v", names)
	}
}
