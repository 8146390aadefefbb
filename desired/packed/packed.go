// Package packed keeps the content of objects in few bytes, and gives it back as maps. A repository declares tens of thousands of
// objects at hundreds of commits, which nearly all are never asked for; as maps they would not fit into memory. It knows nothing
// of Kubernetes but that texts repeat.
package packed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Words are texts that are kept once for all contents packed with them. They only grow, up to a limit, after which new texts lie
// in the contents themselves. So equal contents are always packed to equal bytes. Safe for concurrent use.
type Words struct {
	mu   sync.Mutex
	ids  map[string]uint64
	list atomic.Pointer[[]string]
}

// NewWords makes an empty set of words.
func NewWords() *Words {
	w := &Words{ids: map[string]uint64{}}
	w.list.Store(&[]string{})
	return w
}

// All lists the words by their ids.
func (w *Words) All() []string { return *w.list.Load() }

// Adopt takes over the words of contents that were packed elsewhere. It does so only when w has none, and says whether it did.
func (w *Words) Adopt(words []string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ids) > 0 || len(words) > maxWords {
		return slices.Equal(*w.list.Load(), words)
	}
	for i, s := range words {
		w.ids[s] = uint64(i)
	}
	w.list.Store(&words)
	return true
}

const (
	maxWords = 1 << 16 // number of words that are kept
	maxWord  = 40      // bytes of one
	maxDepth = 600     // levels of a content: more than package manifest reads
)

// Each value begins with a number whose low bits are its tag; what the rest of the number is depends on the tag.
const (
	tagConst = iota // 0 null, 1 false, 2 true
	tagInt          // a whole number, zigzag
	tagFloat        // eight bytes follow: 0 a fraction, 1 a large whole number
	tagText         // length; its bytes follow
	tagWord         // id
	tagMap          // number of entries; keys and values follow
	tagList         // number of items; they follow
	tagSame         // the value that the content below has at the same place
	tagBits  = 3
)

// ErrDamaged is the error of bytes that are no packed content.
var ErrDamaged = errors.New("packed content is damaged")

// Pack packs a content: what encoding/json decodes to, with int64 for whole numbers.
func (w *Words) Pack(content map[string]any) ([]byte, error) { return w.PackOver(content, nil) }

// PackOver packs a content that is mostly that of below, which has to be given again to unpack it.
func (w *Words) PackOver(content, below map[string]any) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := packer{words: w, list: *w.list.Load()}
	var base any
	if below != nil {
		base = below
	}
	if err := p.value(content, base, below != nil, 0); err != nil {
		return nil, err
	}
	w.list.Store(&p.list)
	return slices.Clip(p.out), nil
}

type packer struct {
	words *Words
	list  []string
	out   []byte
}

func (p *packer) head(tag int, n uint64) {
	p.out = binary.AppendUvarint(p.out, n<<tagBits|uint64(tag))
}

func (p *packer) text(s string) {
	id, known := p.words.ids[s]
	if !known && len(s) <= maxWord && len(p.list) < maxWords {
		s = string([]byte(s)) // the text of a whole file may hang on s
		id, known = uint64(len(p.list)), true
		p.list = append(p.list, s)
		p.words.ids[s] = id
	}
	if known {
		p.head(tagWord, id)
		return
	}
	p.head(tagText, uint64(len(s)))
	p.out = append(p.out, s...)
}

func (p *packer) value(v, below any, over bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("content has more than %d levels", maxDepth)
	}
	if over && scalarsEqual(v, below) {
		p.head(tagSame, 0)
		return nil
	}
	switch v := v.(type) {
	case nil:
		p.head(tagConst, 0)
	case bool:
		if v {
			p.head(tagConst, 2)
		} else {
			p.head(tagConst, 1)
		}
	case int64:
		if v >= 1<<59 || v < -1<<59 { // does not fit beside a tag
			p.head(tagFloat, 1)
			p.out = binary.LittleEndian.AppendUint64(p.out, uint64(v))
		} else {
			p.head(tagInt, uint64(v)<<1^uint64(v>>63))
		}
	case float64:
		p.head(tagFloat, 0)
		p.out = binary.LittleEndian.AppendUint64(p.out, math.Float64bits(v))
	case string:
		p.text(v)
	case map[string]any:
		return p.entries(v, below, over, depth)
	case []any:
		return p.items(v, below, over, depth)
	default:
		return fmt.Errorf("content has a value of type %T", v)
	}
	return nil
}

