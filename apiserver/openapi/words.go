package openapi

import (
	"fmt"
	"strconv"
	"strings"
)

// name is what a value is, for people. It does not tell texts: one may be a secret in the wrong place.
func name(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "the boolean " + strconv.FormatBool(v)
	case int64:
		return "the number " + strconv.FormatInt(v, 10)
	case float64:
		return "the number " + strconv.FormatFloat(v, 'g', -1, 64)
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	}
	return fmt.Sprintf("a %T", value)
}

// describe is what a value of a form is, for people.
func (f *form) describe() string {
	switch f.sort {
	case structure, mapping:
		return "a map"
	case list:
		return "a list"
	case text:
		if f.enum != nil {
			return oneOf(f.enum)
		}
		return "a string"
	case boolean:
		return "true or false"
	case int32Number:
		return "a whole number of 32 bits"
	case int64Number:
		return "a whole number of 64 bits"
	case floatNumber:
		return "a number"
	case intOrString:
		return "a whole number of 32 bits or a string"
	case quantity:
		return "a quantity such as 500m, 2 or 1Gi"
	case timestamp:
		return "a time such as 2006-01-02T15:04:05Z"
	case base64Text:
		return "text in base64"
	}
	return "a value"
}

func oneOf(values []string) string {
	quoted := make([]string, 0, len(values))
	for _, v := range values {
		if v == "" {
			v = `""`
		}
		quoted = append(quoted, v)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}

func cut(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}
