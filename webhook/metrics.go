package webhook

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitgate.dev/gitgate/policies"
)

// Metrics counts what the handler does. A nil *Metrics counts nothing. Labels that foreign content decides are bounded.
type Metrics struct {
	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	stages     *prometheus.HistogramVec
	results    *prometheus.CounterVec
	untraced   *prometheus.CounterVec
	classes    *prometheus.CounterVec
	late       prometheus.Counter
	broken     prometheus.Counter
	httpErrors *prometheus.CounterVec

	mu        sync.RWMutex
	resources map[string]bool // label values in use
}

// maxResources bounds the label resource: a cluster with more kinds than that sees the rest as "other".
const maxResources = 200

// Buckets around what judging takes, from 50 microseconds to the budget.
var buckets = []float64{.00005, .0001, .0002, .0003, .0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// NewMetrics makes metrics and registers them.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_admission_requests_total", Help: "Admission requests that were answered.",
		}, []string{"operation", "resource", "verdict", "allowed", "dry_run"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitgate_admission_duration_seconds", Help: "Time from the head of a request to its answer.", Buckets: buckets,
		}, []string{"operation"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitgate_admission_stage_duration_seconds", Help: "Time in one stage of a request: read, decode, wait (for a place), judge, index, freshness.", Buckets: buckets,
		}, []string{"stage"}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_policy_results_total", Help: "What became of a policy on a change, but for passed and skipped.",
		}, []string{"policy", "outcome", "action"}),
		untraced: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_untraced_total", Help: "Violations of the policy trace, by their rule, whatever its action.",
		}, []string{"rule", "action"}),
		classes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_traced_total", Help: "Changes by the class of writer that the trace found.",
		}, []string{"class"}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitgate_admission_late_total", Help: "Requests that were not judged within their time.",
		}),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitgate_admission_malformed_total", Help: "Requests that are no AdmissionReview that is understood.",
		}),
		httpErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_admission_http_errors_total", Help: "Requests that were answered by an HTTP error.",
		}, []string{"code"}),
		resources: map[string]bool{},
	}
	for _, c := range []prometheus.Collector{m.requests, m.durations, m.stages, m.results, m.untraced, m.classes, m.late, m.broken, m.httpErrors} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Stage adds the time that a part of judging took which the handler does not see: freshness, index.
func (m *Metrics) Stage(name string, took time.Duration) { m.stage(name, took) }

func (m *Metrics) stage(name string, took time.Duration) {
	if m != nil {
		m.stages.WithLabelValues(name).Observe(took.Seconds())
	}
}

func (m *Metrics) request(c *policies.Change, verdict string, allowed bool, took time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(string(c.Operation), m.resource(c.Resource), verdict, strconv.FormatBool(allowed), strconv.FormatBool(c.DryRun)).Inc()
	m.durations.WithLabelValues(string(c.Operation)).Observe(took.Seconds())
}

// resource is the label of a resource, "other" when there are too many.
func (m *Metrics) resource(r policies.Resource) string {
	name := resourceName(r)
	m.mu.RLock()
	known, full := m.resources[name], len(m.resources) >= maxResources
	m.mu.RUnlock()
	switch {
	case known:
		return name
	case full:
		return "other"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.resources) >= maxResources && !m.resources[name] {
		return "other"
	}
	m.resources[name] = true
	return name
}

// traceKind is the kind of the policy whose rules and classes are counted for themselves.
const traceKind = "trace"

func (m *Metrics) decision(d *policies.Decision) {
	if m == nil {
		return
	}
	for i := range d.Results {
		r := &d.Results[i]
		if r.Policy.Kind == traceKind {
			for _, e := range r.Finding.Evidence {
				if e.Kind == "class" {
					m.classes.WithLabelValues(e.Value).Inc()
				}
			}
			if r.Outcome == policies.Violated {
				for j := range r.Finding.Violations {
					m.untraced.WithLabelValues(r.Finding.Violations[j].Rule, r.ActionOf(j).String()).Inc()
				}
			}
		}
		switch r.Outcome {
		case policies.Passed, policies.Skipped:
		default:
			m.results.WithLabelValues(r.Policy.Name, r.Outcome.String(), r.Action().String()).Inc()
		}
	}
}

func (m *Metrics) lateRequest() {
	if m != nil {
		m.late.Inc()
	}
}

func (m *Metrics) malformed() {
	if m != nil {
		m.broken.Inc()
	}
}

func (m *Metrics) httpError(code int) {
	if m != nil {
		m.httpErrors.WithLabelValues(strconv.Itoa(code)).Inc()
	}
}
