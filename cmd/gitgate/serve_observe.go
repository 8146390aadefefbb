package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/webhook"
)

// gateMetrics counts what keeps the gate fresh. The requests are counted by package webhook.
type gateMetrics struct {
	info         *prometheus.GaugeVec
	reloads      *prometheus.CounterVec
	red          prometheus.Gauge
	fetches      *prometheus.CounterVec
	certificates prometheus.Counter

	held *prometheus.GaugeVec
	lead prometheus.Histogram

	mu        sync.Mutex
	lastFetch time.Time
	waiting   map[string]time.Time // accepted commits of which nothing was admitted yet, and when they were made
}

// maxWaiting bounds the commits whose first request is waited for.
const maxWaiting = 1000

func newGateMetrics(r prometheus.Registerer, g *gate) (*gateMetrics, error) {
	m := &gateMetrics{
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_bundle_info", Help: "1 for the bundle of policies that is in force.",
		}, []string{"digest", "commit", "version"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_bundle_reloads_total", Help: "Attempts to put another bundle in force.",
		}, []string{"result"}),
		red: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitgate_bundle_failing", Help: "1 while the newest configuration does not compile and the one of before is in force.",
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_mirror_fetches_total", Help: "Attempts to fetch from Git.",
		}, []string{"result"}),
		certificates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitgate_certificate_failures_total", Help: "Attempts to read a certificate that failed.",
		}),
	}
	m.held = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gitgate_source_held", Help: "1 for a source whose newer commits are not accepted.",
	}, []string{"source"})
	m.lead = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gitgate_commit_to_admission_seconds", Help: "Time from a commit to the first request that it declares and that was admitted.",
		Buckets: []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 21600, 86400},
	})
	m.waiting = map[string]time.Time{}
	declares := func(name, help string, count func(*declared) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if d := g.declared.Load(); d != nil {
				return float64(count(d))
			}
			return 0
		})
	}
	size := declares("gitgate_index_objects", "Objects that the tips of the sources declare.", func(d *declared) int { return d.list().objects })
	dark := declares("gitgate_index_opaque", "What the tips declare and cannot be rendered here.", func(d *declared) int { return len(d.list().dark) })
	problems := declares("gitgate_index_problems", "What is wrong with the sources and their units.", func(d *declared) int { return len(d.Problems()) })
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gitgate_mirror_age_seconds", Help: "Time since Git was last asked with success; -1 when it never was.",
	}, m.age)
	inForce := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gitgate_policies", Help: "Policies in force.",
	}, func() float64 {
		if s := g.current.Load(); s != nil {
			return float64(len(s.Engine.Policies()))
		}
		return 0
	})
	for _, c := range []prometheus.Collector{
		m.info, m.reloads, m.red, m.fetches, m.certificates, m.held, m.lead, size, dark, problems, age, inForce,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *gateMetrics) age() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lastFetch.IsZero() {
		return -1
	}
	return time.Since(m.lastFetch).Seconds()
}

func (m *gateMetrics) fetched() {
	m.fetches.WithLabelValues("ok").Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastFetch = time.Now()
}

func (m *gateMetrics) fetchFailed() { m.fetches.WithLabelValues("failed").Inc() }

func (m *gateMetrics) loaded(digest, commit string) {
	m.info.Reset()
	m.info.WithLabelValues(digest, commit, buildVersion()).Set(1)
	m.reloads.WithLabelValues("ok").Inc()
	m.red.Set(0)
}

func (m *gateMetrics) reloadFailed() {
	m.reloads.WithLabelValues("failed").Inc()
	m.red.Set(1)
}

func (m *gateMetrics) hold(source string, held bool) {
	value := 0.0
	if held {
		value = 1
	}
	m.held.WithLabelValues(source).Set(value)
}

// advanced notes an accepted commit, whose first request is waited for.
func (m *gateMetrics) advanced(c policies.Commit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) >= maxWaiting {
		clear(m.waiting)
	}
	m.waiting[c.Hash] = c.Time
}

// admitted notes that a request of a commit was admitted.
func (m *gateMetrics) admitted(commit string, at time.Time) {
	m.mu.Lock()
	made, waited := m.waiting[commit]
	delete(m.waiting, commit)
	m.mu.Unlock()
	if waited {
		m.lead.Observe(max(at.Sub(made), 0).Seconds())
	}
}

func (m *gateMetrics) certificateFailed() { m.certificates.Inc() }

// spans are the traces of OpenTelemetry; the zero value makes none.
type spans struct {
	tracer   trace.Tracer
	provider trace.TracerProvider
}

// traces turns traces on when the environment names an endpoint. stop sends what is left.
func (p *program) traces(ctx context.Context) (s *spans, stop func(), err error) {
	if p.env("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && p.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" || p.env("OTEL_SDK_DISABLED") == "true" {
		return &spans{}, func() {}, nil
	}
	protocol := p.env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = p.env("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	var exporter *otlptrace.Exporter
	switch protocol {
	case "", "http/protobuf":
		exporter, err = otlptracehttp.New(ctx)
	case "grpc":
		exporter, err = otlptracegrpc.New(ctx)
	default:
		return nil, nil, usage("OTEL_EXPORTER_OTLP_PROTOCOL %s: expected http/protobuf or grpc", protocol)
	}
	if err != nil {
		return nil, nil, err
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "gitgate"), attribute.String("service.version", buildVersion()),
	), resource.WithFromEnv())
	if err != nil {
		return nil, nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	stop = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = provider.Shutdown(ctx) // traces are not worth an exit code
	}
	return &spans{tracer: provider.Tracer("gitgate.dev/gitgate"), provider: provider}, stop, nil
}

// stages is webhook.Options.Stages; nil without traces.
func (s *spans) stages() webhook.Stages {
	if s.tracer == nil {
		return nil
	}
	return func(ctx context.Context, name string) (context.Context, func()) {
		ctx, span := s.tracer.Start(ctx, name)
		return ctx, func() { span.End() }
	}
}

// wrap makes a span of each request, a child of the API server's when it sends one.
func (s *spans) wrap(h http.Handler) http.Handler {
	if s.tracer == nil {
		return h
	}
	return otelhttp.NewHandler(h, "admission", otelhttp.WithTracerProvider(s.provider), otelhttp.WithPropagators(propagation.TraceContext{}))
}
