package report

import (
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Told is a decision in words for the one who sent a request: what an AdmissionResponse carries.
type Told struct {
	Message  string   // why the change is refused, "" when nothing refuses it
	Warnings []string // one line each
	Causes   []Cause  // of Message, one for each thing that refuses
}

// Cause is one reason of a refusal, for programs.
type Cause struct {
	ID      string // policy or policy/rule
	Field   string // of the object, "" for the whole object
	Message string
}

// Bounds of what is told of one request. The API server cuts warnings to 4096 characters in all and 256 each; a refusal is
// shown in one piece by kubectl and kept in a condition by reconcilers, which take 32 KiB.
const (
	maxMessage     = 8 << 10
	maxCauses      = 20
	maxWarning     = 256
	maxAllWarnings = 4096
)

// Admission tells d as gitgate check does, but for the places in files that a request does not have: object, field, what was
// expected, policy, and what to do. Denied comes before what could not be judged, which is never worded as a denial.
func Admission(d *policies.Decision) Told {
	var t Told
	var refused, unjudged []string
	rows := (&flattener{prints: fingerprints{name: func(file string) string { return file }}}).rows(d)
	for i := range rows {
		r := &rows[i]
		if r.exempt != nil {
			continue
		}
		text := r.said(d)
		switch r.level {
		case denied:
			refused = append(refused, text)
			t.cause(r)
		case unsure:
			if d.Verdict() < policies.Unsure {
				t.Warnings = append(t.Warnings, "could not judge: "+text)
				continue
			}
			unjudged = append(unjudged, "could not judge: "+text)
			t.cause(r)
		case warned:
			t.Warnings = append(t.Warnings, text)
		}
	}
	t.Message = joinedWithin(append(refused, unjudged...), maxMessage)
	t.Warnings = bounded(t.Warnings)
	return t
}

func (t *Told) cause(r *row) {
	if len(t.Causes) < maxCauses {
		field := ""
		if len(r.path) > 0 {
			field = r.path.String()
		}
		t.Causes = append(t.Causes, Cause{ID: r.id, Field: field, Message: within(visible(r.message), maxWarning)})
	}
}

// said is one row as text: the object, its field unless the message names it, the message, the policy; then what to do.
func (r *row) said(d *policies.Decision) string {
	var b strings.Builder
	if r.level != unsure && !strings.HasPrefix(r.message, d.Subject.Text) {
		b.WriteString(visible(d.Subject.Text) + ": ")
	}
	if field := r.path.String(); len(r.path) > 0 && !strings.Contains(r.message, field) {
		b.WriteString(visible(field) + ": ")
	}
	fmt.Fprintf(&b, "%s [%s]", visible(r.message), visible(r.id))
	if r.pos.File != "" && r.pos.Line > 0 && !strings.Contains(r.message, r.pos.File) {
		fmt.Fprintf(&b, "\n  at: %s", strings.TrimSuffix(place(d, r), ":"))
	}
	for i, line := range lines(r.fix) {
		if i == 0 {
			b.WriteString("\n  fix: " + visible(line))
		} else {
			b.WriteString("\n     | " + visible(line))
		}
	}
	return b.String()
}

// joinedWithin joins texts by line ends and says how many it left out for want of room.
func joinedWithin(texts []string, most int) string {
	var b strings.Builder
	for i, text := range texts {
		if i > 0 {
			if b.Len()+1+len(text) > most {
				fmt.Fprintf(&b, "\nand %d more", len(texts)-i)
				break
			}
			b.WriteByte('\n')
		}
		b.WriteString(within(text, most))
	}
	return b.String()
}

// bounded is warnings as the API server shows them in full: of one line each, and within its limits.
func bounded(warnings []string) []string {
	total := 0
	for i, w := range warnings {
		w = within(strings.Join(lines(w), " "), maxWarning)
		warnings[i] = w
		total += len(w)
		more := fmt.Sprintf("and %d more warnings", len(warnings)-i)
		if total+len(more) > maxAllWarnings {
			return append(warnings[:i], more)
		}
	}
	return warnings
}

// within cuts s to at most so many bytes.
func within(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}
