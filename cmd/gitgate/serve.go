package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/report"
	"gitgate.dev/gitgate/webhook"
)

// serveFlags are the flags of gitgate serve.
type serveFlags struct {
	configFlags
	repository, branch, state string
	stateSecret               string   // namespace/name
	anchors                   []string // SOURCE=COMMIT
	configAnchor              string
	interval                  time.Duration
	kubeconfig                string
	noCluster                 bool

	listen, health string
	tls            tlsFlags

	budget, reserve          time.Duration
	onUnsure, mode           string
	concurrency, maxBody     int
	drainDelay, drainTimeout time.Duration

	logLevel, logFormat string
	pprof               bool
}

func (p *program) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Judge requests to a cluster's API server: the admission webhook",
		Long: `Judge every request that the API server sends to ` + webhook.Path + ` (a ValidatingWebhookConfiguration, admission.k8s.io/v1), with the same
gitgate.yaml and policies as gitgate check.

They are read from a Git repository (--repository), and again whenever its branch moves, or from a local folder (--config), and again
when a file changes. Policies that do not compile leave those of before in force, and a metric tells. SIGHUP looks at once.

A change that cannot be judged is refused, in words that say so, and never as "denied by policy": see --on-unsure.

On the health port: /healthz, /readyz (when policies are loaded), /metrics.

Environment: OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) turns traces on, and the other variables of
OpenTelemetry's exporter hold, OTEL_EXPORTER_OTLP_PROTOCOL (http/protobuf, grpc) among them. Git takes its own: GIT_SSH_COMMAND, GIT_ASKPASS …

SIGTERM drains: readiness goes off, requests are taken for --drain-delay more, and those in work are finished. Exit codes: 0 stopped;
2 flags or configuration are wrong; 3 it could not serve.`,
		Example: `  gitgate serve --repository https://git.example.com/platform/fleet.git --tls-cert tls.crt --tls-key tls.key
  gitgate serve --config fleet/gitgate.yaml --tls-cert tls.crt --tls-key tls.key`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context(), &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.file, "config", "", "gitgate.yaml: a local file, or with --repository its path there (default: gitgate.yaml at the repository's root; without --repository, looked for as by gitgate check)")
	flags.StringVar(&f.kubernetes, "kubernetes-version", "", "version of Kubernetes, instead of what the configuration says")
	flags.StringVar(&f.repository, "repository", "", "URL of the Git repository that holds gitgate.yaml")
	flags.StringVar(&f.branch, "branch", "main", "branch of --repository")
	flags.StringVar(&f.state, "state", "/var/lib/gitgate", "folder for copies of Git repositories; it outlives restarts without Git")
	flags.StringVar(&f.stateSecret, "state-secret", "", "NAMESPACE/NAME of a Secret in which replicas tell each other, and those after them, which commits were accepted and applied: a process with an empty --state begins with it")
	flags.StringArrayVar(&f.anchors, "anchor", nil, "SOURCE=COMMIT, repeatable: signatures are asked of the commits after this one (default: of all), until others were accepted here")
	flags.StringVar(&f.configAnchor, "config-anchor", "", "commit of --repository whose configuration is read first, and says who is trusted with the next (default: the branch's tip)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "cluster to look at (default: the one that gitgate runs in, if it does)")
	flags.BoolVar(&f.noCluster, "no-cluster", false, "look at no cluster: what needs one is deferred, and the trace of what controllers write is unsure")
	flags.DurationVar(&f.interval, "interval", 30*time.Second, "how often to look for a change of the configuration and of Git")
	flags.StringVar(&f.listen, "listen", ":8443", "address of the webhook (HTTPS)")
	flags.StringVar(&f.health, "health-listen", ":8080", "address of health and metrics (HTTP); empty for none")
	f.tls.add(flags)
	flags.DurationVar(&f.budget, "budget", webhook.DefaultBudget, "most time that judging a request may take")
	flags.DurationVar(&f.reserve, "reserve", webhook.DefaultReserve, "what is kept of the time that the API server gives, for the way back")
	flags.StringVar(&f.mode, "mode", "deny", "the most that comes of a policy, whatever gitgate.yaml says: deny, warn (let it in, and tell its author) or audit (let it in, and record it)")
	flags.StringVar(&f.onUnsure, "on-unsure", "deny", "what becomes of a change that no policy denies and that could not be judged: deny, or admit with a warning")
	flags.IntVar(&f.concurrency, "concurrency", 0, "how many requests are judged at once; others wait (default 16 for each processor)")
	flags.IntVar(&f.maxBody, "max-body", webhook.DefaultMaxBody, "most bytes of a request")
	flags.DurationVar(&f.drainDelay, "drain-delay", 5*time.Second, "how long requests are still taken after SIGTERM")
	flags.DurationVar(&f.drainTimeout, "drain-timeout", 20*time.Second, "how long requests in work may then take")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug (a line for each request), info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "json", "json or text")
	flags.BoolVar(&f.pprof, "pprof", false, "serve /debug/pprof/ on the health port")
	return cmd
}

