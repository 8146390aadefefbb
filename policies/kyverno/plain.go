package kyverno

import (
	"regexp"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// plain is an expression that only names a field of the request or of the element of a loop, as most lists and conditions do. It is answered
// without JMESPath, and without the whole request in the form of JSON, which costs a copy of both objects.
type plain struct {
	root     string   // request or element
	path     []string // below it
	fallback any      // in the place of what is missing, null or empty; nil for none
}

// plainPattern is a path of names without quotes, and no more after || than an empty list or a text.
var plainPattern = regexp.MustCompile("^(request|element)((?:\\.[A-Za-z_][A-Za-z0-9_]*)+)(?: *\\|\\| *(?:(`\\[\\]`)|'([^'\\\\]*)'))?$")

// plainOf reads an expression that JMESPath compiles; ok is false for one that is more than a path.
func plainOf(expression string) (p plain, ok bool) {
	m := plainPattern.FindStringSubmatch(expression)
	if m == nil {
		return plain{}, false
	}
	p.root, p.path = m[1], strings.Split(m[2][1:], ".")
	switch {
	case m[3] != "":
		p.fallback = []any{}
	case strings.Contains(expression, "||"):
		p.fallback = m[4]
	}
	return p, true
}

// of is what the expression finds in the request that c is; ok is false when JMESPath is to say it.
func (p plain) of(c *policies.Change) (v any, ok bool) {
	switch p.path[0] {
	case "object":
		return p.in(content(c.Object), p.path[1:])
	case "oldObject":
		return p.in(content(c.Old), p.path[1:])
	}
	rest, err := head(c)
	if err != nil {
		return nil, false
	}
	return p.in(rest, p.path)
}

// in is what the expression finds in a value below the path; ok is false when JMESPath is to say it: of what is missing and nothing stands for,
// which is an error, of maps, and of managedFields, of which only their list is copied for it. Like the request's own, a list is nobody else's.
func (p plain) in(at any, path []string) (v any, ok bool) {
	for _, name := range path {
		m, isMap := at.(map[string]any)
		v, found := m[name]
		if !isMap || !found {
			at = nil
			if p.fallback == nil {
				return nil, false
			}
			break
		}
		if at = v; name == "managedFields" {
			return nil, false
		}
	}
	if p.fallback != nil && empty(at) {
		at = p.fallback
	}
	switch at.(type) {
	case nil, string, bool, int64, float64, []any:
		return floats(at), true
	}
	return nil, false
}

// place is where in the object the expression finds what it finds; nil for what is elsewhere.
func (p plain) place() policies.Path {
	if p.root != "request" || p.path[0] != "object" {
		return nil
	}
	out := make(policies.Path, 0, len(p.path))
	for _, name := range p.path[1:] {
		out = append(out, name)
	}
	return out
}

func content(o *policies.Object) any {
	if o == nil {
		return nil
	}
	return o.Settled()
}

// empty is what JMESPath takes for false.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
