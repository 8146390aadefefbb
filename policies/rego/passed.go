package rego

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"gitgate.dev/gitgate/policies"
)

// A reconciler applies the same objects over and over, and a workload that is scaled or relabelled keeps its Pods as they are. What packages
// that look at nothing but the object had nothing to say of, they have nothing to say of when it comes again. Only that is remembered, by
// a digest of the whole: what they have something to say of is asked anew each time.

// fewest is how many packages must be asked of an object for its digest to cost less than asking them.
const fewest = 4

// maxDigested bounds the objects that are remembered, in bytes of their content.
const maxDigested = 64 << 10

// maxPassed bounds how many are remembered.
const maxPassed = 8 << 10

type digest [sha256.Size]byte

// passed are the objects that had nothing to be said of. The zero value is empty. Safe for concurrent use.
type passed struct {
	mu          sync.Mutex
	recent, old map[digest]struct{} // the old make room for the recent
}

func (p *passed) has(d digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.recent[d]; ok {
		return true
	}
	if _, ok := p.old[d]; !ok {
		return false
	}
	p.add(d)
	return true
}

func (p *passed) remember(d digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(d)
}

func (p *passed) add(d digest) {
	if p.recent == nil || len(p.recent) >= maxPassed/2 {
		p.recent, p.old = map[digest]struct{}{}, p.recent
	}
	p.recent[d] = struct{}{}
}

// digestOf is the digest of all that the packages of plan see of o; ok is false for what is too large or no JSON.
func (p *plan) digestOf(o *policies.Object) (d digest, ok bool) {
	text := appendText(binary.AppendUvarint(make([]byte, 0, 4<<10), p.number), o.Name) // which a request can give it: see opa.Named
	text, ok = appendContent(text, o.Value())
	if !ok {
		return d, false
	}
	return sha256.Sum256(text), true
}

// appendContent appends v in a form that no other value has: a letter for its type, then its length or its bytes. The fields of maps are sorted.
func appendContent(text []byte, v any) (_ []byte, ok bool) {
	if len(text) > maxDigested {
		return nil, false
	}
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		text = binary.AppendUvarint(append(text, 'm'), uint64(len(keys)))
		for _, key := range keys {
			text = appendText(text, key)
			if text, ok = appendContent(text, v[key]); !ok {
				return nil, false
			}
		}
		return text, true
	case []any:
		text = binary.AppendUvarint(append(text, 'l'), uint64(len(v)))
		for _, item := range v {
			if text, ok = appendContent(text, item); !ok {
				return nil, false
			}
		}
		return text, true
	case string:
		return appendText(append(text, 's'), v), true
	case bool:
		if v {
			return append(text, 't'), true
		}
		return append(text, 'f'), true
	case nil:
		return append(text, 'n'), true
	case int64:
		return binary.AppendVarint(append(text, 'i'), v), true
	case float64:
		return binary.BigEndian.AppendUint64(append(text, 'd'), math.Float64bits(v)), true
	default:
		return nil, false
	}
}

func appendText(text []byte, s string) []byte {
	return append(binary.AppendUvarint(text, uint64(len(s))), s...)
}
