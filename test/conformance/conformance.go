// Package conformance holds what the API server of Kubernetes 1.36 says to generated objects of every kind that it serves and
// keeps: which it takes and what it then stores, which it refuses and over which fields. The objects are made from the fixtures
// of testdata (see Cases), the answers are in the table of testdata/table, written by a real API server:
//
//	go test ./test/conformance -run TestTheTableIsWhatTheAPIServerSays -update
//
// Two tests hold it: gitgate's own rules (package apiserver) give the table's answer for every object, and so does a real API
// server, so that neither can move alone. Other tests may ask for Cases and Table to drive another door with them. The API
// server of the table runs without its admission plugins (see Plugins): what those do depends on other objects of a cluster.
package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Case is one object that is sent to the API server.
type Case struct {
	Base   string           // the fixture it is made of: apps/v1/Deployment/full
	Change string           // what was done to the fixture: drop spec.replicas; "" for the fixture itself
	Object map[string]any   // as encoding/json decodes it, with int64 for whole numbers
	Old    map[string]any   // what it replaces; nil when it is created
	CRDs   []map[string]any // the definitions that must be there
}

// Name is the case's name in the table.
func (c Case) Name() string { return strings.TrimSpace(c.Base + " " + c.Change) }

// Sum tells an object from another that came under the same name: the table says when it is of other objects.
func (c Case) Sum() string {
	text, err := json.Marshal([]any{c.Object, c.Old, c.CRDs})
	if err != nil {
		panic(fmt.Sprintf("case %s: %v", c.Name(), err)) // cases are decoded JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// Answer is what is said of one object.
type Answer struct {
	// Status is "taken", or the reason of the refusal: Invalid, BadRequest, NotFound …
	Status string
	// Causes are what the refusal is about, as `FieldValueInvalid spec.replicas`, sorted, each once.
	Causes []string
	// Stored is the difference between the object as sent and as stored, as Difference writes it; nil for a refusal and for an update.
	Stored []string
}

const (
	// Unmerged is the Status of an update that server-side apply cannot merge, because an item of a keyed list comes twice or has
	// no key. Nothing is said of the object then, which the API server takes when it is sent otherwise.
	Unmerged = "unmerged"
	Taken    = "taken"   // the Status of an object that would be stored
	Crashed  = "crashed" // the Status of an object that the API server's own code panics on: it ends the stream without an answer
)

// Difference lists how b differs from a, one line a leaf: `+ path value`, `- path`, `~ path value`, in the order of the paths.
func Difference(a, b map[string]any) []string {
	before, after := map[string]string{}, map[string]string{}
	flatten(nil, a, before)
	flatten(nil, b, after)
	var lines []string
	for path, v := range after {
		old, ok := before[path]
		switch {
		case !ok:
			lines = append(lines, "+ "+path+" "+v)
		case old != v:
			lines = append(lines, "~ "+path+" "+v)
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			lines = append(lines, "- "+path)
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	return lines
}

func flatten(at policies.Path, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			flatten(at.Append(key), e, into)
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for i, e := range v {
			flatten(at.Append(i), e, into)
		}
		if len(v) > 0 {
			return
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(fmt.Sprint(v))
	}
	into[at.String()] = string(text)
}
