package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"gitgate.dev/gitgate/policies"
)

// lookup names a live object.
type lookup struct {
	kind            policies.GroupVersionKind
	namespace, name string
}

func (l lookup) key() string {
	return fmt.Sprintf("%q %q %q %q %q", l.kind.Group, l.kind.Version, l.kind.Kind, l.namespace, l.name)
}

type answer struct {
	object *policies.Object // nil: there is none
	until  time.Time
}

// lookups remembers answers for a short time, and asks once for what many want at the same time.
type lookups struct {
	mu     sync.Mutex
	kept   map[lookup]answer
	flight singleflight.Group
}

// How long an answer is good, how long asking may take, and how many answers are kept.
const (
	answerLife    = 5 * time.Second
	lookupTimeout = 5 * time.Second
	maxAnswers    = 4096
)

func (s *lookups) get(ctx context.Context, l lookup, fresh bool, ask func(context.Context, lookup) (*policies.Object, error)) (*policies.Object, error) {
	if !fresh {
		s.mu.Lock()
		a, ok := s.kept[l]
		s.mu.Unlock()
		if ok && time.Now().Before(a.until) {
			return a.object, nil
		}
	}
	key := l.key()
	if fresh {
		// What is under way may have been answered before what its asker wants to see had happened.
		s.flight.Forget(key)
	}
	// The question outlives a request that gives up: others wait for it too.
	done := s.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		o, err := ask(ctx, l)
		if err == nil {
			s.keep(l, o)
		}
		return o, err
	})
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-done:
		o, _ := r.Val.(*policies.Object)
		return o, r.Err
	}
}

func (s *lookups) keep(l lookup, o *policies.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.kept) >= maxAnswers {
		for other, a := range s.kept {
			if now.After(a.until) || len(s.kept) >= maxAnswers {
				delete(s.kept, other)
			}
		}
	}
	s.kept[l] = answer{o, now.Add(answerLife)}
}
