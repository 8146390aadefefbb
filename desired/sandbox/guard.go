package sandbox

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"text/template"
)

// guard wraps functions so that each call is counted, and what one reads and writes is measured. A function whose result can be
// much larger than its arguments is estimated first.
func (s *Set) guard(funcs template.FuncMap) template.FuncMap {
	wrapped := make(template.FuncMap, len(funcs))
	for name, f := range funcs {
		fn := reflect.ValueOf(f)
		typ := fn.Type()
		estimate, passes := estimates[name], slices.Contains(passing, name)
		call := fn.Call
		if typ.IsVariadic() {
			call = fn.CallSlice
		}
		wrapped[name] = reflect.MakeFunc(typ, func(args []reflect.Value) []reflect.Value {
			// A panic in a function is an error of the template that calls it (text/template, safeCall).
			read := int64(0)
			if !passes {
				for _, arg := range args {
					size, err := s.measure(arg)
					if err != nil {
						panic(err)
					}
					read += size
				}
			}
			if err := s.spend(1, read); err != nil {
				panic(err)
			}
			if estimate != nil {
				if size := estimate(args); size > s.limits.Value || size < 0 {
					panic(&LimitError{fmt.Sprintf("%s could write more than %d bytes", name, s.limits.Value)})
				}
			}
			results := call(args)
			written := shallow(results[0])
			if written > s.limits.Value {
				panic(&LimitError{fmt.Sprintf("%s writes more than %d bytes", name, s.limits.Value)})
			}
			if err := s.spend(0, written); err != nil {
				panic(err)
			}
			return results
		}).Interface()
	}
	return wrapped
}

// builtins are the functions of text/template that write what they are given.
func builtins() template.FuncMap {
	return template.FuncMap{
		"print": fmt.Sprint, "printf": fmt.Sprintf, "println": fmt.Sprintln,
		"html": template.HTMLEscaper, "js": template.JSEscaper, "urlquery": template.URLQueryEscaper,
	}
}

// passing are functions that hand their arguments on without looking into them. They are often given the root of all values.
var passing = []string{
	"append", "push", "mustAppend", "mustPush", "prepend", "mustPrepend", "coalesce", "default", "dict", "dig", "empty", "first",
	"mustFirst", "get", "hasKey", "initial", "mustInitial", "keys", "kindIs", "kindOf", "last", "mustLast", "list", "omit",
	"pick", "pluck", "required", "rest", "mustRest", "reverse", "mustReverse", "set", "slice", "mustSlice", "ternary", "tuple", "typeIs",
	"typeIsLike", "typeOf", "unset", "values", "concat", "chunk", "mustChunk", "all", "any", "compact", "mustCompact", "fail", "lookup",
}

// estimates say how large the result of a function can become, from its arguments. Negative: too large.
var estimates = map[string]func(args []reflect.Value) int64{
	"repeat":    func(a []reflect.Value) int64 { return product(number(a[0]), length(a[1])) },
	"until":     func(a []reflect.Value) int64 { return product(number(a[0]), 32) },
	"untilStep": func(a []reflect.Value) int64 { return span(number(a[0]), number(a[1]), number(a[2])) },
	"seq":       estimateSeq,
	"indent":    func(a []reflect.Value) int64 { return product(number(a[0])+1, length(a[1])+1) },
	"nindent":   func(a []reflect.Value) int64 { return product(number(a[0])+1, length(a[1])+1) },
	"replace":   func(a []reflect.Value) int64 { return sum(length(a[2]), product(length(a[2])+1, length(a[1]))) },
	"wrapWith":  func(a []reflect.Value) int64 { return product(length(a[1])+1, length(a[2])+1) },
	"join":      func(a []reflect.Value) int64 { return product(length(a[0])+64, elements(a[1])+1) },
	"printf":    estimatePrintf,
	"randBytes": func(a []reflect.Value) int64 { return product(number(a[0]), 2) },
	"randAlpha": func(a []reflect.Value) int64 { return number(a[0]) },
	"randAscii": func(a []reflect.Value) int64 { return number(a[0]) },
	"randNumeric": func(a []reflect.Value) int64 {
		return number(a[0])
	},
	"randAlphaNum":               func(a []reflect.Value) int64 { return number(a[0]) },
	"regexReplaceAll":            estimateReplace,
	"mustRegexReplaceAll":        estimateReplace,
	"regexReplaceAllLiteral":     estimateReplace,
	"mustRegexReplaceAllLiteral": estimateReplace,
	"regexMatch":                 estimateMatch,
	"mustRegexMatch":             estimateMatch,
	"regexFind":                  estimateMatch,
	"mustRegexFind":              estimateMatch,
	"regexFindAll":               estimateMatch,
	"mustRegexFindAll":           estimateMatch,
	"regexSplit":                 estimateMatch,
	"mustRegexSplit":             estimateMatch,
	"uniq":                       func(a []reflect.Value) int64 { return product(elements(a[0]), elements(a[0])) },
	"mustUniq":                   func(a []reflect.Value) int64 { return product(elements(a[0]), elements(a[0])) },
	"without":                    func(a []reflect.Value) int64 { return product(elements(a[0]), elements(a[1])+1) },
	"mustWithout":                func(a []reflect.Value) int64 { return product(elements(a[0]), elements(a[1])+1) },
	"toPrettyJson":               func(a []reflect.Value) int64 { return product(nodes(a[0]), 8) },
	"mustToPrettyJson":           func(a []reflect.Value) int64 { return product(nodes(a[0]), 8) },
}

