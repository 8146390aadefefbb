package document

import (
	"strconv"

	"gitgate.dev/gitgate/policies"
)

// node is where a value is written, and what is in it.
type node struct {
	at     policies.Position
	key    policies.Position // of its name; zero where the value's place is the name's
	fields map[string]*node
	items  []*node
}

func (n *node) field(name string) *node {
	if n.fields == nil {
		n.fields = map[string]*node{}
	}
	child := n.fields[name]
	if child == nil {
		child = &node{at: n.at}
		n.fields[name] = child
	}
	return child
}

// Locate implements policies.Source.
func (n *node) Locate(p policies.Path, aspect policies.Aspect) (policies.Position, int) {
	for steps, step := range p {
		next := n.step(step)
		if next == nil {
			return n.place(aspect), steps
		}
		n = next
	}
	return n.place(aspect), len(p)
}

func (n *node) place(aspect policies.Aspect) policies.Position {
	if aspect == policies.AtKey && n.key.Line > 0 {
		return n.key
	}
	return n.at
}

func (n *node) step(step any) *node {
	switch s := step.(type) {
	case int:
		if s >= 0 && s < len(n.items) {
			return n.items[s]
		}
	case string:
		if child := n.fields[s]; child != nil {
			return child
		}
		if i, err := strconv.Atoi(s); err == nil && i >= 0 && i < len(n.items) {
			return n.items[i]
		}
	}
	return nil
}
