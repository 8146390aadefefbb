package webhook_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/certs"
)

// memory is a listener without a network, so that time can be made up.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	ended atomic.Bool
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	if !m.ended.Swap(true) {
		close(m.done)
	}
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type served struct {
	admission, health *memory
	client            *http.Client
	stop              context.CancelFunc
	done              chan error
	ready             atomic.Pointer[error]
}

func serve(t *testing.T, h http.Handler) *served {
	t.Helper()
	a, _, err := certs.Authority{}.Renew([]string{"gitgate"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Pair()
	if err != nil {
		t.Fatal(err)
	}
	k := &certs.Keeper{}
	k.Set(pair)
	s := &served{admission: newMemory(), health: newMemory(), done: make(chan error, 1)}
	server := &webhook.Server{
		Admission: s.admission, Health: s.health, Handler: h, TLS: certs.Config(k, nil), DrainDelay: 5 * time.Second, DrainTimeout: 20 * time.Second,
		Ready: func() error {
			if err := s.ready.Load(); err != nil {
				return *err
			}
			return nil
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	go func() { s.done <- server.Run(ctx) }()
	s.client = &http.Client{Transport: &http.Transport{
		DialContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return s.health.dial(ctx) },
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dialTLS(ctx) },
		// A connection for each request, so that none is left over.
		DisableKeepAlives: true,
	}}
	return s
}

func (s *served) dialTLS(ctx context.Context) (net.Conn, error) {
	c, err := s.admission.dial(ctx)
	if err != nil {
		return nil, err
	}
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "gitgate"}), nil
}

func (s *served) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := s.client.Get("http://gitgate" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func (s *served) post(path string) (int, error) {
	resp, err := s.client.Post("https://gitgate"+path, "application/json", strings.NewReader(request(configMap+","+created)))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestRequestsInWorkAreFinishedWhileTheServerDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // goroutines that are kept for the next request end
		slow := func(context.Context, *policies.Change) (policies.Finding, error) {
			time.Sleep(9 * time.Second)
			return policies.Finding{}, nil
		}
		s := serve(t, handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, slow)), Budget: time.Minute}))
		if code, said := s.get(t, "/readyz"); code != 200 {
			t.Fatalf("ready: HTTP %d %s", code, said)
		}
		began := time.Now()
		first, second := make(chan error, 1), make(chan error, 1)
		post := func(done chan error) {
			code, err := s.post(webhook.Path + "?timeout=30s")
			if err == nil && code != 200 {
				err = fmt.Errorf("HTTP %d", code)
			}
			done <- err
		}
		go post(first)
		time.Sleep(time.Second)
		s.stop()
		time.Sleep(time.Second)
		if code, _ := s.get(t, "/readyz"); code != http.StatusServiceUnavailable {
			t.Errorf("ready while it drains: HTTP %d", code)
		}
		if code, _ := s.get(t, "/healthz"); code != 200 {
			t.Errorf("healthy while it drains: HTTP %d", code)
		}
		go post(second) // within the delay: the API server may not have heard yet
		time.Sleep(5 * time.Second)
		if _, err := s.post(webhook.Path); err == nil {
			t.Error("a request was taken after the delay")
		}
		for _, done := range []chan error{first, second} {
			if err := <-done; err != nil {
				t.Errorf("a request was lost: %v", err)
			}
		}
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		// The last request ends after 11 s. TLS then waits up to 5 s to say goodbye over a pipe that nobody reads, and Shutdown
		// looks again within half a second. That is less than the 26 s after which the server would have given up.
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("draining took %s", took)
		}
	})
}

func TestReadinessSaysWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // goroutines that are kept for the next request end
		s := serve(t, handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes))}))
		why := errors.New("policies are not loaded")
		s.ready.Store(&why)
		if code, said := s.get(t, "/readyz"); code != 503 || said != "not ready: policies are not loaded" {
			t.Errorf("HTTP %d %q", code, said)
		}
		if code, err := s.post("/somewhere"); err != nil || code != 404 {
			t.Errorf("another path: HTTP %d, %v", code, err)
		}
		s.stop()
		<-s.done
	})
}

func TestSlowClientsAreCutOff(t *testing.T) {
	for _, tc := range []struct {
		name, sends string
		within      time.Duration
	}{
		{"that never finish their head", "POST /validate HTTP/1.1\r\nHost: gitgate\r\nX-A: ", 6 * time.Second},
		{"that never send a body", "POST /validate HTTP/1.1\r\nHost: gitgate\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", 11 * time.Second},
		{"that say nothing", "", 11 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(time.Minute) // goroutines that are kept for the next request end
				s := serve(t, handler(t, webhook.Options{State: state(t, everything("p", policies.Deny, passes))}))
				c, err := s.dialTLS(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				began := time.Now()
				if tc.sends != "" {
					if _, err := io.WriteString(c, tc.sends); err != nil {
						t.Fatal(err)
					}
				} else if err := c.(*tls.Conn).Handshake(); err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(c)
				if resp, err := http.ReadResponse(in, nil); err == nil {
					if resp.StatusCode < 400 {
						t.Errorf("HTTP %d", resp.StatusCode)
					}
					io.Copy(io.Discard, resp.Body)
				}
				_, _ = io.Copy(io.Discard, in)
				if took := time.Since(began); took > tc.within {
					t.Errorf("cut off after %s, want %s", took, tc.within)
				}
				s.stop()
				<-s.done
			})
		})
	}
}
