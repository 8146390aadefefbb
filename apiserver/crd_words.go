package apiserver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"gitgate.dev/gitgate/policies"
)

// tell puts what the strategy said of content into words.
func (v *customVersion) tell(a *Admission, o *policies.Object, content map[string]any, errs field.ErrorList, warnings []string) {
	var found []policies.Violation
	mistyped := map[string]bool{}
	if more := len(errs) - maxTold; more > 0 {
		errs = errs[:maxTold]
		defer func() { a.Violations = append(a.Violations, notTold(more)) }()
	}
	for _, e := range errs {
		switch {
		case e.Type == field.ErrorTypeInternal || strings.HasPrefix(e.Detail, "rule compile error"):
			a.Err = errors.Join(a.Err, fmt.Errorf("%s: %s: %s", o, v.definition.object, e.ErrorBody()))
			continue
		case strings.HasPrefix(e.Detail, "some validation rules were not checked"):
			a.Warnings = append(a.Warnings, policies.Violation{
				Rule: ruleNotJudged, Warning: true,
				Message: "the x-kubernetes-validations of the kind were not asked: they need an object without the errors told here",
			})
			continue
		}
		f := customViolation(e, content)
		if f.Rule == ruleType {
			mistyped[f.Path.String()] = true
		}
		found = append(found, f)
	}
	seen := map[string]bool{}
	for _, f := range found {
		at := f.Path.String()
		key := at + "\x00" + f.Message
		if f.Rule == ruleType {
			key = at
		}
		// A value of the wrong type is told once, not also by those that stumble over it.
		if !seen[key] && (f.Rule == ruleType || !mistyped[at]) {
			seen[key] = true
			a.Violations = append(a.Violations, f)
		}
	}
	if len(errs) > 0 {
		return
	}
	for _, text := range warnings {
		w := policies.Violation{Rule: ruleWarning, Message: lowerFirst(text), Warning: true}
		if path, rest, ok := strings.Cut(text, ": "); ok && !strings.ContainsAny(path, " ") {
			w.Path = findPath(path, content)
			w.Message = path + ": " + rest
		}
		a.Warnings = append(a.Warnings, w)
	}
}

// customViolation puts an error about a custom resource into our words. Schema errors are those of kube-openapi ("spec.size in
// body must be of type integer"), the others the API server's own or the CRD author's.
func customViolation(e *field.Error, content map[string]any) policies.Violation {
	p := findPath(e.Field, content)
	detail := e.Detail
	if at, said, ok := composed(e); ok {
		p = findPath(at, content)
		return policies.Violation{Rule: ruleInvalid, Path: p, Message: nameOf(p) + " " + said}
	}
	if said, at, ok := strings.Cut(strings.TrimPrefix(detail, "checked value "), " in "); ok && said != detail && len(p) == 0 {
		p = findPath(at, content)
		value, _ := policies.Lookup(content, p)
		wanted := strings.TrimPrefix(said, "must be of type ")
		if _, format, ok := strings.Cut(wanted, " with format "); ok {
			wanted = format
		}
		return policies.Violation{Rule: ruleInvalid, Path: p, Message: fmt.Sprintf("%s: expected %s, got %s", nameOf(p), wanted, describe(value))}
	}
	v := policies.Violation{Rule: ruleOf(e), Path: p}
	name := nameOf(p)
	if _, rest, ok := strings.Cut(detail, " in body "); ok {
		detail = rest
	}
	detail = clause(detail)
	value, written := policies.Lookup(content, p)
	if wanted, ok := wantedType(e); ok {
		v.Message = fmt.Sprintf("%s: expected %s, got %s", name, wanted, describe(value))
		return v
	}
	switch e.Type {
	case field.ErrorTypeRequired:
		v.Message = name + " is required"
	case field.ErrorTypeDuplicate:
		v.Message = name + " is a duplicate" + shown(": ", value)
	case field.ErrorTypeNotSupported:
		v.Message = name + ": unsupported value" + shown(" ", value)
		if s, ok := value.(string); ok {
			if near := nearest(s, supported(e.Detail), nil); near != "" {
				v.Fix = fmt.Sprintf("did you mean %q?", near)
			}
		}
		detail = strings.Replace(detail, "supported values: ", "expected one of ", 1)
	case field.ErrorTypeForbidden:
		v.Message = name + " is forbidden"
	case field.ErrorTypeTooLong, field.ErrorTypeTooShort, field.ErrorTypeTooMany, field.ErrorTypeTooFew:
		v.Message = name + ": " + lowerFirst(e.Type.String())
	default:
		v.Message = name
		if bad := shown(" ", value); written && bad != "" {
			v.Message += ": invalid value" + bad
		}
	}
	if v.Rule == ruleImmutable {
		v.Message = name + " cannot be changed"
		v.Fix = "keep the old value, or delete the object and create it anew"
	}
	if detail != "" {
		v.Message += ": " + detail
	}
	return v
}

