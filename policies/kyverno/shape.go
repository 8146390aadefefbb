package kyverno

import (
	"github.com/go-logr/logr"
	"github.com/kyverno/kyverno/pkg/engine/anchor"
	"github.com/kyverno/kyverno/pkg/engine/validate"
)

// shape is what is known of a pattern without variables before any object is compared with it. Kyverno's comparison looks at every key of every
// level anew, and that is most of what it costs.
type shape struct {
	pattern any
	// outer are the plain keys from the root on of maps that have no other: spec, template, spec. What is compared is below.
	outer []string
	inner any
	// written says that the comparison writes to the pattern: it puts the object's own keys in place of wildcards in metadata.
	written bool
	sure    sure // nil when only the comparison knows
}

func shapeOf(pattern any) *shape {
	s := &shape{pattern: pattern, inner: pattern, written: namesMetadata(pattern)}
	if !s.written {
		s.sure = surelyKeeps(pattern)
	}
	for {
		m, ok := s.inner.(map[string]any)
		if !ok || len(m) != 1 {
			return s
		}
		for key, below := range m {
			if _, isMap := below.(map[string]any); !isMap || key == "metadata" || anchor.Parse(key) != nil {
				return s
			}
			s.outer, s.inner = append(s.outer, key), below
		}
	}
}

func namesMetadata(pattern any) bool {
	switch v := pattern.(type) {
	case map[string]any:
		for key, item := range v {
			if a := anchor.Parse(key); key == "metadata" || a != nil && a.Key() == "metadata" || namesMetadata(item) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if namesMetadata(item) {
				return true
			}
		}
	}
	return false
}

// match is validate.MatchPattern. What does not match is compared once more from the root: the error then has the paths of the whole.
func (s *shape) match(resource any) error {
	if s.sure != nil && s.sure(resource) {
		return nil
	}
	inside := resource
	for _, key := range s.outer {
		m, ok := inside.(map[string]any)
		if !ok {
			return s.whole(resource)
		}
		inside = m[key]
	}
	if _, ok := inside.(map[string]any); !ok && len(s.outer) > 0 {
		return s.whole(resource)
	}
	inner := s.inner
	if s.written {
		inner = copied(inner)
	}
	if err := validate.MatchPattern(logr.Discard(), inside, inner); err == nil || len(s.outer) == 0 {
		return err
	}
	return s.whole(resource)
}

func (s *shape) whole(resource any) error {
	pattern := s.pattern
	if s.written {
		pattern = copied(pattern)
	}
	return validate.MatchPattern(logr.Discard(), resource, pattern)
}
