package trace

import (
	"slices"

	"gitgate.dev/gitgate/policies"
)

// Content is what is compared. All maps are objects in the form in which the API server stores them, decoded as
// policies.NewObject wants it; none is changed.
type Content struct {
	Declared map[string]any // what Git declares, with the API server's defaults
	New      map[string]any // what the request writes, or the live object
	Old      map[string]any // what was there before; nil on creation and where it is not known

	// Lists says how the list at a path is compared. A nil function compares every list as one value.
	Lists func(policies.Path) List
	// Foreign says whether a declared writer other than the reconciler owns the field; nil for no. It counts only for fields
	// that Git does not declare.
	Foreign func(policies.Path) bool
	// Opaque says that the value at a path is declared but not known (an encrypted Secret); nil for none.
	Opaque func(policies.Path) bool
}

// List is how two lists of one field are compared (x-kubernetes-list-type).
type List struct {
	Type ListType
	Keys []string // of a ListMap: the fields that tell its items apart
}

// ListType is the kind of a list.
type ListType int

const (
	Atomic  ListType = iota // as one value, in order
	ListSet                 // of scalars, in any order
	ListMap                 // of maps, told apart by their keys
)

// Cause says why a field does not trace.
type Cause int

const (
	NotDeclared Cause = iota + 1 // the request sets a field that Git does not declare
	OtherValue                   // Git declares another value
	Dropped                      // the request leaves out, or takes away, what Git declares
	Reordered                    // the items of a list stand in another order than declared
	Untold                       // there are more differences than are told: the last of them, without a path
)

func (c Cause) String() string {
	switch c {
	case NotDeclared:
		return "not declared"
	case OtherValue:
		return "another value is declared"
	case Dropped:
		return "declared, and left out"
	case Reordered:
		return "declared in another order"
	case Untold:
		return "more differences than are told"
	default:
		return "none"
	}
}

// Difference is a field that does not trace.
type Difference struct {
	Path     policies.Path // in New, or in Declared for what was dropped
	Cause    Cause
	Got      any // nil for Dropped
	Declared any // nil for NotDeclared
}

// maxDifferences bounds what is told of one object.
const maxDifferences = 200

// Compare returns the fields that the request sets, changes or takes away and that do not trace: each field of New has to be
// the declared value or its default, the value it had before, or a field of a foreign owner. What Git no longer declares may go.
// What the API server or its admission assigns (uid, resourceVersion, status …) is no content.
func Compare(c Content) []Difference {
	w := walker{c: c, path: make(policies.Path, 0, 16)}
	old := c.Old
	for _, key := range topLevel(c.Declared, c.New) {
		d, hasD := c.Declared[key]
		n, hasN := c.New[key]
		o, hasO := old[key]
		w.path = append(w.path, key)
		if key == "metadata" {
			w.metadata(asMap(d), asMap(n), asMap(o), old != nil)
		} else if key != "status" {
			w.value(d, n, o, hasD, hasN, hasO)
		}
		w.path = w.path[:len(w.path)-1]
	}
	if w.cut {
		// Who lets some differences pass must not take those that are told for all.
		w.found = append(w.found, Difference{Cause: Untold})
	}
	return w.found
}

