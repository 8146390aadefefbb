// Package e2e holds the scenes: what people, reconcilers, controllers and attackers do to a cluster with a gate, against the real
// components of package world. Each scene has its own namespace and its own unit of the fleet; scenes of one world run one after the
// other, as they share its branch.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/process"
	"gitgate.dev/gitgate/test/world"
)

var program = flag.String("program", "", "gitgate program to test, instead of one that is built from here")

// built returns when gitgate is there: built once for all worlds, beside the start of the first, or what -program names.
var built = func() error { return nil }

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		os.Exit(m.Run()) // every scene is left out
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if *program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gitgate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*program = filepath.Join(dir, "gitgate")
	built = sync.OnceValue(func() error {
		_, err := world.Build(context.Background(), dir)
		return err
	})
	go built()
	return m.Run()
}

// ports are those of all worlds.
var ports process.Ports

// start starts a world for a test that -short leaves out. Worlds know nothing of each other, and as many as -parallel says run beside
// each other: each of them mostly waits.
func start(t *testing.T, o world.Options) *world.World {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real control plane")
	}
	t.Parallel()
	o.Program, o.ControlPlane.Ports = *program, &ports
	prepare := o.Prepare
	o.Prepare = func(w *world.World) {
		if err := built(); err != nil {
			t.Fatal(err)
		}
		if prepare != nil {
			prepare(w)
		}
	}
	return world.Start(t.Context(), t, o)
}

// wantAll wants each part in a text.
func wantAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("it does not say %q:\n%s", p, text)
		}
	}
}

func short(commit string) string { return commit[:12] }

// parallel does all at once and returns when all are done.
func parallel(all ...func()) {
	var group sync.WaitGroup
	for _, do := range all {
		group.Go(do)
	}
	group.Wait()
}

// object decodes one manifest.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}