func (p *packer) entries(v map[string]any, below any, over bool, depth int) error {
	base, isMap := below.(map[string]any)
	over = over && isMap
	start := len(p.out)
	p.head(tagMap, uint64(len(v)))
	same := over && len(base) == len(v)
	for _, key := range slices.Sorted(maps.Keys(v)) {
		p.text(key)
		child, has := base[key]
		at := len(p.out)
		if err := p.value(v[key], child, over && has, depth+1); err != nil {
			return err
		}
		same = same && has && len(p.out) == at+1 && p.out[at] == tagSame
	}
	if same {
		p.out = p.out[:start]
		p.head(tagSame, 0)
	}
	return nil
}

func (p *packer) items(v []any, below any, over bool, depth int) error {
	base, isList := below.([]any)
	over = over && isList
	start := len(p.out)
	p.head(tagList, uint64(len(v)))
	same := over && len(base) == len(v)
	for i, item := range v {
		var child any
		if i < len(base) {
			child = base[i]
		}
		at := len(p.out)
		if err := p.value(item, child, over && i < len(base), depth+1); err != nil {
			return err
		}
		same = same && len(p.out) == at+1 && p.out[at] == tagSame
	}
	if same {
		p.out = p.out[:start]
		p.head(tagSame, 0)
	}
	return nil
}

func scalarsEqual(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case bool:
		v, ok := b.(bool)
		return ok && a == v
	case int64:
		v, ok := b.(int64)
		return ok && a == v
	case float64:
		v, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(v)
	case string:
		v, ok := b.(string)
		return ok && a == v
	}
	return false
}

// Unpack gives a content back.
func (w *Words) Unpack(data []byte) (map[string]any, error) { return w.UnpackOver(data, nil) }

// UnpackOver gives back a content that was packed over below. The two share what is the same.
func (w *Words) UnpackOver(data []byte, below map[string]any) (map[string]any, error) {
	u := unpacker{words: *w.list.Load(), in: data}
	var base any
	if below != nil {
		base = below
	}
	v, err := u.value(base, 0)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok || len(u.in) > 0 {
		return nil, ErrDamaged
	}
	return m, nil
}

type unpacker struct {
	words []string
	in    []byte
}

func (u *unpacker) head() (tag int, n uint64, ok bool) {
	h, size := binary.Uvarint(u.in)
	if size <= 0 {
		return 0, 0, false
	}
	u.in = u.in[size:]
	return int(h & (1<<tagBits - 1)), h >> tagBits, true
}

func (u *unpacker) text(tag int, n uint64) (string, error) {
	switch {
	case tag == tagWord && n < uint64(len(u.words)):
		return u.words[n], nil
	case tag == tagText && n <= uint64(len(u.in)):
		s := string(u.in[:n])
		u.in = u.in[n:]
		return s, nil
	}
	return "", ErrDamaged
}

func (u *unpacker) value(below any, depth int) (any, error) {
	tag, n, ok := u.head()
	if !ok || depth > maxDepth {
		return nil, ErrDamaged
	}
	switch tag {
	case tagConst:
		switch n {
		case 0:
			return nil, nil
		case 1, 2:
			return n == 2, nil
		}
	case tagInt:
		return int64(n>>1) ^ -int64(n&1), nil
	case tagFloat:
		if len(u.in) < 8 {
			return nil, ErrDamaged
		}
		bits := binary.LittleEndian.Uint64(u.in)
		u.in = u.in[8:]
		if n == 1 {
			return int64(bits), nil
		}
		return math.Float64frombits(bits), nil
	case tagText, tagWord:
		return u.text(tag, n)
	case tagSame:
		return below, nil
	case tagMap:
		return u.entries(n, below, depth)
	case tagList:
		return u.items(n, below, depth)
	}
	return nil, ErrDamaged
}

func (u *unpacker) entries(n uint64, below any, depth int) (any, error) {
	if n > uint64(len(u.in)) {
		return nil, ErrDamaged
	}
	base, _ := below.(map[string]any)
	m := make(map[string]any, n)
	for range n {
		tag, id, ok := u.head()
		if !ok {
			return nil, ErrDamaged
		}
		key, err := u.text(tag, id)
		if err != nil {
			return nil, err
		}
		if m[key], err = u.value(base[key], depth+1); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (u *unpacker) items(n uint64, below any, depth int) (any, error) {
	if n > uint64(len(u.in)) {
		return nil, ErrDamaged
	}
	base, _ := below.([]any)
	l := make([]any, n)
	for i := range l {
		var child any
		if i < len(base) {
			child = base[i]
		}
		var err error
		if l[i], err = u.value(child, depth+1); err != nil {
			return nil, err
		}
	}
	return l, nil
}
