// Package webhook is the second door: it makes of each AdmissionReview that the API server sends the change that the request is,
// and of the engine's decision the answer. It serves HTTPS, health and metrics, and bounds what a request may cost: bytes, depth,
// time, and how many are judged at once. It must not know of policy kinds, of configuration, of Git, or of how a decision is worded.
//
// Whatever happens, nothing is let in that was not judged. Where a request can be named by its uid the answer is a refusal and not an
// HTTP error: an error would let the request in where the webhook's failurePolicy is Ignore.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/policies"
)

// State is what judges at one moment. It is immutable.
type State struct {
	Engine *policies.Engine
	Digest string // of the bundle
	Commit string // that the bundle was read from; "" for a folder
	Online bool   // policies may ask the network
}

// Options is what a Handler is told. State and Tell are needed; a zero field takes its default.
type Options struct {
	// State is what judges now, nil while nothing is loaded. It is called once for each request.
	State func() *State
	// Tell puts a decision into words.
	Tell func(*policies.Decision) Told

	// Namespace returns a Namespace, from memory if it can; nil when there is none. Its error means that it could not be looked up:
	// then what would be deferred could not be judged. Where Namespace is nil, a policy that needs labels is deferred.
	Namespace func(ctx context.Context, name string) (*policies.Object, error)
	// Budget is the most time that judging a request may take; less when the API server gives less (its timeout, of which Reserve
	// is kept for the way back).
	Budget, Reserve time.Duration
	// AdmitUnsure lets in a change that no policy denies and that could not be judged in full, in time. It says so in a warning.
	AdmitUnsure bool

	MaxBody     int   // bytes of one request
	MaxInFlight int64 // bytes of all requests that are read or judged
	MaxDepth    int   // levels of one request
	MaxValues   int   // map entries and list items of one request
	Concurrency int   // how many requests are judged at once; others wait

	Metrics *Metrics     // nil counts nothing
	Log     *slog.Logger // nil logs nothing
	Stages  Stages       // nil traces nothing
	// Seen is told every decision before its request is answered; nil for nobody. What panics there refuses the request.
	Seen func(*policies.Change, *policies.Decision)
	Now  func() time.Time // nil for the clock
}

// Stages opens a span of a request's trace, and returns what closes it.
type Stages func(ctx context.Context, name string) (context.Context, func())

// The defaults of Options. The API server takes objects of up to 3 MiB; an update carries two, in JSON that can be longer than
// what the client sent.
const (
	DefaultBudget      = 3 * time.Second
	DefaultReserve     = 500 * time.Millisecond
	DefaultMaxBody     = 16 << 20
	defaultMaxInFlight = 128 << 20
	defaultMaxDepth    = 256
	defaultMaxValues   = 1 << 20
)

// Handler answers AdmissionReviews. Safe for concurrent use.
type Handler struct {
	o      Options
	slots  chan struct{}
	crew   crew
	room   room
	chunks sync.Pool // of *[chunkSize]byte
}

// New makes a handler.
func New(o Options) (*Handler, error) {
	if o.State == nil || o.Tell == nil {
		return nil, errors.New("webhook: needs State and Tell")
	}
	set(&o.Budget, DefaultBudget)
	set(&o.Reserve, DefaultReserve)
	set(&o.MaxBody, DefaultMaxBody)
	set(&o.MaxInFlight, defaultMaxInFlight)
	set(&o.MaxDepth, defaultMaxDepth)
	set(&o.MaxValues, defaultMaxValues)
	set(&o.Concurrency, 16*runtime.GOMAXPROCS(0))
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Stages == nil {
		o.Stages = func(ctx context.Context, _ string) (context.Context, func()) { return ctx, func() {} }
	}
	h := &Handler{o: o, slots: make(chan struct{}, o.Concurrency), crew: newCrew()}
	h.chunks.New = func() any { return new([chunkSize]byte) }
	h.room.left.Store(o.MaxInFlight)
	return h, nil
}

func set[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// ServeHTTP answers one AdmissionReview.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			h.o.Log.Error("answering panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			h.httpError(w, http.StatusInternalServerError, "a bug in gitgate: nothing was judged")
		}
	}()
	began := h.o.Now()
	if code, why := acceptable(r); code != 0 {
		if code == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		h.httpError(w, code, why)
		return
	}
	budget := h.budget(r)
	ctx, cancel := context.WithTimeoutCause(r.Context(), budget, errLate)
	defer cancel()
	body, held, code, err := h.read(w, r)
	defer h.room.give(held)
	if err != nil {
		h.unread(w, code, body, err)
		return
	}
	h.o.Metrics.stage("read", h.o.Now().Sub(began))
	h.answer(ctx, w, body, began)
}

