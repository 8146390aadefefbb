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
	return []*policies.Object{policies.NewDocument(value, origin, &tomlPlaces{file: file, text: text})}, nil
}

// tomlPlaces finds keys where they are written: the parser tells the place of a key to whom decodes it, in the error of that. It is asked only
// when a finding needs it. Safe for concurrent use.
type tomlPlaces struct {
	file string
	text []byte
}

// Locate implements policies.Source. An array of tables has one place for all of them, which is none.
func (t *tomlPlaces) Locate(p policies.Path, _ policies.Aspect) (policies.Position, int) {
	at := policies.Position{File: t.file, Line: 1, Column: 1}
	var table map[string]toml.Primitive
	meta, err := toml.Decode(string(t.text), &table)
	if err != nil {
		return at, 0
	}
	for steps, step := range p {
		key, _ := step.(string)
		value, ok := table[key]
		if !ok {
			return at, steps
		}
		var told toml.ParseError
		probe := &placeless{}
		found := errors.As(meta.PrimitiveDecode(value, probe), &told) && told.Position.Line > 0
		if _, many := probe.value.([]map[string]any); many {
			return at, steps
		}
		if found { // a table that only dotted names make is written nowhere
			at = position(t.file, t.text, told.Position.Line, max(told.Position.Col, 1), 0)
		}
		table = nil
		if meta.PrimitiveDecode(value, &table) != nil {
			return at, steps + 1
		}
	}
	return at, len(p)
}

// placeless takes every value and says that it is none, so that to decode it tells where it is written.
type placeless struct{ value any }

// UnmarshalTOML implements toml.Unmarshaler.
func (p *placeless) UnmarshalTOML(value any) error {
	p.value = value
	return errors.New("no value")
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