func (f *serveFlags) validate() error {
	switch {
	case f.onUnsure != "deny" && f.onUnsure != "admit":
		return usage("--on-unsure %s: expected deny or admit", f.onUnsure)
	case f.mode != "deny" && f.mode != "warn" && f.mode != "audit":
		return usage("--mode %s: expected deny, warn or audit", f.mode)
	case f.logFormat != "json" && f.logFormat != "text":
		return usage("--log-format %s: expected json or text", f.logFormat)
	case f.noCluster && f.kubeconfig != "":
		return usage("--no-cluster and --kubeconfig exclude each other")
	case f.interval < time.Second:
		return usage("--interval %s: expected at least 1s", f.interval)
	case f.budget < 10*time.Millisecond:
		return usage("--budget %s: expected at least 10ms", f.budget)
	case f.reserve < 0 || f.drainDelay < 0 || f.drainTimeout < 0 || f.concurrency < 0:
		return usage("--reserve, --drain-delay, --drain-timeout and --concurrency: expected no negative value")
	case f.maxBody <= 0:
		return usage("--max-body %d: expected at least 1", f.maxBody)
	case f.configAnchor != "" && f.repository == "":
		return usage("--config-anchor: needs --repository")
	case f.configAnchor != "" && !isCommit(f.configAnchor):
		return usage("--config-anchor %s: expected the full name of a commit", f.configAnchor)
	}
	for _, a := range f.anchors {
		if source, commit, _ := strings.Cut(a, "="); source == "" || !isCommit(commit) {
			return usage("--anchor %s: expected SOURCE=COMMIT with the full name of a commit", a)
		}
	}
	if namespace, name, _ := strings.Cut(f.stateSecret, "/"); f.stateSecret != "" && (namespace == "" || name == "" || strings.Contains(name, "/")) {
		return usage("--state-secret %s: expected NAMESPACE/NAME", f.stateSecret)
	}
	if v := f.kubernetes; v != "" && !slices.Contains(bundle.Versions(), v) {
		return usage("--kubernetes-version %s: expected one of %s", v, strings.Join(bundle.Versions(), ", "))
	}
	return f.tls.validate()
}

// isCommit says whether s is a commit's name in full, as git writes it: what is cut short can come to mean another one.
func isCommit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// serve runs until ctx ends.
func (p *program) serve(ctx context.Context, f *serveFlags) (err error) {
	if err := f.validate(); err != nil {
		return err
	}
	log, err := p.logger(f)
	if err != nil {
		return err
	}
	p.boundMemory()
	registry := prometheus.NewRegistry()
	g := newGate(p, f, log)
	if g.metrics, err = newGateMetrics(registry, g); err != nil {
		return err
	}
	if g.requests, err = webhook.NewMetrics(registry); err != nil {
		return err
	}
	spans, stopTraces, err := p.traces(ctx)
	if err != nil {
		return usage("traces: %v", err)
	}
	defer stopTraces()
	// What keeps policies, certificates and watches fresh goes on while requests are drained.
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var following sync.WaitGroup
	defer func() {
		end()
		following.Wait()
		g.close()
	}()
	if g.headway, err = openHeadway(f.state, log); err != nil {
		return exitWith(exitUsage, err)
	}
	following.Go(func() { g.headway.keep(background) })
	if err := g.openCluster(background); err != nil {
		return err
	}
	others, err := g.shares(ctx)
	if err != nil {
		return err
	}
	if err := g.open(ctx); err != nil {
		return err
	}
	if others != nil {
		others.change()
		following.Go(func() { others.keep(background) })
	}
	p.collectAt(servingPercent)
	tlsConfig, err := g.openTLS(background, registry)
	if err != nil {
		return err
	}
	handler, err := webhook.New(webhook.Options{
		State: g.current.Load, Tell: tell, Namespace: g.namespace(), Seen: g.seen,
		Budget: f.budget, Reserve: f.reserve, AdmitUnsure: f.onUnsure == "admit" || f.mode != "deny", Concurrency: f.concurrency, MaxBody: f.maxBody,
		Metrics: g.requests, Log: log, Stages: spans.stages(),
	})
	if err != nil {
		return err
	}
	server := &webhook.Server{
		Handler: spans.wrap(handler), TLS: tlsConfig, Ready: g.ready, DrainDelay: f.drainDelay, DrainTimeout: f.drainTimeout, Log: log,
		More: map[string]http.Handler{"GET /metrics": promhttp.HandlerFor(registry, promhttp.HandlerOpts{})},
	}
	if f.pprof {
		server.More["GET /debug/pprof/"] = http.HandlerFunc(pprof.Index)
		server.More["GET /debug/pprof/profile"] = http.HandlerFunc(pprof.Profile)
		server.More["GET /debug/pprof/trace"] = http.HandlerFunc(pprof.Trace)
	}
	if server.Admission, err = net.Listen("tcp", f.listen); err != nil {
		return exitWith(exitUnjudged, fmt.Errorf("--listen: %w", err))
	}
	if f.health != "" {
		if server.Health, err = net.Listen("tcp", f.health); err != nil {
			server.Admission.Close()
			return exitWith(exitUnjudged, fmt.Errorf("--health-listen: %w", err))
		}
	}
	now := make(chan os.Signal, 1)
	signal.Notify(now, syscall.SIGHUP)
	defer signal.Stop(now)
	following.Go(func() { g.follow(background, now) })
	log.Info("serving", "address", server.Admission.Addr().String(), "health", addressOf(server.Health), "version", buildVersion())
	if err := server.Run(ctx); err != nil {
		return exitWith(exitUnjudged, err)
	}
	log.Info("stopped")
	return nil
}

func addressOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// tell puts a decision into words as the reports do.
func tell(d *policies.Decision) webhook.Told {
	told := report.Admission(d)
	out := webhook.Told{Message: told.Message, Warnings: told.Warnings}
	for _, c := range told.Causes {
		out.Causes = append(out.Causes, webhook.Cause(c))
	}
	return out
}

func (p *program) logger(f *serveFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usage("--log-level %s: expected debug, info, warn or error", f.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	if f.logFormat == "text" {
		return slog.New(slog.NewTextHandler(p.stderr, options)), nil
	}
	return slog.New(slog.NewJSONHandler(p.stderr, options)), nil
}

var errNotLoaded = errors.New("policies are not loaded")
