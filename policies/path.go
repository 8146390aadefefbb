package policies

import (
	"strconv"
	"strings"
)

// Path names a field of an object from its root. A step is a string (a key of a map) or an int (an index of a list).
type Path []any

// String writes p as Kubernetes writes a field path: spec.containers[0].image, metadata.labels[app.kubernetes.io/name].
// A key that would not read back as itself in dotted form is put in brackets (k8s.io/apimachinery/pkg/util/validation/field).
func (p Path) String() string {
	var b strings.Builder
	for i, step := range p {
		switch s := step.(type) {
		case int:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s))
			b.WriteByte(']')
		case string:
			switch {
			case !plainKey(s):
				b.WriteByte('[')
				if ambiguousKey(s) {
					b.WriteString(strconv.Quote(s))
				} else {
					b.WriteString(s)
				}
				b.WriteByte(']')
			case i == 0:
				b.WriteString(s)
			default:
				b.WriteByte('.')
				b.WriteString(s)
			}
		}
	}
	return b.String()
}

// Append returns p with steps added; p is not changed and shares no memory with the result.
func (p Path) Append(steps ...any) Path {
	out := make(Path, 0, len(p)+len(steps))
	return append(append(out, p...), steps...)
}

// ParsePath reads what String writes, and the near forms that policy engines write: quoted keys in brackets and a leading
// dot. A bracket that is never closed makes the rest one key, so that no text is an error.
func ParsePath(s string) Path {
	var p Path
	for len(s) > 0 {
		switch s[0] {
		case '.':
			s = s[1:]
		case '[':
			step, rest := parseBracket(s[1:])
			p, s = append(p, step), rest
		default:
			n := strings.IndexAny(s, ".[")
			if n < 0 {
				n = len(s)
			}
			p, s = append(p, s[:n]), s[n:]
		}
	}
	return p
}

func parseBracket(s string) (step any, rest string) {
	if quoted, err := strconv.QuotedPrefix(s); err == nil && strings.HasPrefix(s[len(quoted):], "]") {
		key, err := strconv.Unquote(quoted)
		if err == nil {
			return key, s[len(quoted)+1:]
		}
	}
	if len(s) > 1 && s[0] == '\'' {
		if end := strings.Index(s, "']"); end > 0 {
			return s[1:end], s[end+2:]
		}
	}
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return s, ""
	}
	inner, rest := s[:end], s[end+1:]
	if n, err := strconv.Atoi(inner); err == nil && n >= 0 && strconv.Itoa(n) == inner {
		return n, rest
	}
	return inner, rest
}

func plainKey(s string) bool {
	return s != "" && !strings.ContainsAny(s, ".[]/\"' ")
}

// ambiguousKey says that s inside bare brackets would read back as something else.
func ambiguousKey(s string) bool {
	if s == "" || strings.ContainsAny(s, "]\"'\\") {
		return true
	}
	_, err := strconv.Atoi(s)
	return err == nil
}

// Lookup returns the value at p in content, and whether it is there.
func Lookup(content any, p Path) (any, bool) {
	for _, step := range p {
		switch s := step.(type) {
		case string:
			m, ok := content.(map[string]any)
			if !ok {
				return nil, false
			}
			if content, ok = m[s]; !ok {
				return nil, false
			}
		case int:
			l, ok := content.([]any)
			if !ok || s < 0 || s >= len(l) {
				return nil, false
			}
			content = l[s]
		default:
			return nil, false
		}
	}
	return content, true
}
