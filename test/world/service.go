package world

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"sync"
	"time"
)

// FakeService is a stand-in for the gate's Service, that is for kube-proxy: one address whose connections go to the replicas in turn. A
// replica that takes no connection is passed over, as one that is not ready is no endpoint.
type FakeService struct {
	listener net.Listener

	mu    sync.Mutex
	to    []string // addresses of replicas
	next  int
	conns map[net.Conn]string // of clients, and the replica of each
	group sync.WaitGroup
}

func newFakeService() (*FakeService, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &FakeService{listener: l, conns: map[net.Conn]string{}}
	s.group.Go(s.accept)
	return s, nil
}

func (s *FakeService) address() string { return s.listener.Addr().String() }

// close ends the Service and every connection.
func (s *FakeService) close() {
	s.listener.Close()
	s.route(nil)
	s.group.Wait()
}

// route says which replicas there are. Connections to others are cut, so that what comes next is answered by one of these.
func (s *FakeService) route(to []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
	for c, replica := range s.conns {
		if !slices.Contains(to, replica) {
			c.Close()
		}
	}
}

func (s *FakeService) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.group.Go(func() { s.serve(c) })
	}
}

func (s *FakeService) serve(client net.Conn) {
	defer client.Close()
	replica, server := s.dial()
	if server == nil {
		return
	}
	defer server.Close()
	s.mu.Lock()
	gone := !slices.Contains(s.to, replica)
	if !gone {
		s.conns[client] = replica
	}
	s.mu.Unlock()
	if gone {
		return
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, client)
	}()
	done := make(chan struct{}, 2)
	for from, to := range map[net.Conn]net.Conn{client: server, server: client} {
		s.group.Go(func() {
			_, _ = io.Copy(to, from)
			done <- struct{}{}
		})
	}
	<-done // whoever ends it ends it for both
}

// dial connects to the replica whose turn it is, or to the next that takes a connection.
func (s *FakeService) dial() (string, net.Conn) {
	s.mu.Lock()
	to, turn := s.to, s.next
	s.next++
	s.mu.Unlock()
	for i := range to {
		replica := to[(turn+i)%len(to)]
		if c, err := net.DialTimeout("tcp", replica, time.Second); err == nil {
			return replica, c
		}
	}
	return "", nil
}

// Route has the gate's Service lead to these replicas alone, and cuts the connections to others; none means all.
func (w *World) Route(replicas ...int) {
	var to []string
	for n, r := range w.gate.replicas {
		if len(replicas) == 0 || slices.Contains(replicas, n) {
			to = append(to, r.address)
		}
	}
	w.gate.service.route(to)
}

// serviceProxy is an HTTP proxy by which a program on this machine finds the gate's Service by its name in the cluster, as a Pod does. It
// leads to the health port of a replica that is ready, and nowhere else.
func (w *World) serviceProxy() *httptest.Server {
	name := "gitgate." + GateNamespace + ".svc:8080"
	return httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		for _, r := range w.Replicas() {
			if in.URL.Host == name && r.Ready() == nil {
				(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.Out.URL.Host = r.health }}).ServeHTTP(out, in)
				return
			}
		}
		http.Error(out, "no endpoint", http.StatusServiceUnavailable)
	}))
}
