package webhook

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Told is a decision in words: see Options.Tell.
type Told struct {
	Message  string
	Warnings []string
	Causes   []Cause
}

// Cause is one reason of a refusal, for programs: a cause of status.details.
type Cause struct{ ID, Field, Message string }

// The types of an AdmissionReview's answer, as far as they are spoken.
type (
	answerReview struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Response   answer `json:"response"`
	}
	answer struct {
		UID              string            `json:"uid"`
		Allowed          bool              `json:"allowed"`
		Status           *status           `json:"status,omitempty"`
		Warnings         []string          `json:"warnings,omitempty"`
		AuditAnnotations map[string]string `json:"auditAnnotations,omitempty"`
	}
	status struct {
		Status  string   `json:"status"`
		Message string   `json:"message"`
		Reason  string   `json:"reason"`
		Code    int      `json:"code"`
		Details *details `json:"details,omitempty"`
	}
	details struct {
		Causes     []cause `json:"causes,omitempty"`
		RetryAfter int     `json:"retryAfterSeconds,omitempty"`
	}
	cause struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
		Field   string `json:"field,omitempty"`
	}
)

// refusal is an answer that lets nothing in.
func refusal(uid string, code int, reason, message string) answer {
	return answer{UID: uid, Status: &status{Status: "Failure", Code: code, Reason: reason, Message: message}}
}

// unjudged is the refusal of a change that nobody has judged, for a reason that time may mend: clients are told to try again.
func unjudged(uid, why string) answer {
	a := refusal(uid, http.StatusServiceUnavailable, "ServiceUnavailable", "gitgate could not judge this change and refuses it: "+why)
	a.Status.Details = &details{RetryAfter: 1}
	return a
}

// answerOf turns a decision into the answer on the request of that uid. admitUnsure lets in what no policy denies and some could
// not judge.
func (h *Handler) answerOf(uid string, d *policies.Decision, s *State) answer {
	verdict := d.Verdict()
	a := answer{UID: uid, Allowed: verdict == policies.Allow || verdict == policies.AllowWarn}
	if verdict == policies.Unsure && h.o.AdmitUnsure {
		a.Allowed = true
	}
	a.AuditAnnotations = annotations(d, verdict, s)
	if verdict == policies.Allow && !tells(d) {
		return a
	}
	told := h.o.Tell(d)
	a.Warnings = told.Warnings
	switch {
	case a.Allowed && verdict == policies.Unsure:
		a.Warnings = append([]string{"gitgate could not judge this change, and is configured to admit it"}, a.Warnings...)
	case a.Allowed:
	case verdict == policies.Unsure:
		a.Status = refusal(uid, http.StatusServiceUnavailable, "ServiceUnavailable", "gitgate could not judge this change and refuses it: "+told.Message).Status
	default:
		a.Status = refusal(uid, http.StatusForbidden, "Forbidden", told.Message).Status
	}
	if a.Status != nil {
		if a.Status.Message == "" {
			a.Status.Message = "gitgate refuses this change, and no policy says why" // never an empty reason
		}
		a.Status.Details = &details{}
		for _, c := range told.Causes {
			a.Status.Details.Causes = append(a.Status.Details.Causes, cause{Reason: c.ID, Message: c.Message, Field: c.Field})
		}
	}
	return a
}

// tells says whether anything of d is for the one who asked.
func tells(d *policies.Decision) bool {
	return slices.ContainsFunc(d.Results, func(r policies.Result) bool {
		return r.Outcome == policies.Violated || r.Outcome == policies.Failed
	})
}

// recorded are the kinds of evidence that the API server's audit log gets.
var recorded = []string{"commit", "unit", "class", "writer", "signer", "grant"}

// maxAnnotation bounds one value in the API server's audit log.
const maxAnnotation = 1024

// annotations is what the API server's audit log keeps of d. Names of policies only: messages can quote what they judge.
func annotations(d *policies.Decision, verdict policies.Verdict, s *State) map[string]string {
	out := map[string]string{"verdict": verdict.String(), "policy-digest": s.Digest}
	if s.Commit != "" {
		out["policy-commit"] = s.Commit
	}
	add := func(key, value string) {
		if had := out[key]; had != "" {
			value = had + "," + value
		}
		out[key] = within(value, maxAnnotation)
	}
	for i := range d.Results {
		r := &d.Results[i]
		switch r.Outcome {
		case policies.Deferred:
			add("deferred", r.Policy.Name)
		case policies.Failed:
			add("failed", r.Policy.Name)
		case policies.Violated:
			for j := range r.Finding.Violations {
				id := r.Policy.Name
				if rule := r.Finding.Violations[j].Rule; rule != "" {
					id += "/" + rule
				}
				if !r.Standing(j) {
					add("exempted", id)
				} else {
					add(map[policies.Action]string{policies.Deny: "denied", policies.Warn: "warned", policies.Audit: "audited"}[r.ActionOf(j)], id)
				}
			}
		}
		for _, e := range r.Finding.Evidence {
			if slices.Contains(recorded, e.Kind) && out[e.Kind] == "" {
				out[e.Kind] = within(e.Value, maxAnnotation)
			}
		}
	}
	return out
}

func within(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}

func encode(version string, a answer) []byte {
	text, err := json.Marshal(answerReview{APIVersion: version, Kind: reviewKind, Response: a})
	if err != nil {
		panic("webhook: answer cannot be encoded: " + err.Error()) // strings and maps of strings always can
	}
	return text
}