func product(a, b int64) int64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	if a > math.MaxInt64/b {
		return -1
	}
	return a * b
}

func sum(a, b int64) int64 {
	if a < 0 || b < 0 || a > math.MaxInt64-b {
		return -1
	}
	return a + b
}

func span(start, stop, step int64) int64 {
	if step == 0 {
		return 0
	}
	count := (stop - start) / step
	return product(count, 32)
}

func estimateSeq(args []reflect.Value) int64 {
	n := make([]int64, args[0].Len())
	for i := range n {
		n[i] = number(args[0].Index(i))
	}
	switch len(n) {
	case 1:
		return product(max(n[0], -n[0]), 32)
	case 2:
		return product(max(n[1]-n[0], n[0]-n[1]), 32)
	case 3:
		return span(n[0], n[2], n[1])
	}
	return 0
}

// estimatePrintf takes each verb to write all of the largest argument, at the largest width that is written in the format.
func estimatePrintf(args []reflect.Value) int64 {
	format := args[0].String()
	width, run := int64(0), int64(0)
	for _, c := range format {
		switch {
		case c >= '0' && c <= '9' && run < 1_000_000:
			run = run*10 + int64(c-'0')
			width = max(width, run)
		case c == '*':
			width = 1_000_000
		default:
			run = 0
		}
	}
	largest := int64(0)
	for i := range args[1].Len() {
		largest = max(largest, nodes(args[1].Index(i)))
	}
	return sum(int64(len(format)), product(int64(strings.Count(format, "%")), sum(largest, width)))
}

// estimateReplace takes the shortest match to be one byte.
func estimateReplace(args []reflect.Value) int64 {
	if match := estimateMatch(args); match > 0 {
		return match
	}
	text, by := length(args[1]), args[2].String()
	return sum(product(text, int64(1+strings.Count(by, "$"))), product(text+1, int64(len(by))))
}

// estimateMatch refuses expressions and texts whose product would take long.
func estimateMatch(args []reflect.Value) int64 {
	expression, text := args[0].String(), length(args[1])
	size := int64(len(expression)) + 1000*int64(strings.Count(expression, "{"))
	if work := product(size, text); len(expression) > 10_000 || work < 0 || work > 200_000_000 {
		return -1
	}
	return 0
}

func number(v reflect.Value) int64 {
	v = concrete(v)
	switch {
	case v.CanInt():
		return v.Int()
	case v.CanUint():
		return int64(min(v.Uint(), math.MaxInt64))
	case v.CanFloat():
		return int64(v.Float())
	}
	return 0
}

// length is the bytes of a text.
func length(v reflect.Value) int64 {
	if v = concrete(v); v.IsValid() && v.Kind() == reflect.String {
		return int64(v.Len())
	}
	return 0
}

func elements(v reflect.Value) int64 {
	v = concrete(v)
	if v.IsValid() && (v.Kind() == reflect.Slice || v.Kind() == reflect.Array || v.Kind() == reflect.Map) {
		return int64(v.Len())
	}
	return 1
}

func concrete(v reflect.Value) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) && !v.IsNil() {
		v = v.Elem()
	}
	return v
}

// shallow is what a result holds that its arguments did not.
func shallow(v reflect.Value) int64 {
	v = concrete(v)
	if !v.IsValid() {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		return int64(v.Len())
	case reflect.Slice:
		return int64(v.Len()) * max(1, int64(v.Type().Elem().Size()))
	case reflect.Map:
		return int64(v.Len()) * 32
	}
	return 8
}

// maxValueDepth is more than any manifest has, and less than what would fill the stack.
const maxValueDepth = 200

var errDepth = errors.New("value has too many levels, or contains itself")

// measure is what a value would take when it is written out. A value that contains itself is an error.
func (s *Set) measure(v reflect.Value) (int64, error) {
	m := meter{left: s.limits.Value}
	err := m.value(v, 0)
	return s.limits.Value - m.left, err
}

// nodes is measure without a limit, for values that were measured.
func nodes(v reflect.Value) int64 {
	m := meter{left: math.MaxInt64}
	if m.value(v, 0) != nil {
		return -1
	}
	return math.MaxInt64 - m.left
}

type meter struct{ left int64 }

func (m *meter) take(n int) error {
	if m.left -= int64(n); m.left < 0 {
		return &LimitError{"a value is too large"}
	}
	return nil
}

func (m *meter) value(v reflect.Value, depth int) error {
	if !v.IsValid() {
		return m.take(1)
	}
	if depth > maxValueDepth {
		return errDepth
	}
	switch v.Kind() {
	case reflect.String:
		return m.take(v.Len() + 2)
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return m.take(4)
		}
		return m.value(v.Elem(), depth+1)
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := m.take(depth + 4); err != nil {
				return err
			}
			if err := m.value(it.Key(), depth+1); err != nil {
				return err
			}
			if err := m.value(it.Value(), depth+1); err != nil {
				return err
			}
		}
		return m.take(2)
	case reflect.Slice, reflect.Array:
		if k := v.Type().Elem().Kind(); k == reflect.Uint8 || k == reflect.Int {
			return m.take(8 * v.Len())
		}
		for i := range v.Len() {
			if err := m.take(depth + 2); err != nil {
				return err
			}
			if err := m.value(v.Index(i), depth+1); err != nil {
				return err
			}
		}
		return m.take(2)
	case reflect.Struct:
		for i := range v.NumField() {
			if err := m.value(v.Field(i), depth+1); err != nil {
				return err
			}
		}
		return nil
	default:
		return m.take(8)
	}
}
