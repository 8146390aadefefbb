package sandbox

import (
	"strconv"
	"text/template/parse"
)

// instrument puts calls into a tree: at every loop, before every piece of output, at its beginning and its end.
func (s *Set) instrument(tree *parse.Tree, name string) {
	w := &walker{set: s, name: name}
	w.list(tree.Root, 1)
	weight := w.deepest + 5
	begin, end := call(enter, tree.Root.Pos, weight), call(leave, tree.Root.Pos, weight)
	tree.Root.Nodes = append(append([]parse.Node{begin}, tree.Root.Nodes...), end)
}

type walker struct {
	set     *Set
	name    string
	deepest int
}

func (w *walker) place(pos parse.Pos, literal bool) int {
	w.set.places = append(w.set.places, Place{Template: w.name, Offset: int(pos), Literal: literal})
	return len(w.set.places) - 1
}

func (w *walker) list(list *parse.ListNode, level int) {
	if list == nil {
		return
	}
	w.deepest = max(w.deepest, level)
	nodes := make([]parse.Node, 0, 2*len(list.Nodes))
	for _, node := range list.Nodes {
		if cost := w.methods(node); cost > 0 {
			nodes = append(nodes, call(charge, node.Position(), int(cost)))
		}
		switch n := node.(type) {
		case *parse.TextNode:
			nodes = append(nodes, call(tick, n.Pos, w.place(n.Pos, true)))
		case *parse.ActionNode:
			if len(n.Pipe.Decl) > 0 {
				nodes = append(nodes, call(tick, n.Pos, -1))
				break
			}
			n.Pipe.Cmds = append(n.Pipe.Cmds, command(out, n.Pos, w.place(n.Pos, false)))
		case *parse.TemplateNode:
			nodes = append(nodes, call(tick, n.Pos, w.place(n.Pos, false)))
		case *parse.IfNode:
			w.list(n.List, level+1)
			w.list(n.ElseList, level+1)
		case *parse.WithNode:
			w.list(n.List, level+1)
			w.list(n.ElseList, level+1)
		case *parse.RangeNode:
			w.list(n.List, level+1)
			w.list(n.ElseList, level+1)
			n.List.Nodes = append([]parse.Node{call(tick, n.Pos, -1)}, n.List.Nodes...)
		}
		nodes = append(nodes, node)
	}
	list.Nodes = nodes
}

// methods is what the methods that a node calls can make. What its lists do is theirs.
func (w *walker) methods(node parse.Node) int64 {
	total := int64(0)
	names := func(fields []string) {
		for _, f := range fields {
			total += w.set.methods[f]
		}
	}
	switch n := node.(type) {
	case *parse.ActionNode:
		return w.methods(n.Pipe)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			return w.methods(n.Pipe)
		}
	case *parse.IfNode:
		return w.methods(n.Pipe)
	case *parse.WithNode:
		return w.methods(n.Pipe)
	case *parse.RangeNode:
		return w.methods(n.Pipe)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			for _, arg := range c.Args {
				total += w.methods(arg)
			}
		}
	case *parse.FieldNode:
		names(n.Ident)
	case *parse.VariableNode:
		names(n.Ident)
	case *parse.ChainNode:
		names(n.Field)
		total += w.methods(n.Node)
	}
	return total
}

// call is the action that calls a function of instrument with a number.
func call(function string, pos parse.Pos, argument int) *parse.ActionNode {
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{command(function, pos, argument)},
	}}
}

func command(function string, pos parse.Pos, argument int) *parse.CommandNode {
	number := &parse.NumberNode{NodeType: parse.NodeNumber, Pos: pos, IsInt: true, Int64: int64(argument), Text: strconv.Itoa(argument)}
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: []parse.Node{parse.NewIdentifier(function).SetPos(pos), number}}
}
