package manifest

import "strings"

// Line implements policies.TextSource. A Secret shows no lines.
func (s *source) Line(n int) (string, bool) {
	if s.secret {
		return "", false
	}
	rest := s.doc.text
	for line := s.doc.line; line <= n; line++ {
		text, after, more := strings.Cut(rest, "\n")
		if line == n {
			// A document that begins inside a line does not have the whole of it.
			if line == s.doc.line && s.doc.col > 1 {
				return "", false
			}
			return strings.TrimSuffix(text, "\r"), true
		}
		if !more {
			return "", false
		}
		rest = after
	}
	return "", false
}