// unread answers a request whose body could not be read in full, by its uid when the part that was read has it.
func (h *Handler) unread(w http.ResponseWriter, code int, part string, err error) {
	h.o.Metrics.malformed()
	_, uid, _ := parseJSON(part, h.o.MaxDepth, h.o.MaxValues)
	if len(uid) > maxUID {
		uid = ""
	}
	h.o.Log.Warn("request cannot be read", "uid", uid, "error", err.Error())
	if uid == "" {
		h.httpError(w, code, err.Error())
		return
	}
	h.write(w, reviewVersion, refusal(uid, code, reasonOf(code), "gitgate could not read this request and refuses it: "+err.Error()))
}

func reasonOf(code int) string {
	switch code {
	case http.StatusRequestEntityTooLarge:
		return "RequestEntityTooLarge"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailable"
	default:
		return "BadRequest"
	}
}

// acceptable says what is wrong with a request's head; code 0 for nothing.
func acceptable(r *http.Request) (code int, why string) {
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, "method " + shortened(r.Method) + ": expected POST"
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return http.StatusUnsupportedMediaType, "content type " + strconv.Quote(shortened(r.Header.Get("Content-Type"))) + ": expected application/json"
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return http.StatusUnsupportedMediaType, "content encoding " + strconv.Quote(shortened(coding)) + ": expected none"
	}
	return 0, ""
}

var errLate = errors.New("the time for judging was over")

// budget is how long judging r may take: see https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
// for the parameter timeout.
func (h *Handler) budget(r *http.Request) time.Duration {
	budget := h.o.Budget
	if given, err := time.ParseDuration(r.URL.Query().Get("timeout")); err == nil && given > 0 {
		budget = min(budget, max(given-h.o.Reserve, given/2))
	}
	return budget
}

// answer judges the review in body and writes what became of it.
func (h *Handler) answer(ctx context.Context, w http.ResponseWriter, body string, began time.Time) {
	decoded := h.o.Now()
	_, done := h.o.Stages(ctx, "decode")
	rv, err := h.decode(body)
	done()
	h.o.Metrics.stage("decode", h.o.Now().Sub(decoded))
	if err != nil {
		h.o.Metrics.malformed()
		h.o.Log.WarnContext(ctx, "request is not understood", "uid", rv.uid, "error", err.Error())
		if rv.uid == "" {
			h.httpError(w, http.StatusBadRequest, err.Error())
			return
		}
		h.write(w, rv.version, refusal(rv.uid, http.StatusBadRequest, "BadRequest", "gitgate does not understand this request and refuses it: "+err.Error()))
		return
	}
	a, verdict := h.judge(ctx, &rv)
	h.write(w, rv.version, a)
	took := h.o.Now().Sub(began)
	h.o.Metrics.request(rv.change, verdict, a.Allowed, took)
	h.log(ctx, &rv, &a, verdict, took)
}

