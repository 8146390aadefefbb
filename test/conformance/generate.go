package conformance

import (
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Cases makes the objects of the table, always the same, in the order of their fixtures: the good fixtures; what becomes of
// each when a field is dropped, added, emptied or given a value of another type or range; when optional fields are there
// and not in every pairing; when its metadata is changed; the bad fixtures; the objects of CRDs; and updates.
func Cases() ([]Case, error) {
	good, err := fixtures("good")
	if err != nil {
		return nil, err
	}
	var cases []Case
	kinds := map[string]*kindCases{}
	for _, f := range good {
		id := strings.TrimSuffix(f.base(), f.name)
		k := kinds[id]
		if k == nil {
			apiVersion, _ := f.object["apiVersion"].(string)
			kind, _ := f.object["kind"].(string)
			k = &kindCases{typ: goType(apiVersion, kind), done: map[string]bool{}, present: map[string]bool{}, pods: podTemplates(apiVersion, kind)}
			kinds[id] = k
		}
		k.notePresent(f.object, k.typ)
	}
	named := map[string]bool{}
	for _, f := range good {
		k := kinds[strings.TrimSuffix(f.base(), f.name)]
		if named[f.base()] {
			return nil, fmt.Errorf("fixture %s comes twice", f.base())
		}
		named[f.base()] = true
		cases = append(cases, k.cases(f)...)
	}
	more, err := otherCases(good)
	if err != nil {
		return nil, err
	}
	cases = append(cases, more...)
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.Name()] {
			return nil, fmt.Errorf("case %q comes twice", c.Name())
		}
		seen[c.Name()] = true
	}
	return cases, nil
}

// podTemplates says that the kind holds a Pod template, whose fields are tried in full on Pod itself.
func podTemplates(apiVersion, kind string) bool {
	return slices.Contains([]string{
		"apps/v1/DaemonSet", "apps/v1/StatefulSet", "apps/v1/ReplicaSet", "batch/v1/Job", "batch/v1/CronJob", "v1/ReplicationController", "v1/PodTemplate",
	}, apiVersion+"/"+kind)
}

// kindCases makes the cases of one kind. A change is tried once for each field of each Go type, wherever the type comes first.
type kindCases struct {
	typ     reflect.Type
	pods    bool
	done    map[string]bool
	present map[string]bool // typed fields that some fixture of the kind has
}

// typedField names a field by the struct it belongs to, or by its place where no type is known.
func typedField(parent reflect.Type, at policies.Path, key string) string {
	if shapeOf(parent) == structed {
		return bare(parent).String() + "." + key
	}
	var b strings.Builder
	for _, step := range at {
		if s, ok := step.(string); ok {
			b.WriteString("." + s)
		}
	}
	return b.String() + "." + key
}

func (k *kindCases) notePresent(v any, t reflect.Type) {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if shapeOf(t) == structed {
				k.present[typedField(t, nil, key)] = true
			}
			k.notePresent(e, childType(t, key))
		}
	case []any:
		for _, e := range v {
			k.notePresent(e, childType(t, ""))
		}
	}
}

func (k *kindCases) cases(f fixture) []Case {
	cases := []Case{{Base: f.base(), Object: f.object}}
	with := func(change string, object map[string]any) {
		cases = append(cases, Case{Base: f.base(), Change: change, Object: object})
	}
	walk(f.object, k.typ, func(n node) {
		if len(n.at) == 1 && (n.at[0] == "apiVersion" || n.at[0] == "kind" || n.at[0] == "metadata") || len(n.at) > 1 && n.at[0] == "metadata" {
			return
		}
		inPod := k.pods && strings.Contains(n.at.String(), "template.spec")
		for _, c := range n.changes() {
			if inPod && c.what != "drop" {
				continue
			}
			key := c.what + " " + typedField(n.parent, n.at[:max(0, len(n.at)-1)], n.key())
			if c.once && k.done[key] {
				continue
			}
			k.done[key] = true
			changed := clone(f.object).(map[string]any)
			if err := apply(changed, n.at, c); err != nil {
				panic(fmt.Sprintf("%s: %s %s: %v", f.base(), c.what, n.at, err)) // the path was walked in the same object
			}
			with(c.what+" "+n.at.Append(c.step...).String(), changed)
		}
		if shapeOf(n.typ) != structed || inPod || bare(n.typ).Name() == "ObjectMeta" || bare(n.typ).Name() == "JSONSchemaProps" {
			return
		}
		for _, field := range fieldsOf(n.typ) {
			key := typedField(n.typ, nil, field.name)
			if k.present[key] || k.done["fill "+key] {
				continue
			}
			k.done["fill "+key] = true
			changed := clone(f.object).(map[string]any)
			at := n.at.Append(field.name)
			if err := apply(changed, at, change{what: "fill", set: true, value: plausible(field.typ, 3)}); err != nil {
				panic(fmt.Sprintf("%s: fill %s: %v", f.base(), at, err))
			}
			with("fill "+at.String(), changed)
		}
	})
	if f.name == "full" || f.name == "minimal" {
		for _, c := range metadataChanges(f.object, f.name == "full") {
			with(c.Change, c.Object)
		}
	}
	if f.name == "full" || f.name == "volumes" {
		for i, object := range pairings(f.object, k.typ) {
			with(fmt.Sprintf("pairing %d", i), object)
		}
	}
	return cases
}

// pairings drops optional fields so that for any two of them there is an object with both, with either and with none: each field
// gets a code word of its own with as many ones as zeros, and each bit is one object.
func pairings(object map[string]any, t reflect.Type) []map[string]any {
	var fields []policies.Path
	walk(object, t, func(n node) {
		if _, inMap := n.last().(string); inMap && len(n.at) > 1 && n.at[0] != "metadata" {
			fields = append(fields, n.at)
		}
	})
	if len(fields) < 4 {
		return nil
	}
	width := 4
	for binomial(width, width/2) < len(fields) {
		width += 2
	}
	var words []uint
	for w := uint(0); len(words) < len(fields); w++ {
		if bits.OnesCount(w) == width/2 {
			words = append(words, w)
		}
	}
	var objects []map[string]any
	for bit := range width {
		changed := clone(object).(map[string]any)
		for i, at := range fields {
			if words[i]>>bit&1 == 0 {
				_ = apply(changed, at, change{drop: true}) // its parent may be gone already
			}
		}
		objects = append(objects, changed)
	}
	return objects
}

func binomial(n, k int) int {
	out := 1
	for i := range k {
		out = out * (n - i) / (i + 1)
	}
	return out
}
