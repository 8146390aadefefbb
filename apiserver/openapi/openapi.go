// Package openapi knows the form of Kubernetes's built-in kinds in each version of Kubernetes it has embedded: which kinds a
// version serves, their resources and scopes, and the fields of each, with their types. Its one responsibility is to answer for a
// version other than the one whose own code is compiled in, and to say precisely where a value has the wrong form. It knows nothing
// of custom resources, of defaults, or of rules on values, and reads nothing at run time.
package openapi

//go:generate go run ./gen 1.34=v1.34.5 1.35=v1.35.3 1.36=v1.36.3 1.37=v1.37.0

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"

	"gitgate.dev/gitgate/policies"
)

var (
	//go:embed kinds.txt.gz
	kindsFile []byte
	//go:embed shapes.txt.gz
	shapesFile []byte
)

// Release is one embedded version of Kubernetes.
type Release struct {
	Minor  string // "1.36"
	Module string // the Go module that its data was read from: "k8s.io/kubernetes@v1.36.3"
	Sum    string // the checksum of that module, as in go.sum
}

// Kind is a built-in kind of which objects can be created, in one group and version.
type Kind struct {
	policies.GroupVersionKind
	Plural      string // the resource: "deployments"
	Namespaced  bool
	Deprecated  string                    // the minor version that deprecates it; "" when none does
	Removed     string                    // the minor version that stops to serve it, or will; "" when none is planned
	Replacement policies.GroupVersionKind // what to use in its place; zero when nothing is named

	in    uint8 // bit i: served by release i
	shape int
}

// catalogue is what kinds.txt says.
type catalogue struct {
	releases []Release
	kinds    map[policies.GroupVersionKind]*Kind
	ordered  []*Kind
	groups   map[string]bool
}

var kinds = sync.OnceValue(func() *catalogue {
	c := &catalogue{kinds: map[policies.GroupVersionKind]*Kind{}, groups: map[string]bool{}}
	for line := range strings.Lines(inflate(kindsFile)) {
		f := strings.Fields(line)
		if f[0] == "release" {
			c.releases = append(c.releases, Release{f[1], f[2], f[3]})
			continue
		}
		for i := range f {
			if f[i] == "-" {
				f[i] = ""
			}
		}
		k := &Kind{
			GroupVersionKind: policies.GroupVersionKind{Group: f[0], Version: f[1], Kind: f[2]},
			Plural:           f[3], Namespaced: f[4] == "N", Deprecated: f[6], Removed: f[7], Replacement: parseGVK(f[8]),
			in: uint8(number(f[5])), shape: number(f[9]),
		}
		c.kinds[k.GroupVersionKind] = k
		c.ordered = append(c.ordered, k)
		c.groups[k.Group] = true
	}
	return c
})

func parseGVK(s string) policies.GroupVersionKind {
	parts := strings.Split(s, "/")
	switch len(parts) {
	case 2:
		return policies.GroupVersionKind{Version: parts[0], Kind: parts[1]}
	case 3:
		return policies.GroupVersionKind{Group: parts[0], Version: parts[1], Kind: parts[2]}
	}
	return policies.GroupVersionKind{}
}

// inflate and number read embedded data: it is right, or the program is not (a test reads all of it).
func inflate(compressed []byte) string {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		panic(fmt.Sprintf("openapi: embedded data: %v", err))
	}
	text, err := io.ReadAll(r)
	if err != nil {
		panic(fmt.Sprintf("openapi: embedded data: %v", err))
	}
	return string(text)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("openapi: embedded data: %v", err))
	}
	return n
}

// Releases lists the embedded versions, oldest first.
func Releases() []Release { return slices.Clone(kinds().releases) }

// Version answers for one version of Kubernetes. It is safe for concurrent use, and reads its data when first asked for it.
type Version struct {
	Minor string
	bit   uint8
	types func() []*shape
}

