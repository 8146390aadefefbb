package webhook

import "sync/atomic"

// room bounds the bytes of all requests that are in work.
type room struct{ left atomic.Int64 }

// take says whether there is room for n bytes, and takes it.
func (r *room) take(n int64) bool {
	if r.left.Add(-n) >= 0 {
		return true
	}
	r.left.Add(n)
	return false
}

func (r *room) give(n int64) { r.left.Add(n) }
