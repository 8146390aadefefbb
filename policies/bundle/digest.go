package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// digest is the sha256 of a text with one line for everything that decides a verdict: the build, the Kubernetes version, and
// path and sha256 of each file and of each document of the library, sorted. Two doors with the same digest judge by the same
// policies.
func digest(files, shipped map[string][]byte, build, kubernetes string) string {
	h := sha256.New()
	fmt.Fprintf(h, "gitgate bundle 1\nbuild %q\nkubernetes %q\n", build, kubernetes)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "file %q %x\n", name, sha256.Sum256(files[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(shipped)) {
		fmt.Fprintf(h, "library %q %x\n", name, sha256.Sum256(shipped[name]))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
