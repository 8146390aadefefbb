package conformance

import (
	"fmt"
	"math/rand/v2"
	"reflect"
)

// Random makes n objects that are in no table, the same for the same seed: good fixtures in which up to four values were changed,
// most of them for a value that a field of the same Go type has in some fixture of any kind, so that a whole Pod may come into
// a CronJob, or one container's probe into another.
func Random(seed uint64, n int) ([]Case, error) {
	good, err := fixtures("good")
	if err != nil {
		return nil, err
	}
	pool := map[reflect.Type][]any{}
	for _, f := range good {
		walk(f.object, f.goType(), func(m node) {
			if m.typ != nil && len(m.at) > 1 {
				pool[bare(m.typ)] = append(pool[bare(m.typ)], m.value)
			}
		})
	}
	r := rand.New(rand.NewPCG(seed, 0x72616e646f6d))
	var cases []Case
	for i := range n {
		f := good[r.IntN(len(good))]
		object := clone(f.object).(map[string]any)
		for range 1 + r.IntN(4) {
			var nodes []node
			walk(object, f.goType(), func(m node) {
				if len(m.at) > 0 && m.at[0] != "apiVersion" && m.at[0] != "kind" && m.at[0] != "metadata" {
					nodes = append(nodes, m)
				}
			})
			if len(nodes) == 0 {
				break
			}
			mutate(r, object, nodes[r.IntN(len(nodes))], pool)
		}
		cases = append(cases, Case{Base: f.base(), Change: fmt.Sprintf("random %d.%d", seed, i), Object: object})
	}
	return cases, nil
}

// mutate changes one value, or gives an object a field that it has not.
func mutate(r *rand.Rand, object map[string]any, m node, pool map[reflect.Type][]any) {
	if shapeOf(m.typ) == structed && r.IntN(2) == 0 {
		fields := fieldsOf(m.typ)
		if len(fields) == 0 {
			return
		}
		field := fields[r.IntN(len(fields))]
		_ = apply(object, m.at.Append(field.name), change{set: true, value: drawn(r, field.typ, pool)})
		return
	}
	if of := pool[bare(m.typ)]; m.typ != nil && len(of) > 0 && r.IntN(3) > 0 {
		_ = apply(object, m.at, change{set: true, value: of[r.IntN(len(of))]})
		return
	}
	if list, ok := m.value.([]any); ok && shapeOf(m.typ) == listed && r.IntN(2) == 0 {
		item := drawn(r, bare(m.typ).Elem(), pool)
		_ = apply(object, m.at, change{set: true, value: append(clone(list).([]any), item)})
		return
	}
	changes := m.changes()
	_ = apply(object, m.at, changes[r.IntN(len(changes))])
}

func drawn(r *rand.Rand, t reflect.Type, pool map[reflect.Type][]any) any {
	if of := pool[bare(t)]; len(of) > 0 && r.IntN(4) > 0 {
		return of[r.IntN(len(of))]
	}
	return plausible(t, 3)
}
