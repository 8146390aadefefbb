package document

import (
	"errors"
	"fmt"
	"time"

	"github.com/BurntSushi/toml"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

func parseTOML(file string, text []byte, lim manifest.Limits) (objects []*policies.Object, problems []manifest.Problem) {
	if p := tooLarge(file, text, lim); p != nil {
		return nil, p
	}
	if most := depthOf(lim); deepest(text) > most {
		return nil, []manifest.Problem{problem(manifest.RuleTooDeep, file, nil, 0, 0, "document has more than %d levels, expected less", most)}
	}
	var root map[string]any
	if _, err := toml.Decode(string(text), &root); err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			return nil, []manifest.Problem{problem(manifest.RuleSyntax, file, text, at.Position.Line, max(at.Position.Col, 1), "text is no TOML: %s", at.Message)}
		}
		return nil, []manifest.Problem{problem(manifest.RuleSyntax, file, nil, 0, 0, "text is no TOML: %v", err)}
	}
	value, err := plainTOML(root)
	if err != nil {
		return nil, []manifest.Problem{problem(manifest.RuleSyntax, file, nil, 0, 0, "%v", err)}
	}
	origin := policies.Origin{File: file, Line: 1, Column: 1}
	return []*policies.Object{policies.NewDocument(value, origin, &node{at: policies.Position{File: file, Line: 1, Column: 1}})}, nil
}

// deepest counts how deep brackets and dotted names lead at most. The parser recurses for the first, and makes a map for each of the second.
func deepest(text []byte) int {
	depth, dots, most := 0, 0, 0
	for _, b := range text {
		switch b {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		case '.':
			dots++
		case '\n':
			dots = 0
		}
		most = max(most, depth+dots)
	}
	return most
}

// plainTOML makes values that JSON has of those of TOML: times become text.
func plainTOML(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			plain, err := plainTOML(item)
			if err != nil {
				return nil, err
			}
			out[key] = plain
		}
		return out, nil
	case []map[string]any:
		return plainList(v)
	case []any:
		return plainList(v)
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	case string, bool, int64, float64:
		return v, nil
	default:
		return nil, fmt.Errorf("value of type %T has no form in JSON", v)
	}
}

func plainList[T any](list []T) (any, error) {
	out := make([]any, len(list))
	for i, item := range list {
		plain, err := plainTOML(item)
		if err != nil {
			return nil, err
		}
		out[i] = plain
	}
	return out, nil
}
