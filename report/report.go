// Package report turns decisions into text for people and for machines: one Sink a format, one file a format. It speaks in the
// nouns of policies and knows nothing else: not which kinds of policy exist, where changes come from, or what a flag or a
// terminal is. Every sink writes a decision when it comes and keeps no more than what its format's footer needs.
package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Sink takes the decisions of one run, in the order in which they are to be shown, and its summary. Close ends the document; it
// does not close the writer below. A Sink is not safe for concurrent use. An error means that the output is not complete.
type Sink interface {
	Decision(policies.Decision) error
	Close(Summary) error
}

// Options is what a sink may be told. The zero value is plain text of any width about files named as they were given.
type Options struct {
	Version    string // gitgate's own version, for the formats that name their tool; "" is left out
	Color      bool   // text: colour by ANSI escapes
	Width      int    // text: columns of the terminal; 0 never wraps
	Verbose    bool   // text: also exempted violations and where more is said
	FailOnWarn bool   // a warning counts as a denial: junit shows it as a failure
	ByControl  bool   // text: by the controls that policies serve; json: these too. Other formats: New refuses it

	// Root is the repository's root and Dir the folder that relative file names start from, absolute and slash-separated. Outside
	// of a repository Root is "" and Dir stands for it. Formats that a forge reads (sarif, github, gitlab) name files from Root,
	// all others as the user named them.
	Root, Dir string
}

// Formats lists the names that New knows, sorted.
func Formats() []string {
	return []string{"github", "gitlab", "json", "junit", "sarif", "text"}
}

// ControlFormats lists the formats that can say what was found by control.
func ControlFormats() []string { return []string{"json", "text"} }

// New makes the sink of a format that writes to w.
func New(format string, w io.Writer, o Options) (Sink, error) {
	out := &output{w: bufio.NewWriterSize(w, 64<<10)}
	flat := &flattener{prints: fingerprints{name: func(file string) string { name, _ := o.fromRoot(file); return name }}}
	if o.ByControl && !slices.Contains(ControlFormats(), format) {
		return nil, fmt.Errorf("output format %q says nothing by control, expected one of %s", format, strings.Join(ControlFormats(), ", "))
	}
	switch format {
	case "text":
		if o.ByControl {
			return &controlTextSink{&textSink{out: out, opts: o, flat: flat}, newLedger()}, nil
		}
		return &textSink{out: out, opts: o, flat: flat}, nil
	case "json":
		s := &jsonSink{out: out, opts: o, flat: flat}
		if o.ByControl {
			s.ledger = newLedger()
		}
		return s, nil
	case "sarif":
		return &sarifSink{out: out, opts: o, flat: flat}, nil
	case "junit":
		return &junitSink{out: out, opts: o, flat: flat}, nil
	case "github":
		return &githubSink{out: out, opts: o, flat: flat}, nil
	case "gitlab":
		return &gitlabSink{out: out, opts: o, flat: flat}, nil
	}
	return nil, fmt.Errorf("output format %q is not known, expected one of %s", format, strings.Join(Formats(), ", "))
}

// output is a buffered writer that remembers its first error.
type output struct {
	w   *bufio.Writer
	err error
}

func (o *output) string(s string) {
	if o.err == nil {
		_, o.err = o.w.WriteString(s)
	}
}

func (o *output) bytes(b []byte) {
	if o.err == nil {
		_, o.err = o.w.Write(b)
	}
}

func (o *output) printf(format string, args ...any) {
	if o.err == nil {
		_, o.err = fmt.Fprintf(o.w, format, args...)
	}
}

// flush hands everything to the writer below and returns the first error of all writes, as the writer said it.
func (o *output) flush() error {
	if o.err == nil {
		o.err = o.w.Flush()
	}
	return o.err
}

// level is what a row means for the change.
type level int

const (
	audited level = iota + 1
	warned
	unsure
	denied
)

// String names l as the json format does.
func (l level) String() string {
	switch l {
	case audited:
		return "audit"
	case warned:
		return "warn"
	case unsure:
		return "unsure"
	default:
		return "deny"
	}
}

// row is one thing to tell of a change: a violation, or that a policy could not judge.
type row struct {
	level       level
	policy      *policies.Policy
	result      int    // index of its Result in the decision
	id          string // policy or policy/rule: stable between runs
	rule        string
	message     string // one line; control characters are still in it
	fix         string
	url         string
	path        policies.Path
	pos         policies.Position
	pod         bool
	before      bool                // the object before the change had it too
	exempt      *policies.Exemption // nil for one that counts
	fingerprint string
}

// flattener makes rows of decisions. Decisions have to come file by file: it keeps which fingerprints a file has had.
type flattener struct{ prints fingerprints }

// rows lists what d has to tell, sorted by place.
func (f *flattener) rows(d *policies.Decision) []row {
	var rows []row
	for i := range d.Results {
		r := &d.Results[i]
		switch r.Outcome {
		case policies.Violated:
			for j := range r.Finding.Violations {
				rows = append(rows, violationRow(d, i, j))
			}
		case policies.Passed, policies.Skipped, policies.Deferred:
		default:
			rows = append(rows, failureRow(d, i))
		}
	}
	slices.SortStableFunc(rows, compareRows)
	for i := range rows {
		rows[i].fingerprint = f.prints.of(&d.Subject, &rows[i])
	}
	return rows
}

func violationRow(d *policies.Decision, i, j int) row {
	r := &d.Results[i]
	v := &r.Finding.Violations[j]
	out := row{
		policy: r.Policy, result: i, id: ruleID(r.Policy.Name, v.Rule), rule: v.Rule, message: oneLine(v.Message),
		fix: strings.TrimSpace(v.Fix), url: v.URL, path: v.Path, pos: v.Pos, pod: r.Pod, before: v.Before,
	}
	switch r.ActionOf(j) {
	case policies.Audit:
		out.level = audited
	case policies.Warn:
		out.level = warned
	default:
		out.level = denied
	}
	if !r.Standing(j) {
		out.exempt = r.Exempted[j]
	}
	out.complete(d)
	return out
}

func failureRow(d *policies.Decision, i int) row {
	r := &d.Results[i]
	out := row{level: unsure, policy: r.Policy, result: i, id: r.Policy.Name, pod: r.Pod, message: "no reason given"}
	if r.Err != nil {
		out.message, out.pos = reasonOf(r.Err)
	}
	out.complete(d)
	if name := subject(d); name != "" {
		out.message = name + ": " + out.message
	}
	return out
}

// subject names what d is about; "" when that is no more than a file.
func subject(d *policies.Decision) string {
	if d.Subject.Kind.Kind == "" && d.Subject.Name == "" {
		return ""
	}
	return d.Subject.Text
}

func (r *row) complete(d *policies.Decision) {
	if r.url == "" {
		r.url = r.policy.URL
	}
	if r.pos.File == "" {
		r.pos.File = d.Subject.Origin.File
		if r.pos.Line == 0 {
			r.pos.Line, r.pos.Column = d.Subject.Origin.Line, d.Subject.Origin.Column
		}
	}
	if isSecret(d) {
		r.redact()
	}
}

func ruleID(policy, rule string) string {
	if rule == "" {
		return policy
	}
	return policy + "/" + rule
}

func compareRows(a, b row) int {
	for _, c := range []int{
		strings.Compare(a.pos.File, b.pos.File), a.pos.Line - b.pos.Line, a.pos.Column - b.pos.Column,
		strings.Compare(a.id, b.id), strings.Compare(a.message, b.message),
	} {
		if c != 0 {
			return c
		}
	}
	return 0
}
