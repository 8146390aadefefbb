package document

import (
	"strconv"
	"strings"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// parseDotenv reads lines of NAME=VALUE. A value in double quotes has the escapes of Go's strings, one in single quotes has none, and
// " #" ends one without quotes. Variables in values are kept as they are written. Its lines are never shown: their values are secrets.
func parseDotenv(file string, text []byte, lim manifest.Limits) ([]*policies.Object, []manifest.Problem) {
	if p := tooLarge(file, text, lim); p != nil {
		return nil, p
	}
	root := &node{at: policies.Position{File: file, Line: 1, Column: 1}}
	values := map[string]any{}
	var problems []manifest.Problem
	line := 0
	for raw := range strings.Lines(string(text)) {
		line++
		said := strings.TrimSpace(raw)
		if said == "" || said[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(said, "export ")), "=")
		name = strings.TrimSpace(name)
		if ok && isVariable(name) {
			value, ok = unquoted(strings.TrimSpace(value))
		} else {
			ok = false
		}
		if !ok {
			if len(problems) < maxProblems {
				problems = append(problems, problem(manifest.RuleSyntax, file, nil, line, 1, "line is no variable, expected NAME=VALUE"))
			}
			continue
		}
		values[name] = value
		root.field(name).at = policies.Position{File: file, Line: line, Column: strings.Index(raw, name) + 1}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return []*policies.Object{policies.NewDocument(values, policies.Origin{File: file, Line: 1, Column: 1}, root)}, nil
}

func isVariable(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	})
}

func unquoted(value string) (string, bool) {
	switch {
	case strings.HasPrefix(value, `"`):
		quoted, err := strconv.QuotedPrefix(value)
		if err != nil || !isComment(value[len(quoted):]) {
			return "", false
		}
		s, err := strconv.Unquote(quoted)
		return s, err == nil
	case strings.HasPrefix(value, "'"):
		inside, rest, found := strings.Cut(value[1:], "'")
		return inside, found && isComment(rest)
	}
	if i := strings.Index(value, " #"); i >= 0 {
		value = strings.TrimSpace(value[:i])
	}
	return value, true
}

func isComment(rest string) bool {
	rest = strings.TrimSpace(rest)
	return rest == "" || rest[0] == '#'
}