var versions = sync.OnceValue(func() map[string]*Version {
	all := map[string]*Version{}
	for i, r := range kinds().releases {
		bit := uint8(1) << i
		all[r.Minor] = &Version{Minor: r.Minor, bit: bit, types: sync.OnceValue(func() []*shape { return readShapes(bit) })}
	}
	return all
})

// Of returns the version of that minor number ("1.36"). The error names those that there are.
func Of(minor string) (*Version, error) {
	if v := versions()[minor]; v != nil {
		return v, nil
	}
	var known []string
	for _, r := range kinds().releases {
		known = append(known, r.Minor)
	}
	return nil, fmt.Errorf("kubernetes version %q: expected one of %s", minor, strings.Join(known, ", "))
}

// Kind returns the kind that v serves under gvk, or nil.
func (v *Version) Kind(gvk policies.GroupVersionKind) *Kind {
	if k := kinds().kinds[gvk]; k != nil && k.in&v.bit != 0 {
		return k
	}
	return nil
}

// Kinds lists what v serves, sorted by group, version and kind.
func (v *Version) Kinds() []*Kind {
	var out []*Kind
	for _, k := range kinds().ordered {
		if k.in&v.bit != 0 {
			out = append(out, k)
		}
	}
	return out
}

// HasGroup says whether group is one of Kubernetes's own, in any embedded version.
func HasGroup(group string) bool { return kinds().groups[group] }

// Optional says that a Kubernetes of the embedded versions serves apiVersion only when it is told to: since 1.24 alpha and beta
// versions of an API are off by default (KEP-3136).
func (k *Kind) Optional() bool {
	return strings.Contains(k.Version, "alpha") || strings.Contains(k.Version, "beta")
}

// IsDeprecated says whether k is deprecated in v.
func (v *Version) IsDeprecated(k *Kind) bool {
	return k.Deprecated != "" && compare(k.Deprecated, v.Minor) <= 0
}

// compare orders minor versions: "1.9" before "1.10".
func compare(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		return number(x) - number(y)
	})
}

// Elsewhere says where a kind that v does not serve is served: since is the first embedded version that does, gone the version
// that stopped. Both are "" when no embedded version serves it; since is "" when older ones than v do.
func (v *Version) Elsewhere(gvk policies.GroupVersionKind) (since, gone string) {
	k := kinds().kinds[gvk]
	if k == nil || k.in&v.bit != 0 {
		return "", ""
	}
	for i, r := range kinds().releases {
		bit := uint8(1) << i
		switch {
		case bit > v.bit && k.in&bit != 0:
			return r.Minor, ""
		case bit <= v.bit && k.in&bit == 0 && i > 0 && k.in&(bit>>1) != 0:
			gone = r.Minor
		}
	}
	return "", gone
}

// Versions lists the API versions in which v serves a kind, the stable ones first.
func (v *Version) Versions(gk policies.GroupKind) []string {
	var out []string
	for _, k := range kinds().ordered {
		if k.in&v.bit != 0 && k.GroupKind() == gk {
			out = append(out, k.Version)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return len(a) - len(b) })
	return out
}

// Nearest returns the kind of v that gvk is most likely a misspelling of, or nil: the same kind of another group or version, or a
// kind of the same group that differs in a letter or two.
func (v *Version) Nearest(gvk policies.GroupVersionKind) *Kind {
	var best *Kind
	distance := 3
	for _, k := range kinds().ordered {
		if k.in&v.bit == 0 {
			continue
		}
		d := levenshtein.ComputeDistance(k.Kind, gvk.Kind)
		switch {
		case d == 0 && k.Group == gvk.Group:
			d = -3
		case d == 0:
			d = -2
		case k.Group != gvk.Group:
			d++
		}
		if d < distance || d == distance && best != nil && best.Optional() && !k.Optional() {
			best, distance = k, d
		}
	}
	if best != nil && distance > 0 && len(gvk.Kind) < 4 {
		return nil
	}
	return best
}
