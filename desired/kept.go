package desired

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"sync"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
)

// A cached state is read in full by no run: what a unit declares and what it asked of its files is decoded when somebody wants it,
// and objects are found by a sorted list of the hashes of their keys. The whole file has a sum, which is right before anything
// is decoded, so that what is wrong afterwards is a mistake of this package.

// kept is what a cached unit declares.
type kept struct {
	once     sync.Once
	data     []byte // encoded entries
	whole    *decoder
	renderer *Renderer
	count    int
	kinds    []policies.GroupKind
}

func (k *kept) read() []*entry {
	d := &decoder{data: string(k.data), content: k.whole.content}
	out := make([]*entry, 0, k.count)
	for range k.count {
		out = append(out, d.entry(k.renderer))
	}
	return out
}

func (e *encoder) entries(all []*entry) {
	before := e.data
	e.data = nil
	kinds := map[policies.GroupKind]bool{}
	for _, entry := range all {
		kinds[entry.key.GroupKind] = true
		e.entry(entry)
	}
	encoded := e.data
	e.data = before
	e.count(len(all))
	e.count(len(kinds))
	for gk := range kinds {
		e.text(gk.Group)
		e.text(gk.Kind)
	}
	e.later(encoded)
}

// later writes what is read when it is asked for, and where it lies.
func (e *encoder) later(data []byte) {
	e.count(len(e.late))
	e.count(len(data))
	e.late = append(e.late, data...)
}

func (d *decoder) later() []byte {
	at, n := d.number(), d.number()
	if at < 0 || n < 0 || at > len(d.late) || n > len(d.late)-at {
		d.bad = true
		return nil
	}
	return d.late[at : at+n : at+n]
}

func (d *decoder) entries(r *Renderer) *kept {
	k := &kept{whole: d, renderer: r, count: d.number()}
	for range d.count() {
		k.kinds = append(k.kinds, policies.GroupKind{Group: d.text(), Kind: d.text()})
	}
	if k.data = d.later(); k.count > len(k.data) {
		d.bad = true
	}
	return k
}

// asked are the paths that were asked for, sorted: where each lies, then the paths with their answers.
type asked struct {
	n    int
	data []byte
}

func (e *encoder) asked(all map[string]git.Hash) {
	index, texts := make([]byte, 0, 4*len(all)), &encoder{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		index = binary.LittleEndian.AppendUint32(index, uint32(len(texts.data)))
		texts.text(name)
		texts.text(string(all[name]))
	}
	e.count(len(all))
	e.later(append(index, texts.data...))
}

func (d *decoder) asked() *asked {
	a := &asked{n: d.number()}
	if a.data = d.later(); a.n < 0 || a.n > len(a.data)/4 {
		d.bad = true
	}
	return a
}

// at is the path of a number, and what was there.
func (a *asked) at(i int) (string, git.Hash) {
	from := 4*a.n + int(binary.LittleEndian.Uint32(a.data[4*i:]))
	d := &decoder{data: string(a.data[min(from, len(a.data)):min(from+maxAsked, len(a.data))])}
	name, h := d.text(), d.text()
	if d.bad { // a long path
		d = &decoder{data: string(a.data[min(from, len(a.data)):])}
		name, h = d.text(), d.text()
	}
	return name, git.Hash(h)
}

// maxAsked is how many bytes most paths and their answers have at most.
const maxAsked = 400

// Len implements tree.Answers.
func (a *asked) Len() int { return a.n }

// Get implements tree.Answers.
func (a *asked) Get(p string) (git.Hash, bool) {
	low, high := 0, a.n
	for low < high {
		middle := (low + high) / 2
		name, h := a.at(middle)
		switch {
		case name == p:
			return h, true
		case name < p:
			low = middle + 1
		default:
			high = middle
		}
	}
	return "", false
}

// All implements tree.Answers.
func (a *asked) All() map[string]git.Hash {
	out := make(map[string]git.Hash, a.n)
	for i := range a.n {
		name, h := a.at(i)
		out[name] = h
	}
	return out
}

