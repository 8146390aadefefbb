package desired

import (
	"iter"
	"maps"

	"gitgate.dev/gitgate/policies"
)

// shardCount is how many parts a table of objects has.
const shardCount = 1024

// table holds lists by object and is cheap to copy: a copy shares the parts that it does not change. It can stand on a list
// that never changes, of which it knows what differs. A table may be read by many while nobody sets.
type table[E any] struct {
	parts  [shardCount]map[policies.Key][]E // an empty list takes away what the ground has
	own    [shardCount]bool                 // parts that no other table has
	ground ground[E]                        // nil for none
	length int
}

// ground is what a table stands on.
type ground[E any] interface {
	get(k policies.Key) []E
	keys() iter.Seq[policies.Key]
	length() int
}

func newTable[E any](on ground[E]) *table[E] {
	t := &table[E]{ground: on}
	if on != nil {
		t.length = on.length()
	}
	return t
}

// copy returns a table with the same content. t is not to be changed any more.
func (t *table[E]) copy() *table[E] {
	return &table[E]{parts: t.parts, ground: t.ground, length: t.length}
}

// shardOf is where an object's part is.
func shardOf(k policies.Key) uint64 {
	h := keyHash(k)
	return (h ^ h>>32) % shardCount
}

// keyHash is FNV-1a over what tells objects apart. Two objects can have the same: whoever finds one compares it.
func keyHash(k policies.Key) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{k.Group, k.Kind, k.Namespace, k.Name} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return h
}

func (t *table[E]) get(k policies.Key) []E {
	if list, ok := t.parts[shardOf(k)][k]; ok || t.ground == nil {
		return list
	}
	return t.ground.get(k)
}

// set makes list what is held of an object; an empty one that there is nothing.
func (t *table[E]) set(k policies.Key, list []E) {
	before := len(t.get(k)) > 0
	i := shardOf(k)
	if !t.own[i] {
		t.own[i] = true
		if t.parts[i] = maps.Clone(t.parts[i]); t.parts[i] == nil {
			t.parts[i] = map[policies.Key][]E{}
		}
	}
	if len(list) > 0 || t.ground != nil {
		t.parts[i][k] = list
	} else {
		delete(t.parts[i], k)
	}
	switch after := len(list) > 0; {
	case after && !before:
		t.length++
	case before && !after:
		t.length--
	}
}

// keys lists what the table has, in no particular order.
func (t *table[E]) keys() iter.Seq[policies.Key] {
	return func(yield func(policies.Key) bool) {
		for _, part := range t.parts {
			for k, list := range part {
				if len(list) > 0 && !yield(k) {
					return
				}
			}
		}
		if t.ground == nil {
			return
		}
		for k := range t.ground.keys() {
			if _, changed := t.parts[shardOf(k)][k]; !changed && !yield(k) {
				return
			}
		}
	}
}