func topLevel(a, b map[string]any) []string {
	keys := make([]string, 0, len(a)+2)
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

type walker struct {
	c     Content
	path  policies.Path
	found []Difference
	cut   bool // there is more than found has
}

// assigned are the fields of metadata that the API server sets and no client can.
var assigned = map[string]bool{
	"uid": true, "resourceVersion": true, "generation": true, "creationTimestamp": true, "deletionTimestamp": true,
	"deletionGracePeriodSeconds": true, "selfLink": true, "managedFields": true,
}

func (w *walker) metadata(d, n, o map[string]any, hadOld bool) {
	for _, key := range topLevel(d, n) {
		if assigned[key] {
			continue
		}
		dv, hasD := d[key]
		nv, hasN := n[key]
		ov, hasO := o[key]
		// An empty map or list of metadata says what none says.
		hasD, hasN, hasO = hasD && !empty(dv), hasN && !empty(nv), hasO && !empty(ov)
		w.path = append(w.path, key)
		w.value(dv, nv, ov, hasD, hasN, hasO)
		w.path = w.path[:len(w.path)-1]
	}
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// value compares one field. A null is no value.
func (w *walker) value(d, n, o any, hasD, hasN, hasO bool) {
	hasD, hasN, hasO = hasD && d != nil, hasN && n != nil, hasO && o != nil
	switch {
	case !hasN && !hasD:
		return
	case !hasN:
		if w.c.Old == nil || hasO {
			w.report(Dropped, nil, d)
		}
		return
	case hasO && Equal(n, o):
		return
	case !hasD:
		w.undeclared(n, o, hasO)
		return
	case w.c.Opaque != nil && w.c.Opaque(w.path):
		return
	}
	switch nv := n.(type) {
	case map[string]any:
		if dv, ok := d.(map[string]any); ok {
			w.fields(dv, nv, asMap(o))
			return
		}
	case []any:
		if dv, ok := d.([]any); ok {
			ov, _ := o.([]any)
			w.list(dv, nv, ov)
			return
		}
	default:
		if equalScalar(n, d) {
			return
		}
	}
	w.report(OtherValue, n, d)
}

func (w *walker) fields(d, n, o map[string]any) {
	w.visit(d, n, func(key string) {
		dv, hasD := d[key]
		nv, hasN := n[key]
		ov, hasO := o[key]
		w.value(dv, nv, ov, hasD, hasN, hasO)
	})
}

// visit calls f for every key of a and b, in order only where it matters: the keys are sorted when a difference was found.
func (w *walker) visit(a, b map[string]any, f func(key string)) {
	before := len(w.found)
	for key := range b {
		w.path = append(w.path, key)
		f(key)
		w.path = w.path[:len(w.path)-1]
	}
	for key := range a {
		if _, ok := b[key]; ok {
			continue
		}
		w.path = append(w.path, key)
		f(key)
		w.path = w.path[:len(w.path)-1]
	}
	if len(w.found)-before > 1 {
		slices.SortStableFunc(w.found[before:], func(x, y Difference) int { return comparePaths(x.Path, y.Path) })
	}
}

// undeclared reports what a request sets and Git does not declare, as deep as needed to leave out what was there before and what
// others own.
func (w *walker) undeclared(n, o any, hasO bool) {
	if w.c.Foreign != nil && w.c.Foreign(w.path) {
		return
	}
	switch nv := n.(type) {
	case map[string]any:
		ov, wasMap := o.(map[string]any)
		if (hasO && wasMap || w.c.Foreign != nil) && len(nv) > 0 {
			w.visit(nil, nv, func(key string) {
				value, before := nv[key], ov[key]
				_, has := ov[key]
				if !(has && Equal(value, before)) {
					w.undeclared(value, before, has)
				}
			})
			return
		}
	case []any:
		ov, wasList := o.([]any)
		if list := w.listType(); list.Type == ListMap && (hasO && wasList || w.c.Foreign != nil) {
			w.list(nil, nv, ov)
			return
		}
	}
	w.report(NotDeclared, n, nil)
}

func (w *walker) listType() List {
	if w.c.Lists == nil {
		return List{}
	}
	return w.c.Lists(w.path)
}

func (w *walker) list(d, n, o []any) {
	list := w.listType()
	switch list.Type {
	case ListMap:
		di, okD := index(d, list.Keys)
		ni, okN := index(n, list.Keys)
		oi, okO := index(o, list.Keys)
		if okD && okN {
			if !okO {
				oi, o = nil, nil
			}
			w.items(d, n, o, di, ni, oi)
			return
		}
	case ListSet:
		if scalars(d) && scalars(n) {
			w.set(d, n, o)
			return
		}
	}
	if len(d) == len(n) {
		// Item by item, so that the message points into the list.
		for i := range n {
			var ov any
			hasO := len(o) == len(n)
			if hasO {
				ov = o[i]
			}
			w.path = append(w.path, i)
			// What an item was before does not excuse it: an atomic list is one value.
			if !Equal(n[i], d[i]) {
				if hasO && Equal(n[i], ov) {
					w.report(OtherValue, n[i], d[i])
				} else {
					w.item(d[i], n[i])
				}
			}
			w.path = w.path[:len(w.path)-1]
		}
		return
	}
	if d == nil {
		w.report(NotDeclared, n, nil)
		return
	}
	w.report(OtherValue, n, d)
}

// item compares one item of an atomic list: nothing in it is excused by what was there before.
func (w *walker) item(d, n any) {
	inner := walker{c: Content{Declared: w.c.Declared, New: w.c.New, Lists: w.c.Lists, Opaque: w.c.Opaque}, path: w.path}
	inner.value(d, n, nil, true, true, false)
	w.found, w.cut = append(w.found, inner.found...), w.cut || inner.cut
}

// items compares the items of a list that are told apart by their keys.
func (w *walker) items(d, n, o []any, di, ni, oi map[string]int) {
	var declared []int // indices in d of the declared items, in the order in which New has them
	for i, item := range n {
		key := keyOf(item, w.listType().Keys)
		dAt, hasD := di[key]
		oAt, hasO := oi[key]
		var dv, ov any
		if hasD {
			dv = d[dAt]
			declared = append(declared, dAt)
		}
		if hasO {
			ov = o[oAt]
		}
		w.path = append(w.path, i)
		w.value(dv, item, ov, hasD, true, hasO)
		w.path = w.path[:len(w.path)-1]
	}
	for i, item := range d {
		key := keyOf(item, w.listType().Keys)
		if _, ok := ni[key]; ok {
			continue
		}
		oAt, hasO := oi[key]
		var ov any
		if hasO {
			ov = o[oAt]
		}
		w.path = append(w.path, i)
		w.value(item, nil, ov, true, false, hasO)
		w.path = w.path[:len(w.path)-1]
	}
	if !slices.IsSorted(declared) && !sameOrder(n, o, w.listType().Keys) {
		w.report(Reordered, n, d)
	}
}

// sameOrder says whether the items that both lists have stand in one order.
func sameOrder(n, o []any, keys []string) bool {
	oi, ok := index(o, keys)
	if !ok || len(o) == 0 {
		return false
	}
	var at []int
	for _, item := range n {
		if i, ok := oi[keyOf(item, keys)]; ok {
			at = append(at, i)
		}
	}
	return slices.IsSorted(at)
}

func (w *walker) set(d, n, o []any) {
	for i, item := range n {
		if contains(d, item) || contains(o, item) {
			continue
		}
		w.path = append(w.path, i)
		if w.c.Foreign == nil || !w.c.Foreign(w.path) {
			w.report(NotDeclared, item, nil)
		}
		w.path = w.path[:len(w.path)-1]
	}
	for i, item := range d {
		if contains(n, item) || w.c.Old != nil && !contains(o, item) {
			continue
		}
		w.path = append(w.path, i)
		w.report(Dropped, nil, item)
		w.path = w.path[:len(w.path)-1]
	}
}

func (w *walker) report(cause Cause, got, declared any) {
	if len(w.found) >= maxDifferences {
		w.cut = true
		return
	}
	w.found = append(w.found, Difference{Path: slices.Clone(w.path), Cause: cause, Got: got, Declared: declared})
}