// keyList finds the objects of a cached state: for each key its hash, and the numbers of the unit and of the entry, sorted.
type keyList struct {
	data  []byte // keyBytes each
	state *build
	twice map[policies.Key]bool
	size  int // keys that differ
}

const keyBytes = 16

type listedKey struct {
	hash        uint64
	unit, entry int
}

func (e *encoder) keys(s *State) {
	numbers := make(map[*made]int, len(s.reached))
	var all []listedKey
	for i, m := range s.reached {
		numbers[m] = i
		entries := map[*entry]int{}
		for j, entry := range m.all() {
			entries[entry] = j
		}
		s.each(m, func(k policies.Key, h holding) { all = append(all, listedKey{keyHash(k), i, entries[h.entry]}) })
	}
	slices.SortFunc(all, func(a, b listedKey) int {
		switch {
		case a.hash != b.hash && a.hash < b.hash:
			return -1
		case a.hash != b.hash:
			return 1
		case a.unit != b.unit:
			return a.unit - b.unit
		}
		return a.entry - b.entry
	})
	list := make([]byte, 0, keyBytes*len(all))
	for _, k := range all {
		list = binary.LittleEndian.AppendUint64(list, k.hash)
		list = binary.LittleEndian.AppendUint32(list, uint32(k.unit))
		list = binary.LittleEndian.AppendUint32(list, uint32(k.entry))
	}
	e.later(list)
	e.count(s.byKey.length)
	e.count(len(s.twice))
	for k := range s.twice {
		e.key(k)
	}
}

func (d *decoder) keys(b *build) *keyList {
	l := &keyList{data: d.later(), state: b, twice: map[policies.Key]bool{}}
	l.size = d.number()
	for range d.count() {
		l.twice[d.key()] = true
	}
	if len(l.data)%keyBytes != 0 || l.size < 0 {
		d.bad = true
	}
	return l
}

func (l *keyList) at(i int) listedKey {
	b := l.data[keyBytes*i:]
	return listedKey{binary.LittleEndian.Uint64(b), int(binary.LittleEndian.Uint32(b[8:])), int(binary.LittleEndian.Uint32(b[12:]))}
}

func (l *keyList) length() int { return l.size }

// get lists who declares an object, sorted by unit.
func (l *keyList) get(k policies.Key) []holding {
	want, n := keyHash(k), len(l.data)/keyBytes
	low, high := 0, n
	for low < high {
		if middle := (low + high) / 2; l.at(middle).hash < want {
			low = middle + 1
		} else {
			high = middle
		}
	}
	var out []holding
	for ; low < n && l.at(low).hash == want; low++ {
		if h, ok := l.holding(l.at(low)); ok && h.entry.is(k) {
			out = append(out, h)
		}
	}
	slices.SortStableFunc(out, func(a, b holding) int { return compareUnits(&a.made.unit, &b.made.unit) })
	return out
}

func (l *keyList) holding(k listedKey) (holding, bool) {
	if k.unit >= len(l.state.reached) {
		return holding{}, false
	}
	m := l.state.reached[k.unit]
	if all := m.all(); k.entry < len(all) {
		return holding{m, all[k.entry]}, true
	}
	return holding{}, false
}

// is says whether an entry is declared under a key, one of the two that it can have.
func (e *entry) is(k policies.Key) bool {
	other := e.key
	other.Namespace = ""
	return e.key == k || e.loose && other == k
}

func (l *keyList) keys() iter.Seq[policies.Key] {
	return func(yield func(policies.Key) bool) {
		seen := map[policies.Key]bool{}
		for i := range len(l.data) / keyBytes {
			k := l.at(i)
			h, ok := l.holding(k)
			if !ok {
				continue
			}
			other := h.entry.key
			other.Namespace = ""
			for _, key := range []policies.Key{h.entry.key, other} {
				if keyHash(key) == k.hash && !seen[key] {
					seen[key] = true
					if !yield(key) {
						return
					}
				}
			}
		}
	}
}
