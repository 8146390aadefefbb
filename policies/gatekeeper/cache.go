package gatekeeper

import (
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// ruleCache keeps the values of rules while one template is evaluated for one constraint. What templates have in common and their
// parameters do not change is kept for all of them, as long as no `with` has changed what the rules see.
type ruleCache struct {
	common *commonTree
	shared *sharedCache // nil: nothing is
	frames []*cacheNode
}

var _ topdown.VirtualCache = (*ruleCache)(nil)

// sharedCache keeps the values of common rules for one review, by the number that commonRules gives them. Safe for concurrent use.
type sharedCache struct {
	mu    sync.Mutex
	nodes map[int]*cacheNode
}

// forget drops all values. What a query that failed leaves behind may be half of a rule's value: of a rule that has two, the first, which the
// next template would take for the only one.
func (c *sharedCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = map[int]*cacheNode{}
}

// of is the node of a common rule.
func (c *sharedCache) of(id int) *cacheNode {
	n := c.nodes[id]
	if n == nil {
		n = &cacheNode{}
		c.nodes[id] = n
	}
	return n
}

func newRuleCache(common *commonTree, shared *sharedCache) *ruleCache {
	return &ruleCache{common: common, shared: shared, frames: []*cacheNode{{}}}
}

// cacheNode is the value of a reference, and of those that go on from it.
type cacheNode struct {
	value     *ast.Term
	undefined bool
	names     map[string]*cacheNode
	others    *util.HasherMap[*ast.Term, *cacheNode]
}

func (n *cacheNode) get(ref ast.Ref) (*ast.Term, bool) {
	for _, step := range ref {
		var next *cacheNode
		if s, ok := step.Value.(ast.String); ok {
			next = n.names[string(s)]
		} else if n.others != nil {
			next, _ = n.others.Get(step)
		}
		if next == nil {
			return nil, false
		}
		n = next
	}
	if n.undefined {
		return nil, true
	}
	return n.value, false
}

func (n *cacheNode) put(ref ast.Ref, value *ast.Term) {
	for _, step := range ref {
		var next *cacheNode
		if s, ok := step.Value.(ast.String); ok {
			if next = n.names[string(s)]; next == nil {
				if n.names == nil {
					n.names = map[string]*cacheNode{}
				}
				next = &cacheNode{}
				n.names[string(s)] = next
			}
		} else {
			if n.others == nil {
				n.others = util.NewHasherMap[*ast.Term, *cacheNode]((*ast.Term).Equal)
			}
			known, ok := n.others.Get(step)
			if next = known; !ok {
				next = &cacheNode{}
				n.others.Put(step, next)
			}
		}
		n = next
	}
	if value != nil {
		n.value = value
	} else {
		n.undefined = true
	}
}

// Push implements topdown.VirtualCache.
func (c *ruleCache) Push() { c.frames = append(c.frames, &cacheNode{}) }

// Pop implements topdown.VirtualCache.
func (c *ruleCache) Pop() { c.frames = c.frames[:len(c.frames)-1] }

// own is the part of a reference that tells the rules of one template apart: all begin with data.gatekeeper, and the kind is the same.
func own(ref ast.Ref) (what ast.String, rest ast.Ref, ok bool) {
	if len(ref) < 5 {
		return "", nil, false
	}
	what, ok = ref[2].Value.(ast.String)
	return what, ref[4:], ok
}

// Get implements topdown.VirtualCache.
func (c *ruleCache) Get(ref ast.Ref) (*ast.Term, bool) {
	what, rest, ok := own(ref)
	top := c.frames[len(c.frames)-1]
	if !ok {
		return top.get(ref)
	}
	if len(c.frames) == 1 && c.shared != nil {
		if id, left, ok := c.common.find(what, rest); ok {
			c.shared.mu.Lock()
			defer c.shared.mu.Unlock()
			return c.shared.of(id).get(left)
		}
	}
	if next := top.names[string(what)]; next != nil {
		return next.get(rest)
	}
	return nil, false
}

// Put implements topdown.VirtualCache.
func (c *ruleCache) Put(ref ast.Ref, value *ast.Term) {
	what, rest, ok := own(ref)
	top := c.frames[len(c.frames)-1]
	if !ok {
		top.put(ref, value)
		return
	}
	if len(c.frames) == 1 && c.shared != nil {
		if id, left, ok := c.common.find(what, rest); ok {
			c.shared.mu.Lock()
			defer c.shared.mu.Unlock()
			c.shared.of(id).put(left, value)
			return
		}
	}
	if top.names == nil {
		top.names = make(map[string]*cacheNode, 2)
	}
	next := top.names[string(what)]
	if next == nil {
		next = &cacheNode{}
		top.names[string(what)] = next
	}
	next.put(rest, value)
}

// Keys implements topdown.VirtualCache, which only debuggers ask.
func (c *ruleCache) Keys() []ast.Ref { return nil }
