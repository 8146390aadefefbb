package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Server serves a handler over HTTPS, and health and metrics over plain HTTP on a port of their own.
type Server struct {
	Admission net.Listener // HTTPS
	Handler   http.Handler // for Path
	TLS       *tls.Config
	Health    net.Listener // nil serves none
	// Ready says why requests cannot be judged now; nil when they can.
	Ready func() error
	// More are handlers of the health port by their path: /metrics.
	More map[string]http.Handler
	// DrainDelay is how long requests are still taken after the context has ended and readiness is off, so that the API server
	// hears of it. DrainTimeout is how long those in work may then take.
	DrainDelay, DrainTimeout time.Duration
	Log                      *slog.Logger
}

// Path is where AdmissionReviews are sent to.
const Path = "/validate"

// What a client may cost. The API server keeps connections open; a slow client is cut off.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 60 * time.Second // more than any budget: it bounds a client that does not read
	idleTimeout   = 5 * time.Minute
	maxHeader     = 32 << 10
	maxStreams    = 1000
)

// Run serves until ctx ends, then drains: readiness goes off, requests are taken for DrainDelay, and those in work are finished.
func (s *Server) Run(ctx context.Context) error {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	var draining atomic.Bool
	admission := newServer(s.Log)
	mux := http.NewServeMux()
	mux.Handle(Path, s.Handler)
	admission.Handler = mux
	admission.TLSConfig = s.TLS
	health := newServer(s.Log)
	health.Handler = s.healthHandler(&draining)

	failed := make(chan error, 2)
	go func() { failed <- fmt.Errorf("admission: %w", admission.ServeTLS(s.Admission, "", "")) }()
	if s.Health != nil {
		go func() { failed <- fmt.Errorf("health: %w", health.Serve(s.Health)) }()
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.Log.Info("draining", "delay", s.DrainDelay)
		draining.Store(true)
		select {
		case err = <-failed:
		case <-time.After(s.DrainDelay):
		}
	}
	stop, cancel := context.WithTimeout(context.Background(), s.DrainTimeout)
	defer cancel()
	down := admission.Shutdown(stop)
	if down != nil {
		admission.Close()
		down = fmt.Errorf("requests were still in work after %s: %w", s.DrainTimeout, down)
	}
	health.Close()
	return errors.Join(err, down)
}

func newServer(log *slog.Logger) *http.Server {
	return &http.Server{
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug), // handshakes that fail, clients that leave
	}
}

func (s *Server) healthHandler(draining *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := s.Ready()
		if draining.Load() {
			err = errors.New("shutting down")
		}
		if err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	for path, h := range s.More {
		mux.Handle(path, h)
	}
	return mux
}
