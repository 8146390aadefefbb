package report

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
)

// rule remembers a rule that was broken or could be.
func (s *sarifSink) rule(p *policies.Policy, id, link string) {
	if _, known := s.rules[id]; known {
		return
	}
	doc := oneLine(p.Doc)
	if doc == "" {
		doc = id
	}
	help, markdown := doc, doc
	if len(p.Controls) > 0 {
		controls := "Controls: " + strings.Join(p.Controls, ", ")
		help, markdown = help+"\n"+controls, markdown+"\n\n"+controls
	}
	if link != "" {
		help, markdown = help+"\n"+link, markdown+"\n\n<"+link+">"
	}
	level := "error"
	switch p.Action {
	case policies.Warn:
		level = "warning"
	case policies.Audit:
		level = "note"
	}
	if u, err := url.Parse(link); err != nil || !u.IsAbs() {
		link = ""
	}
	tags := []string{"kubernetes", "security"}
	if p.Kind != "" {
		tags = append(tags, p.Kind)
	}
	for _, c := range p.Controls {
		tags = append(tags, visible(c))
	}
	slices.Sort(tags)
	s.rules[id] = sarifRule{
		ID: id, Short: sarifText{visible(cut(firstSentence(doc)))}, Full: sarifText{visible(cut(doc))},
		Help: sarifHelp{help, markdown}, HelpURI: link, Default: sarifDefault{level},
		Property: sarifRuleProps{Tags: slices.Compact(tags), Severity: severity(p), Score: score(p.Severity)},
	}
}

// score places a severity in the middle of the band that GitHub code scanning shows by that name.
func score(s policies.Severity) string {
	switch s {
	case policies.Critical:
		return "9.5"
	case policies.High:
		return "8.0"
	case policies.Medium:
		return "5.5"
	case policies.Low:
		return "2.0"
	default:
		return ""
	}
}

func firstSentence(s string) string {
	if i := strings.Index(s, ". "); i > 0 {
		return s[:i+1]
	}
	return s
}

// cut keeps a description under the 1024 characters that GitHub code scanning takes; help holds all of it.
func cut(s string) string {
	const most = 1000
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}
