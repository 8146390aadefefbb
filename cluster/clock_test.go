package cluster_test

import (
	"net/http"
	"testing"
	"time"

	"gitgate.dev/gitgate/cluster"
)

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAClockThatIsSetBackMakesNothingLastLonger(t *testing.T) {
	start := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	for _, tc := range []struct {
		name   string
		wall   time.Duration // what the machine's clock says at the end
		passed time.Duration
		server string // what the API server said half way; "" for nothing
		want   time.Duration
	}{
		{"all agree", time.Hour, time.Hour, "Thu, 26 Nov 2026 10:30:00 GMT", time.Hour},
		{"the machine's clock is set back", -8 * time.Hour, time.Hour, "", time.Hour},
		{"it was set back before the process began", time.Hour, time.Hour, "Thu, 26 Nov 2026 18:30:00 GMT", 9 * time.Hour},
		{"it is set forward", 5 * time.Hour, time.Hour, "Thu, 26 Nov 2026 10:30:00 GMT", 5 * time.Hour},
		{"the machine slept, and nothing passed", 3 * time.Hour, time.Minute, "", 3 * time.Hour},
		{"the API server's clock is set back", time.Hour, time.Hour, "Thu, 26 Nov 2026 02:00:00 GMT", time.Hour},
		{"the API server says nonsense", time.Hour, time.Hour, "soon", time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wall, passed := start, time.Duration(0)
			c := cluster.NewClock(func() time.Time { return wall }, func() time.Duration { return passed })
			passed = tc.passed / 2
			client := http.Client{Transport: c.Listen(answering(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Date": {tc.server}}, Body: http.NoBody}, nil
			}))}
			if tc.server != "" {
				answer, err := client.Get("http://127.0.0.1/")
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
			}
			wall, passed = at(tc.wall), tc.passed
			if got := c.Now(); !got.Equal(at(tc.want)) {
				t.Errorf("it is %s, want %s", got, at(tc.want))
			}
		})
	}
}
