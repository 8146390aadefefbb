package kyverno

import (
	"github.com/go-logr/logr"
	"github.com/kyverno/kyverno/pkg/engine/anchor"
	"github.com/kyverno/kyverno/pkg/engine/pattern"
)

// sure says whether a resource surely keeps a pattern, of which it knows the anchors beforehand. Most resources keep most patterns, and Kyverno's own
// comparison, which parses each key at each level anew, is then not needed. It says no to all that it does not know: that comparison has the last word.
type sure func(resource any) bool

// surelyKeeps compiles a pattern; nil for one with something in it that only Kyverno's comparison knows.
func surelyKeeps(p any) sure {
	switch p := p.(type) {
	case map[string]any:
		return surelyMap(p)
	case []any:
		if len(p) == 0 {
			return nil
		}
		switch p[0].(type) {
		case map[string]any:
			each := surelyKeeps(p[0])
			if each == nil {
				return nil
			}
			return func(resource any) bool {
				list, ok := resource.([]any)
				return ok && all(list, each)
			}
		case []any:
			return nil
		}
		value := surelyKeeps(p[0])
		if value == nil {
			return nil
		}
		return func(resource any) bool {
			_, ok := resource.([]any)
			return ok && value(resource)
		}
	case string, float64, int, int64, bool, nil:
		one := func(resource any) bool { return pattern.Validate(logr.Discard(), resource, p) }
		return func(resource any) bool {
			if list, ok := resource.([]any); ok {
				return all(list, one)
			}
			return one(resource)
		}
	}
	return nil
}

func all(list []any, keeps sure) bool {
	for _, item := range list {
		if !keeps(item) {
			return false
		}
	}
	return true
}

func surelyMap(p map[string]any) sure {
	fields := make([]func(map[string]any) bool, 0, len(p))
	for key, below := range p {
		field := surelyField(key, below)
		if field == nil {
			return nil
		}
		fields = append(fields, field)
	}
	return func(resource any) bool {
		m, ok := resource.(map[string]any)
		if !ok {
			return false
		}
		for _, field := range fields {
			if !field(m) {
				return false
			}
		}
		return true
	}
}

func surelyField(key string, below any) func(map[string]any) bool {
	a := anchor.Parse(key)
	if anchor.IsNegation(a) {
		name := a.Key()
		return func(m map[string]any) bool { _, there := m[name]; return !there }
	}
	value := surelyKeeps(below)
	switch {
	case value == nil:
		return nil
	case a == nil && below == "*":
		return func(m map[string]any) bool { return m[key] != nil }
	case a == nil:
		return func(m map[string]any) bool { return value(m[key]) }
	}
	name := a.Key()
	switch {
	case anchor.IsEquality(a):
		return func(m map[string]any) bool { v, there := m[name]; return !there || value(v) }
	case anchor.IsCondition(a):
		return func(m map[string]any) bool { v, there := m[name]; return there && value(v) }
	}
	return nil
}
