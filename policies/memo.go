package policies

import (
	"errors"
	"sync"
)

// memo keeps what was made of one value, by key, each made at most once. Safe for concurrent use.
type memo struct {
	mu      sync.Mutex
	entries []*memoEntry
}

type memoEntry struct {
	key   any
	once  sync.Once
	value any
	err   error
}

var errMakerPanicked = errors.New("representation could not be made: its maker panicked")

func (m *memo) derive(key any, build func() (any, error)) (any, error) {
	m.mu.Lock()
	var e *memoEntry
	for _, known := range m.entries {
		if known.key == key {
			e = known
			break
		}
	}
	if e == nil {
		e = &memoEntry{key: key, err: errMakerPanicked}
		m.entries = append(m.entries, e)
	}
	m.mu.Unlock()
	e.once.Do(func() { e.value, e.err = build() })
	return e.value, e.err
}
