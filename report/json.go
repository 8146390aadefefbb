package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
)

// JSONVersion is the version of the json format: the minor number grows with every new field, the major one with a change that
// could break a reader.
const JSONVersion = "1.1"

//go:embed schema/report-v1.schema.json
var jsonSchema []byte

// JSONSchema returns the JSON Schema (draft 2020-12) of the json format.
func JSONSchema() []byte { return slices.Clone(jsonSchema) }

// jsonSink writes one JSON document with one decision a line. Its fields are described in schema/report-v1.schema.json.
type jsonSink struct {
	out   *output
	opts  Options
	flat  *flattener
	begun bool
	some  bool

	ledger *ledger // nil unless it is said by control too
}

type jsonTool struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type jsonDecision struct {
	Object    jsonObject   `json:"object"`
	Operation string       `json:"operation,omitempty"`
	Verdict   string       `json:"verdict"`
	Complete  bool         `json:"complete"`
	Results   []jsonResult `json:"results"`
	Passed    []string     `json:"passed"`
}

type jsonObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	File       string `json:"file,omitempty"`
	Document   int    `json:"document"`
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	Commit     string `json:"commit,omitempty"`
}

type jsonResult struct {
	Policy   string         `json:"policy"`
	Outcome  string         `json:"outcome"`
	Action   string         `json:"action"`
	Pod      bool           `json:"pod,omitempty"`
	Findings []jsonFinding  `json:"findings,omitempty"`
	Evidence []jsonEvidence `json:"evidence,omitempty"`
	Reason   string         `json:"reason,omitempty"`
}

type jsonFinding struct {
	ID          string      `json:"id"`
	Rule        string      `json:"rule,omitempty"`
	Level       string      `json:"level"`
	Message     string      `json:"message"`
	Path        string      `json:"path,omitempty"`
	Fix         string      `json:"fix,omitempty"`
	URL         string      `json:"url,omitempty"`
	File        string      `json:"file,omitempty"`
	Line        int         `json:"line,omitempty"`
	Column      int         `json:"column,omitempty"`
	EndColumn   int         `json:"endColumn,omitempty"`
	Source      string      `json:"source,omitempty"`
	Fingerprint string      `json:"fingerprint"`
	Before      bool        `json:"before,omitempty"`
	Exempted    *jsonExempt `json:"exempted,omitempty"`
}

