// Package gc sets how often the garbage collector runs, before anything else of the program is initialised: packages are, in the
// order of their import paths, and this one needs no other. What the Kubernetes packages allocate then (11 MB) would cost two
// collections, 9 of 41 ms of CPU until `gitgate version` has answered, and a check of 5,000 manifests a fifth more CPU for 20 MB
// less memory. It must not import anything but the standard library.
package gc

import (
	"os"
	"runtime/debug"
)

var _ = set()

// set goes after GOGC of the environment.
func set() error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	return nil
}
