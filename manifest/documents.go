package manifest

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
)

// Documents reads a text of any content: each YAML or JSON document is one (policies.NewDocument), whatever it holds, and an empty one is none.
// asJSON refuses what is not JSON. The values, the limits and the problems are those of Decode.
func Documents(file string, text []byte, lim Limits, asJSON bool) ([]*policies.Object, []Problem) {
	s := newSplitter(file, text, nil, lim.orDefault())
	var objects []*policies.Object
	var problems []Problem
	for {
		d, problem := s.nextDocument(asJSON)
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		if d == nil {
			return objects, problems
		}
		var root any
		var wrong []Problem
		if asJSON {
			root, wrong = d.strictJSON(s.limits)
		} else {
			root, wrong = s.decode(d)
		}
		problems = append(problems, wrong...)
		if root == nil {
			continue
		}
		source := &source{doc: d, beside: d.maybeSecret()}
		pos, _ := source.start()
		origin := policies.Origin{File: file, Document: len(objects), Line: pos.Line, Column: pos.Column}
		objects = append(objects, policies.NewDocument(root, origin, source))
	}
}

// nextDocument is next, but what is JSON by its name is cut nowhere else than behind its values.
func (s *splitter) nextDocument(asJSON bool) (*document, *Problem) {
	if !asJSON {
		return s.next()
	}
	s.skipBlank()
	if strings.TrimSpace(string(s.buf[s.pos:])) == "" {
		s.consume(len(s.buf) - s.pos)
		return nil, nil
	}
	n, ok := s.jsonEnd()
	if !ok || s.buf[s.pos] != '{' && s.buf[s.pos] != '[' {
		n = len(s.buf) - s.pos
	}
	d := s.document(n)
	s.consume(n)
	if n > s.limits.Document {
		return nil, s.tooLarge(d)
	}
	d.json = true
	return d, nil
}

// strictJSON makes the value of d, which has to be JSON.
func (d *document) strictJSON(lim Limits) (any, []Problem) {
	if p := d.encoding(); p != nil {
		return nil, []Problem{*p}
	}
	if utf8.ValidString(d.text) {
		if root, ok := d.parse(lim); ok {
			return root.value, root.problems
		}
	}
	if p := d.notJSON(); p != nil {
		return nil, []Problem{*p}
	}
	return d.library(lim) // which has the words for what breaks a limit
}

// notJSON is the problem of a text that is no JSON value; nil when it is one.
func (d *document) notJSON() *Problem {
	at, why := jsonError(d.text)
	if why == "" {
		return nil
	}
	return d.problem(RuleSyntax, at, 0, fmt.Sprintf("text is not JSON: %s", why), "")
}
