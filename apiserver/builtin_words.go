package apiserver

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"gitgate.dev/gitgate/policies"
)

// violationOf puts an error of the API server's validation into our words. The detail is the API server's own.
func violationOf(e *field.Error, o *policies.Object, m *made) policies.Violation {
	p, whole := writtenPath(policies.ParsePath(e.Field), m)
	name := ""
	if !whole {
		name = e.Field // the API server names more than there is to point at
	}
	if m.named && e.Field == "metadata.name" {
		p = policies.Path{"metadata", "generateName"}
	}
	v := policies.Violation{Rule: ruleOf(e)}
	if bad, ok := text(e.BadValue); ok && bad != "" {
		p, v.At = pinpoint(p, bad, o.Map())
	}
	if typed := p.Append("type"); e.Type == field.ErrorTypeNotSupported {
		// A union that is wrong because of its type.
		if written, ok := policies.Lookup(o.Map(), typed); ok {
			if bad, ok := written.(string); ok {
				p, e.BadValue = typed, bad
			}
		}
	}
	v.Path = p
	if name == "" {
		name = nameOf(p)
	}
	// Some details end with a dump of the internal types.
	detail, _, _ := strings.Cut(e.Detail, "\n")
	detail = clause(detail)
	if wanted, ok := wantedType(e); ok { // a default in a CRD
		value, _ := policies.Lookup(o.Map(), p)
		v.Message = fmt.Sprintf("%s: expected %s, got %s", name, wanted, describe(value))
		return v
	}
	switch e.Type {
	case field.ErrorTypeRequired:
		v.Message = name + " is required"
	case field.ErrorTypeDuplicate:
		v.Message = name + " is a duplicate" + shown(": ", e.BadValue)
	case field.ErrorTypeNotSupported:
		v.Message = name + ": unsupported value" + shown(" ", e.BadValue)
		if s, ok := text(e.BadValue); ok {
			if near := nearest(s, supported(e.Detail), nil); near != "" {
				v.Fix = fmt.Sprintf("did you mean %q?", near)
			}
		}
		detail = strings.Replace(detail, "supported values: ", "expected one of ", 1)
	case field.ErrorTypeForbidden:
		v.Message = name + " is forbidden"
		if v.Rule == ruleImmutable {
			v.Message = name + " cannot be changed"
		}
	case field.ErrorTypeNotFound:
		v.Message = name + " is not found" + shown(": ", e.BadValue)
	case field.ErrorTypeTooLong, field.ErrorTypeTooShort, field.ErrorTypeTooMany, field.ErrorTypeTooFew:
		v.Message = name + ": " + lowerFirst(e.Type.String())
	default:
		v.Message = name + ": invalid value" + shown(" ", e.BadValue)
		if v.Rule == ruleImmutable {
			v.Message = name + " cannot be changed"
		}
	}
	if detail != "" {
		v.Message += ": " + detail
	}
	if v.Rule == ruleImmutable {
		v.Fix = "keep the old value, or delete the object and create it anew"
	}
	return v
}

func ruleOf(e *field.Error) string {
	if isImmutable(e) {
		return ruleImmutable
	}
	switch e.Type {
	case field.ErrorTypeRequired:
		return ruleRequired
	case field.ErrorTypeDuplicate:
		return ruleDuplicate
	case field.ErrorTypeNotSupported:
		return ruleUnsupported
	case field.ErrorTypeForbidden:
		return ruleForbidden
	case field.ErrorTypeNotFound:
		return ruleNotFound
	case field.ErrorTypeTypeInvalid:
		return ruleType
	case field.ErrorTypeTooLong:
		return ruleTooLong
	case field.ErrorTypeTooMany:
		return ruleTooMany
	default:
		return ruleInvalid
	}
}

// isImmutable recognises the ways in which the API server says that a field may not change.
func isImmutable(e *field.Error) bool {
	if e.Origin == "immutable" || e.Origin == "update" {
		return true
	}
	if e.Type != field.ErrorTypeInvalid && e.Type != field.ErrorTypeForbidden {
		return false
	}
	d := strings.ToLower(e.Detail)
	for _, phrase := range []string{"immutable", "may not change", "may not be changed", "cannot be changed", "can not be changed", "cannot change", "may not update", "updates to ", "not be mutated", "may not be unset", "is not allowed to be changed"} {
		if strings.Contains(d, phrase) {
			return true
		}
	}
	return false
}

var quoted = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)

// supported lists the values that a detail of the API server offers.
func supported(detail string) []string {
	var values []string
	for _, match := range quoted.FindAllStringSubmatch(detail, -1) {
		values = append(values, match[1])
	}
	return values
}

// shown is a value for a message, behind sep; "" for what is no scalar: the internal type of a struct or list would mislead.
func shown(sep string, v any) string {
	if s, ok := text(v); ok {
		return sep + quoteShort(s)
	}
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	switch rv.Kind() {
	case reflect.Bool:
		return sep + strconv.FormatBool(rv.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return sep + strconv.FormatInt(rv.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return sep + strconv.FormatUint(rv.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		return sep + strconv.FormatFloat(rv.Float(), 'g', -1, 64)
	}
	return ""
}

// text reads strings, types that are strings, and pointers to them.
func text(v any) (string, bool) {
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	if rv.Kind() == reflect.String {
		return rv.String(), true
	}
	return "", false
}

// clause is a sentence of the API server as a part of ours: it begins small and has no final stop, which a lone "." at the end of
// a detail is not.
func clause(detail string) string {
	if !strings.HasSuffix(detail, " .") {
		detail = strings.TrimSuffix(detail, ".")
	}
	return lowerFirst(detail)
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && (s[1] < 'A' || s[1] > 'Z') {
		return string(s[0]+'a'-'A') + s[1:]
	}
	return s
}

var leadingPath = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*|\[[^\]]*\])+): `)

// warningOf puts a warning of the API server into a violation. Most begin with the path of a field.
func warningOf(text string, m *made) policies.Violation {
	v := policies.Violation{Rule: ruleWarning, Message: lowerFirst(text), Warning: true}
	if match := leadingPath.FindStringSubmatch(text); match != nil {
		v.Path, _ = writtenPath(policies.ParsePath(match[1]), m)
	}
	if strings.Contains(text, "deprecated") {
		v.Rule = ruleDeprecated
	}
	return v
}

// nearest returns the candidate that s is most likely a slip of: equal but for case, or at an edit distance of at most a
// third of its length. taken names candidates that cannot be meant.
func nearest(s string, candidates []string, taken func(string) bool) string {
	best, bestDistance := "", len(s)/3+1
	if len(s) > 64 {
		return ""
	}
	for _, c := range candidates {
		if taken != nil && taken(c) {
			continue
		}
		if strings.EqualFold(c, s) {
			return c
		}
		if n := distance(strings.ToLower(s), strings.ToLower(c), bestDistance); n < bestDistance {
			best, bestDistance = c, n
		}
	}
	return best
}

// distance is the number of inserted, deleted, replaced or swapped letters between a and b, or limit when it is at least that
// (optimal string alignment).
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return min(prev[len(b)], limit)
}
