package desired

import (
	"iter"
	"maps"

	"gitgate.dev/gitgate/policies"
)

// shardCount is how many parts a table of objects has.
const shardCount = 1024

// table is a map by object that is cheap to copy: a copy shares the parts that it does not change. A table may be read by many
// while nobody sets.
type table[V any] struct {
	parts  [shardCount]map[policies.Key]V
	own    [shardCount]bool // parts that no other table has
	length int
}

func newTable[V any]() *table[V] { return &table[V]{} }

// copy returns a table with the same content. t is not to be changed any more.
func (t *table[V]) copy() *table[V] { return &table[V]{parts: t.parts, length: t.length} }

// shardOf is FNV-1a over what tells most objects apart.
func shardOf(k policies.Key) uint32 {
	h := uint32(2166136261)
	for _, s := range [...]string{k.Kind, k.Namespace, k.Name} {
		for i := range len(s) {
			h = (h ^ uint32(s[i])) * 16777619
		}
	}
	return (h ^ h>>16) % shardCount
}

func (t *table[V]) get(k policies.Key) V { return t.parts[shardOf(k)][k] }

func (t *table[V]) part(k policies.Key) map[policies.Key]V {
	i := shardOf(k)
	if !t.own[i] {
		t.own[i] = true
		if t.parts[i] = maps.Clone(t.parts[i]); t.parts[i] == nil {
			t.parts[i] = map[policies.Key]V{}
		}
	}
	return t.parts[i]
}

func (t *table[V]) set(k policies.Key, v V) {
	part := t.part(k)
	before := len(part)
	part[k] = v
	t.length += len(part) - before
}

func (t *table[V]) delete(k policies.Key) {
	part := t.part(k)
	before := len(part)
	delete(part, k)
	t.length += len(part) - before
}

// keys lists what the table has, in no particular order.
func (t *table[V]) keys() iter.Seq[policies.Key] {
	return func(yield func(policies.Key) bool) {
		for _, part := range t.parts {
			for k := range part {
				if !yield(k) {
					return
				}
			}
		}
	}
}
