package cluster

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Clock tells the latest of three times: the machine's clock, how that stood when the process began with what has passed since, and what the
// API server last said with what has passed since. To set one of them back makes nothing last longer. Safe for concurrent use.
type Clock struct {
	wall  func() time.Time
	since func() time.Duration // of the process's beginning, whatever happens to the machine's clock
	began time.Time
	heard atomic.Pointer[heard]
}

// heard is a time that the API server said, and when.
type heard struct {
	said  time.Time
	since time.Duration
}

// NewClock makes a clock of the machine's time and of the time that has passed; nil stands for those of the machine.
func NewClock(wall func() time.Time, since func() time.Duration) *Clock {
	began := time.Now()
	if wall == nil {
		wall = time.Now
	}
	if since == nil {
		since = func() time.Duration { return time.Since(began) }
	}
	return &Clock{wall: wall, since: since, began: wall().Round(0)}
}

// Now is the latest of the times.
func (c *Clock) Now() time.Time {
	since := c.since()
	now := c.wall().Round(0) // without the part that goes on where the clock is set back
	if t := c.began.Add(since); t.After(now) {
		now = t
	}
	if h := c.heard.Load(); h != nil {
		if t := h.said.Add(since - h.since); t.After(now) {
			now = t
		}
	}
	return now
}

// Listen makes a transport whose answers the clock hears the server's time of (RFC 9110, 6.6.1).
func (c *Clock) Listen(next http.RoundTripper) http.RoundTripper { return listener{next, c} }

type listener struct {
	next  http.RoundTripper
	clock *Clock
}

func (l listener) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if err == nil {
		if said, bad := http.ParseTime(answer.Header.Get("Date")); bad == nil {
			l.clock.heard.Store(&heard{said, l.clock.since()})
		}
	}
	return answer, err
}
