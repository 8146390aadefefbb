package opa

import (
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Message is what OPA says in the voice of gitgate: one line, lower case, no final stop.
func Message(e *ast.Error) string {
	text := e.Message
	if call, ok := strings.CutPrefix(text, "undefined function "); ok && IsGuarded(call) {
		return Refusal(call)
	}
	var b strings.Builder
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			if i > 0 {
				b.WriteString("; ")
			}
			b.WriteString(line)
		}
	}
	text = strings.TrimSuffix(b.String(), ".")
	if first, size := utf8.DecodeRuneInString(text); size > 0 && size < len(text) {
		if next := text[size]; next >= 'a' && next <= 'z' {
			text = strings.ToLower(string(first)) + text[size:]
		}
	}
	return text
}