// decode is readReview behind a guard: a text that makes it panic is a text that is not understood.
func (h *Handler) decode(body string) (rv review, err error) {
	defer func() {
		if v := recover(); v != nil {
			h.o.Log.Error("reading a request panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			rv, err = review{version: reviewVersion}, errors.New("a bug in gitgate: reading it panicked")
		}
	}()
	return readReview(body, h.o.MaxDepth, h.o.MaxValues)
}

// judge waits for a place, asks the engine, and waits for its decision as long as there is time. A judge that does not end keeps its
// place until it does.
func (h *Handler) judge(ctx context.Context, rv *review) (answer, string) {
	s := h.o.State()
	if s == nil {
		return unjudged(rv.uid, "its policies are not loaded yet"), "unready"
	}
	waiting := h.o.Now()
	select {
	case h.slots <- struct{}{}:
	default:
		select {
		case h.slots <- struct{}{}:
		case <-ctx.Done():
			return h.late(rv, s, "too many requests were waiting, and "+context.Cause(ctx).Error())
		}
	}
	h.o.Metrics.stage("wait", h.o.Now().Sub(waiting))
	c := rv.change
	type judged struct {
		answer  answer
		verdict string
	}
	done := make(chan judged, 1)
	ctx, end := h.o.Stages(ctx, "judge")
	h.crew.do(func() {
		j := judged{unjudged(rv.uid, "a bug in gitgate"), "panic"}
		defer func() {
			if v := recover(); v != nil {
				h.o.Log.Error("judging panicked", "uid", rv.uid, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
			<-h.slots
			done <- j
		}()
		missing := h.complete(ctx, c, s)
		began := h.o.Now()
		decision := s.Engine.Decide(ctx, c)
		undeferred(&decision, missing)
		h.o.Metrics.stage("judge", h.o.Now().Sub(began))
		h.o.Metrics.decision(&decision)
		if h.o.Seen != nil {
			h.o.Seen(c, &decision)
		}
		j = judged{h.answerOf(rv.uid, &decision, s), decision.Verdict().String()}
	})
	select {
	case j := <-done:
		end()
		return j.answer, j.verdict
	case <-ctx.Done():
		end()
		return h.late(rv, s, context.Cause(ctx).Error())
	}
}

// late is the answer on what was not judged in time.
func (h *Handler) late(rv *review, s *State, why string) (answer, string) {
	h.o.Metrics.lateRequest()
	a := unjudged(rv.uid, why)
	if h.o.AdmitUnsure {
		a = answer{UID: rv.uid, Allowed: true, Warnings: []string{"gitgate could not judge this change in time, and is configured to admit it"}}
	}
	a.AuditAnnotations = map[string]string{"verdict": policies.Unsure.String(), "policy-digest": s.Digest, "failed": "late"}
	return a, policies.Unsure.String()
}

// complete adds what this door knows beside the request. Its error says what it should know and does not.
func (h *Handler) complete(ctx context.Context, c *policies.Change, s *State) (missing error) {
	if c.Namespaced && h.o.Namespace != nil {
		holder, err := h.o.Namespace(ctx, c.Namespace)
		if err != nil {
			missing = fmt.Errorf("namespace %s could not be looked up: %w", c.Namespace, err)
		}
		if c.Holder = holder; holder != nil {
			c.Knows |= policies.KnowsNamespace
		}
	}
	if s.Online {
		c.Knows |= policies.Online
	}
	return missing
}

// undeferred turns what was deferred for want of something that this door should know into what could not be judged.
func undeferred(d *policies.Decision, missing error) {
	if missing == nil {
		return
	}
	for i := range d.Results {
		if r := &d.Results[i]; r.Outcome == policies.Deferred {
			r.Outcome, r.Missing, r.Err = policies.Failed, "", missing
		}
	}
}

func (h *Handler) write(w http.ResponseWriter, version string, a answer) {
	text := encode(version, a)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // a client that has gone gets no answer, and its request fails there
}

// httpError answers a request that cannot be named by a uid.
func (h *Handler) httpError(w http.ResponseWriter, code int, why string) {
	h.o.Metrics.httpError(code)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.Error(w, "gitgate: "+why, code)
}

// log writes a line for each request that was not simply let in, or that was under a grant. It has names and no content: values of objects
// and messages that quote them stay out.
func (h *Handler) log(ctx context.Context, rv *review, a *answer, verdict string, took time.Duration) {
	level := slog.LevelDebug
	if !a.Allowed || verdict != policies.Allow.String() || a.AuditAnnotations["grant"] != "" {
		level = slog.LevelInfo
	}
	if !h.o.Log.Enabled(ctx, level) {
		return
	}
	c := rv.change
	attrs := []slog.Attr{
		slog.String("uid", rv.uid), slog.String("verdict", verdict), slog.Bool("allowed", a.Allowed), slog.String("operation", string(c.Operation)),
		slog.String("resource", resourceName(c.Resource)), slog.String("namespace", c.Namespace), slog.String("name", within(c.Subject().Name, maxLogged)),
		slog.String("user", within(c.Actor.User, maxLogged)), slog.Bool("dryRun", c.DryRun), slog.String("took", took.Round(time.Microsecond).String()),
	}
	for _, key := range []string{"denied", "failed", "warned", "audited", "deferred", "class", "unit", "commit", "grant"} {
		if v := a.AuditAnnotations[key]; v != "" {
			attrs = append(attrs, slog.String(key, v))
		}
	}
	h.o.Log.LogAttrs(ctx, level, "request", attrs...)
}

// maxLogged bounds foreign text in a line of the log.
const maxLogged = 256

func resourceName(r policies.Resource) string {
	name := r.Resource
	if r.Subresource != "" {
		name += "/" + r.Subresource
	}
	if r.Group != "" {
		name += "." + r.Group
	}
	return name
}

// read reads the body. held is what it took of the room, to be given back, and body what was read; both also with an error.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (body string, held int64, code int, err error) {
	in := http.MaxBytesReader(w, r.Body, int64(h.o.MaxBody))
	var b strings.Builder
	if r.ContentLength > 0 {
		b.Grow(int(min(r.ContentLength, mostReserved)))
	}
	chunk := h.chunks.Get().(*[chunkSize]byte)
	defer h.chunks.Put(chunk)
	for {
		n, err := in.Read(chunk[:])
		// A client is charged for what it has sent, not for what it says it will send.
		if n > 0 && !h.room.take(int64(n)) {
			return b.String(), held, http.StatusServiceUnavailable, errors.New("too many bytes of requests are in work: try again")
		}
		held += int64(n)
		b.Write(chunk[:n])
		var large *http.MaxBytesError
		switch {
		case errors.Is(err, io.EOF):
			return b.String(), held, 0, nil
		case errors.As(err, &large) || b.Len() > 0 && r.ContentLength > int64(h.o.MaxBody):
			return b.String(), held, http.StatusRequestEntityTooLarge, fmt.Errorf("body is too large: expected at most %d bytes", h.o.MaxBody)
		case err != nil:
			return b.String(), held, http.StatusBadRequest, errors.New("body ends too early or came too slowly")
		}
	}
}

// mostReserved is how much memory is set aside for a body before it has come.
const mostReserved = 256 << 10

// chunkSize is how much of a body is read at once: most requests are smaller.
const chunkSize = 16 << 10
