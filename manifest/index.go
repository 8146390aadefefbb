package manifest

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policies"
)

// manyChildren is from how many fields or items on a map or list is searched by a table.
const manyChildren = 64

// spanIndex finds places in what the parser kept; the first span is the root.
type spanIndex struct {
	spans []span
	items map[int][]int          // spans of the items of large lists, by the list's span
	names map[int]map[string]int // spans of the fields of large maps, by the map's span
}

func newSpanIndex(spans []span) *spanIndex {
	x := &spanIndex{spans: spans, items: map[int][]int{}, names: map[int]map[string]int{}}
	for at := range spans {
		if spans[at].inner < manyChildren || !spans[at].container {
			continue
		}
		n := 0
		for range x.children(at) {
			n++
		}
		if n < manyChildren {
			continue
		}
		if x.isList(at) {
			items := make([]int, 0, n)
			for i := range x.children(at) {
				items = append(items, i)
			}
			x.items[at] = items
			continue
		}
		names := make(map[string]int, n)
		for i := range x.children(at) {
			names[spans[i].name] = i
		}
		x.names[at] = names
	}
	return x
}

// children visits the spans one step below at.
func (x *spanIndex) children(at int) func(func(int) bool) {
	return func(yield func(int) bool) {
		end := at + 1 + x.spans[at].inner
		for i := at + 1; i < end; i += x.spans[i].inner + 1 {
			if !yield(i) {
				return
			}
		}
	}
}

func (x *spanIndex) isList(at int) bool {
	return x.spans[at].inner > 0 && x.spans[at+1].keyEnd == 0
}

func (x *spanIndex) find(p policies.Path) (place, int) {
	at := 0
	for steps, step := range p {
		child := x.child(at, step)
		if child < 0 {
			return x.spans[at].place, steps
		}
		at = child
	}
	return x.spans[at].place, len(p)
}

// child is the span one step below at, or -1. Of doubled keys the last one counts.
func (x *spanIndex) child(at int, step any) int {
	if x.isList(at) {
		n, ok := listStep(step)
		if !ok {
			return -1
		}
		if items := x.items[at]; items != nil {
			if n < len(items) {
				return items[n]
			}
			return -1
		}
		for i := range x.children(at) {
			if n == 0 {
				return i
			}
			n--
		}
		return -1
	}
	name, ok := step.(string)
	if !ok {
		return -1
	}
	if names := x.names[at]; names != nil {
		if i, ok := names[name]; ok {
			return i
		}
		return -1
	}
	found := -1
	for i := range x.children(at) {
		if x.spans[i].name == name {
			found = i
		}
	}
	return found
}

// nodeIndex finds places in a library's tree.
type nodeIndex struct {
	doc  *document
	root *yamlv3.Node

	mu    sync.Mutex
	names map[*yamlv3.Node]map[string]int // of large maps: where a key is in Content
}

func (x *nodeIndex) find(p policies.Path) (place, int) {
	n, where := x.root, x.place(nil, x.root)
	for steps, step := range p {
		key, child := x.childOf(n, step, 0)
		if child == nil {
			return where, steps
		}
		n, where = child, x.place(key, child)
	}
	return where, len(p)
}

func (x *nodeIndex) place(key, n *yamlv3.Node) place {
	var w place
	if key != nil {
		w.key = x.doc.offset(key)
		w.keyEnd = w.key + max(1, len(key.Value))
	}
	w.container = n.Kind == yamlv3.MappingNode || n.Kind == yamlv3.SequenceNode
	w.from = x.doc.offset(n)
	if n.Kind == yamlv3.ScalarNode && n.Style == 0 && strings.HasPrefix(x.doc.text[w.from:], n.Value) {
		w.to = w.from + len(n.Value)
	}
	return w
}

// childOf finds a step below a node, in what its aliases and merges bring too. hops bounds chains of aliases.
func (x *nodeIndex) childOf(n *yamlv3.Node, step any, hops int) (key, child *yamlv3.Node) {
	for ; n != nil && n.Kind == yamlv3.AliasNode; n = n.Alias {
		if hops++; hops > 100 {
			return nil, nil
		}
	}
	if n == nil {
		return nil, nil
	}
	switch n.Kind {
	case yamlv3.SequenceNode:
		if i, ok := listStep(step); ok && i < len(n.Content) {
			return nil, n.Content[i]
		}
	case yamlv3.MappingNode:
		name, ok := step.(string)
		if !ok {
			name = fmt.Sprint(step)
		}
		if i := x.key(n, name); i >= 0 {
			return n.Content[i], n.Content[i+1]
		}
		for i := 0; i+1 < len(n.Content) && hops < 100; i += 2 {
			if !isMerge(n.Content[i]) {
				continue
			}
			merged := []*yamlv3.Node{n.Content[i+1]}
			if merged[0].Kind == yamlv3.SequenceNode {
				merged = merged[0].Content
			}
			for _, m := range merged {
				if k, c := x.childOf(m, step, hops+1); c != nil {
					return k, c
				}
			}
		}
	}
	return nil, nil
}

// key is where a key stands in the content of a map, or -1. Of doubled keys the last one counts.
func (x *nodeIndex) key(n *yamlv3.Node, name string) int {
	if len(n.Content) < 2*manyChildren {
		for i := len(n.Content) - 2; i >= 0; i -= 2 {
			if text, ok := keyText(n.Content[i]); ok && text == name && !isMerge(n.Content[i]) {
				return i
			}
		}
		return -1
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	names := x.names[n]
	if names == nil {
		names = make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if text, ok := keyText(n.Content[i]); ok && !isMerge(n.Content[i]) {
				names[text] = i
			}
		}
		if x.names == nil {
			x.names = map[*yamlv3.Node]map[string]int{}
		}
		x.names[n] = names
	}
	if i, ok := names[name]; ok {
		return i
	}
	return -1
}

// offset turns the line and column of a node, which count characters, into an offset of the text.
func (d *document) offset(n *yamlv3.Node) int {
	d.breaksOnce.Do(func() {
		d.breaks = []int{0}
		for at := 0; at < len(d.text); {
			at += lineBreak(d.text[at:])
			d.breaks = append(d.breaks, at)
		}
	})
	from := d.breaks[min(max(n.Line-1, 0), len(d.breaks)-1)]
	for col := n.Column; col > 1 && from < len(d.text); col-- {
		_, size := utf8.DecodeRuneInString(d.text[from:])
		from += size
	}
	return min(from, len(d.text))
}

// lineBreak is the length of the first line of s with its end, by YAML 1.1's line ends.
func lineBreak(s string) int {
	for i, r := range s {
		switch r {
		case '\n':
			return i + 1
		case '\r':
			if strings.HasPrefix(s[i+1:], "\n") {
				return i + 2
			}
			return i + 1
		case 0x85:
			return i + 2
		case 0x2028, 0x2029:
			return i + 3
		}
	}
	return len(s)
}
