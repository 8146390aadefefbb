package kyverno

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// variablePattern is {{ … }} that no backslash escapes, with the character before it (Kyverno's pkg/engine/variables/regex).
var variablePattern = regexp.MustCompile(`(^|[^\\])(\{\{(?:\{[^{}]*\}|[^{}])*\}\})`)

// maxSubstitutions bounds how often one text is filled in: a value that brings variables of its own is filled in again.
const maxSubstitutions = 256

var errTooManyVariables = errors.New("variables bring ever more variables: expected an end to it")

// substitute returns document with its variables filled in, keys included. It shares nothing with document, so that what is
// done to the result is done to nobody else's.
func (s *scope) substitute(document any) (any, error) {
	switch d := document.(type) {
	case string:
		v, err := s.fill(d)
		if err != nil {
			return nil, err
		}
		return copied(v), nil
	case []any:
		out := make([]any, len(d))
		for i, v := range d {
			var err error
			if out[i], err = s.substitute(v); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(d))
		for _, k := range sortedKeys(d) {
			key, err := s.fill(k)
			if err != nil {
				return nil, err
			}
			name, ok := key.(string)
			if !ok {
				return nil, fmt.Errorf("key %q: expected a text of its variable, got %s", shorten(k), describe(key))
			}
			if out[name], err = s.substitute(d[k]); err != nil {
				return nil, err
			}
		}
		return out, nil
	default:
		return document, nil
	}
}

// fillText is fill for a message: a value that is no text is written as JSON.
func (s *scope) fillText(text string) (string, error) {
	v, err := s.fill(text)
	if err != nil {
		return "", err
	}
	return asText(v)
}

func asText(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	text, err := json.Marshal(v)
	return string(text), err
}

// fill fills in the variables of one text. A text that is one variable becomes its value; in others values are written in.
// Values that hold variables are filled in again, unless the variable is written {{- … }}.
func (s *scope) fill(text string) (any, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	for range maxSubstitutions {
		at := variablePattern.FindStringSubmatchIndex(text)
		if at == nil {
			return strings.ReplaceAll(text, `\{{`, "{{"), nil
		}
		start, end := at[4], at[5]
		query, once := expressionOf(text[start:end])
		if s.operation == "DELETE" {
			query = strings.ReplaceAll(query, "request.object", "request.oldObject")
		}
		value, err := s.query(query)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", text[start:end], err)
		}
		if start == 0 && end == len(text) {
			return value, nil
		}
		written, err := asText(value)
		if err != nil {
			return nil, err
		}
		if once {
			written = strings.ReplaceAll(written, "{{", `\{{`)
		}
		text = text[:start] + written + text[end:]
	}
	return nil, errTooManyVariables
}

// expressionOf takes the braces off a variable; once says that its value is not to be filled in again.
func expressionOf(variable string) (expression string, once bool) {
	expression = strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(variable, "{{", ""), "}}", ""))
	if rest, ok := strings.CutPrefix(expression, "-"); ok {
		return strings.TrimSpace(rest), true
	}
	return expression, false
}

// hasVariables says whether document has anything to fill in.
func hasVariables(document any) bool {
	switch d := document.(type) {
	case string:
		return strings.Contains(d, "{{")
	case []any:
		for _, v := range d {
			if hasVariables(v) {
				return true
			}
		}
	case map[string]any:
		for k, v := range d {
			if strings.Contains(k, "{{") || hasVariables(v) {
				return true
			}
		}
	}
	return false
}

// copied copies maps and lists.
func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = copied(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = copied(item)
		}
		return out
	default:
		return v
	}
}

// floats is v as a JSON decoder would have made it: every number a float64, as JMESPath wants them. Lists are copies, for JMESPath's
// sort_by sorts in place; maps are shared where nothing in them differs.
func floats(v any) any {
	out, _ := floated(v)
	return out
}

func floated(v any) (out any, differs bool) {
	switch v := v.(type) {
	case map[string]any:
		var copied map[string]any
		for k, item := range v {
			if item, differs := floated(item); differs {
				if copied == nil {
					copied = maps.Clone(v)
				}
				copied[k] = item
			}
		}
		switch {
		case copied != nil:
			return copied, true
		case v == nil:
			return map[string]any{}, true
		}
		return v, false
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i], _ = floated(item)
		}
		return list, true
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case nil, string, bool, float64:
		return v, false
	default:
		// A function of Kyverno's gave a type of its own, as items() does: what a JSON decoder makes of it.
		text, err := json.Marshal(v)
		if err != nil {
			return v, false
		}
		if err := json.Unmarshal(text, &out); err != nil {
			return v, false
		}
		return out, true
	}
}