type jsonExempt struct {
	Reason string `json:"reason"`
	Until  string `json:"until,omitempty"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
}

type jsonEvidence struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

type jsonPolicy struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind,omitempty"`
	Action   string   `json:"action"`
	Severity string   `json:"severity,omitempty"`
	Doc      string   `json:"doc,omitempty"`
	URL      string   `json:"url,omitempty"`
	Controls []string `json:"controls,omitempty"`
	Rules    []string `json:"rules,omitempty"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
}

type jsonSummary struct {
	Bundle    string         `json:"bundle"`
	Verdict   string         `json:"verdict"`
	ExitCode  int            `json:"exitCode"`
	Files     int            `json:"files"`
	Objects   int            `json:"objects"`
	Counts    jsonCounts     `json:"counts"`
	Deferred  []jsonDeferral `json:"deferred"`
	Skipped   []jsonSkipped  `json:"skipped"`
	Stopped   string         `json:"stopped,omitempty"`
	ElapsedMS int64          `json:"elapsedMs"`
}

type jsonCounts struct {
	Passed     int `json:"passed"`
	Warned     int `json:"warned"`
	Unsure     int `json:"unsure"`
	Denied     int `json:"denied"`
	Violations int `json:"violations"`
	Warnings   int `json:"warnings"`
	Audited    int `json:"audited"`
	Exempted   int `json:"exempted"`
	Failures   int `json:"failures"`
}

type jsonDeferral struct {
	Policy  string   `json:"policy"`
	Needs   []string `json:"needs"`
	Objects int      `json:"objects"`
}

type jsonSkipped struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

func (s *jsonSink) begin() error {
	if s.begun {
		return nil
	}
	s.begun = true
	tool, err := encode(jsonTool{"gitgate", s.opts.Version})
	if err != nil {
		return err
	}
	s.out.printf("{\n\"version\": %q,\n\"tool\": %s,\n\"decisions\": [", JSONVersion, tool)
	return nil
}

func (s *jsonSink) Decision(d policies.Decision) error {
	if err := s.begin(); err != nil {
		return err
	}
	line, err := encode(s.decision(&d))
	if err != nil {
		return err
	}
	if s.some {
		s.out.string(",")
	}
	s.some = true
	s.out.string("\n")
	s.out.bytes(line)
	return s.out.err
}

func (s *jsonSink) decision(d *policies.Decision) jsonDecision {
	o := d.Subject
	out := jsonDecision{
		Object: jsonObject{
			APIVersion: o.Kind.APIVersion(), Kind: o.Kind.Kind, Namespace: o.Namespace, Name: o.Name, File: o.Origin.File,
			Document: o.Origin.Document, Line: o.Origin.Line, Column: o.Origin.Column, Commit: o.Origin.Commit,
		},
		Operation: string(d.Operation), Verdict: d.Verdict().String(), Complete: d.Complete(), Results: []jsonResult{}, Passed: []string{},
	}
	rows := s.flat.rows(d)
	if s.ledger != nil {
		s.ledger.add(d, rows)
	}
	for i := range d.Results {
		r := &d.Results[i]
		if r.Outcome == policies.Passed && len(r.Finding.Evidence) == 0 {
			out.Passed = append(out.Passed, r.Policy.Name)
			continue
		}
		result := jsonResult{Policy: r.Policy.Name, Outcome: outcome(r), Action: r.Action().String(), Pod: r.Pod}
		for _, e := range r.Finding.Evidence {
			result.Evidence = append(result.Evidence, jsonEvidence(e))
		}
		for j := range rows {
			if rows[j].result == i {
				result.Findings = append(result.Findings, finding(&rows[j]))
			}
		}
		switch r.Outcome {
		case policies.Skipped:
			result.Reason = r.Finding.Skipped
		case policies.Deferred:
			result.Reason = "needs " + r.Missing
		}
		out.Results = append(out.Results, result)
	}
	return out
}

func outcome(r *policies.Result) string {
	switch r.Outcome {
	case policies.Passed, policies.Skipped, policies.Violated, policies.Deferred:
		return r.Outcome.String()
	default:
		return policies.Failed.String()
	}
}

func finding(r *row) jsonFinding {
	out := jsonFinding{
		ID: r.id, Rule: r.rule, Level: r.level.String(), Message: r.message, Path: r.path.String(), Fix: r.fix, URL: r.url,
		File: r.pos.File, Line: r.pos.Line, Column: r.pos.Column, EndColumn: r.pos.EndColumn, Source: r.pos.Text, Fingerprint: r.fingerprint, Before: r.before,
	}
	if x := r.exempt; x != nil {
		out.Exempted = &jsonExempt{Reason: x.Reason, File: x.Pos.File, Line: x.Pos.Line}
		if !x.Until.IsZero() {
			out.Exempted.Until = lastDay(x.Until)
		}
	}
	return out
}

func (s *jsonSink) Close(sum Summary) error {
	if err := s.begin(); err != nil {
		return err
	}
	list := make([]jsonPolicy, len(sum.Policies))
	for i, p := range sum.Policies {
		list[i] = jsonPolicy{
			Name: p.Name, Kind: p.Kind, Action: p.Action.String(), Severity: severity(p), Doc: p.Doc, URL: p.URL,
			Controls: p.Controls, Rules: p.Rules, File: p.Origin.File, Line: p.Origin.Line,
		}
	}
	slices.SortFunc(list, func(a, b jsonPolicy) int { return strings.Compare(a.Name, b.Name) })
	s.out.string("\n],\n\"policies\": [")
	for i := range list {
		line, err := encode(list[i])
		if err != nil {
			return err
		}
		if i > 0 {
			s.out.string(",")
		}
		s.out.string("\n")
		s.out.bytes(line)
	}
	s.out.string("\n]")
	if s.ledger != nil {
		s.out.string(",\n\"controls\": [")
		for i, c := range s.ledger.controlsJSON(&sum) {
			line, err := encode(c)
			if err != nil {
				return err
			}
			if i > 0 {
				s.out.string(",")
			}
			s.out.string("\n")
			s.out.bytes(line)
		}
		s.out.string("\n]")
	}
	summary, err := encode(summaryOf(&sum))
	if err != nil {
		return err
	}
	s.out.string(",\n\"summary\": ")
	s.out.bytes(summary)
	s.out.string("\n}\n")
	return s.out.flush()
}

// severity is p's in the words that the schema knows; "" for any other.
func severity(p *policies.Policy) string {
	switch p.Severity {
	case policies.Info, policies.Low, policies.Medium, policies.High, policies.Critical:
		return string(p.Severity)
	}
	return ""
}

func summaryOf(sum *Summary) jsonSummary {
	out := jsonSummary{
		Bundle: sum.Digest, Verdict: sum.Verdict.String(), ExitCode: sum.ExitCode, Files: sum.Files, Objects: sum.Objects,
		Counts: jsonCounts(sum.Counts), Deferred: make([]jsonDeferral, len(sum.Deferred)), Skipped: make([]jsonSkipped, len(sum.Skipped)),
		Stopped: sum.Stopped, ElapsedMS: sum.Elapsed.Milliseconds(),
	}
	for i, d := range sum.Deferred {
		out.Deferred[i] = jsonDeferral{d.Policy, append([]string{}, d.Needs...), d.Objects}
	}
	for i, f := range sum.Skipped {
		out.Skipped[i] = jsonSkipped(f)
	}
	return out
}

// encode is v as JSON in one line. Characters that a terminal could obey or a reader not see are escaped, which changes nothing
// of what the JSON says.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if !bytes.ContainsFunc(text, hidden) {
		return text, nil
	}
	out := make([]byte, 0, len(text)+16)
	for _, r := range string(text) {
		switch {
		case !hidden(r):
			out = utf8.AppendRune(out, r)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		}
	}
	return out, nil
}

func hidden(r rune) bool { return r > '~' && !shows(r) && r != utf8.RuneError }