// composed reads what kube-openapi says of anyOf, oneOf, allOf and not, which names its place only in the text
// (pkg/validation/validate/schema_messages.go).
func composed(e *field.Error) (at, said string, ok bool) {
	quoted, err := strconv.QuotedPrefix(e.Detail)
	if err != nil {
		return "", "", false
	}
	at, err = strconv.Unquote(quoted)
	if err != nil {
		return "", "", false
	}
	switch rest := e.Detail[len(quoted):]; {
	case strings.Contains(rest, "(anyOf)"):
		return at, "fits none of the schemas under anyOf, expected one at least", true
	case strings.Contains(rest, "(oneOf)") && strings.Contains(rest, "none"):
		return at, "fits none of the schemas under oneOf, expected exactly one", true
	case strings.Contains(rest, "(oneOf)"):
		return at, "fits more than one of the schemas under oneOf, expected exactly one", true
	case strings.Contains(rest, "(allOf)"):
		return at, "does not fit all of the schemas under allOf", true
	case strings.Contains(rest, "(not)"):
		return at, "fits the schema under not, expected that it does not", true
	}
	return "", "", false
}

// wantedType is the type that kube-openapi expected, when that is what an error is about.
func wantedType(e *field.Error) (string, bool) {
	_, wanted, ok := strings.Cut(e.Detail, "must be of type ")
	if !ok || e.Type != field.ErrorTypeTypeInvalid {
		return "", false
	}
	wanted, _, _ = strings.Cut(wanted, ":")
	return typeName(wanted), true
}

// typeName is a type of JSON Schema as our messages name it.
func typeName(schemaType string) string {
	switch schemaType {
	case "array":
		return "a list"
	case "object":
		return "a map"
	case "integer,string":
		return "integer or string"
	}
	return schemaType
}

// findPath turns the text of a path into the path of a field of content. Where a key has dots or brackets in it, the text alone
// does not tell where it ends, and content does.
func findPath(text string, content any) policies.Path {
	var p policies.Path
	if text == "<nil>" { // the object itself, as field.Path writes it
		return nil
	}
	for text != "" {
		if text[0] == '.' {
			text = text[1:]
			continue
		}
		step, rest, ok := nextStep(text, content)
		if !ok {
			return append(p, policies.ParsePath(text)...)
		}
		p, text = append(p, step), rest
		content, _ = policies.Lookup(content, policies.Path{step})
	}
	return p
}

// nextStep splits the first step off text: the longest one that content has.
func nextStep(text string, content any) (step any, rest string, ok bool) {
	switch c := content.(type) {
	case []any:
		inside, rest, closed := strings.Cut(strings.TrimPrefix(text, "["), "]")
		n, err := strconv.Atoi(inside)
		if text[0] != '[' || !closed || err != nil || n < 0 {
			return nil, "", false
		}
		return n, rest, true
	case map[string]any:
		if text[0] == '[' {
			for end := len(text) - 1; end > 0; end-- {
				if text[end] == ']' {
					if _, has := c[text[1:end]]; has {
						return text[1:end], text[end+1:], true
					}
				}
			}
			return nil, "", false
		}
		for end := len(text); end > 0; end-- {
			if end == len(text) || text[end] == '.' || text[end] == '[' {
				if _, has := c[text[:end]]; has {
					return text[:end], text[end:], true
				}
			}
		}
	}
	return nil, "", false
}

// orList joins names as people do.
func orList(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// clone copies a decoded value, so that what is shared is not changed.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, item := range v {
			m[k] = clone(item)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, item := range v {
			l[i] = clone(item)
		}
		return l
	}
	return v
}
