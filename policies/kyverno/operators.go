package kyverno

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blang/semver/v4"
	"github.com/go-logr/logr"
	"github.com/kyverno/kyverno/ext/wildcard"
	"github.com/kyverno/kyverno/pkg/engine/operator"
	"github.com/kyverno/kyverno/pkg/engine/pattern"
	"k8s.io/apimachinery/pkg/api/resource"
)

// operation compares a condition's key with its value, both without variables. What cannot be compared is false, for the
// negative operators true (Kyverno's pkg/engine/variables/operator).
type operation func(key, value any) bool

// operations are the operators that a condition may name.
var operations = map[string]operation{
	"Equal":                       equals,
	"Equals":                      equals,
	"NotEqual":                    differs,
	"NotEquals":                   differs,
	"In":                          func(k, v any) bool { return member(k, v, quantifier{every: true, old: true}) },
	"NotIn":                       func(k, v any) bool { return member(k, v, quantifier{negative: true, old: true}) },
	"AnyIn":                       func(k, v any) bool { return member(k, v, anyIn) },
	"AllIn":                       func(k, v any) bool { return member(k, v, allIn) },
	"AnyNotIn":                    func(k, v any) bool { return member(k, v, anyNotIn) },
	"AllNotIn":                    func(k, v any) bool { return member(k, v, allNotIn) },
	"GreaterThan":                 func(k, v any) bool { return compare(k, v, func(c int) bool { return c > 0 }) },
	"GreaterThanOrEquals":         func(k, v any) bool { return compare(k, v, func(c int) bool { return c >= 0 }) },
	"LessThan":                    func(k, v any) bool { return compare(k, v, func(c int) bool { return c < 0 }) },
	"LessThanOrEquals":            func(k, v any) bool { return compare(k, v, func(c int) bool { return c <= 0 }) },
	"DurationGreaterThan":         func(k, v any) bool { return compareDurations(k, v, func(c int) bool { return c > 0 }) },
	"DurationGreaterThanOrEquals": func(k, v any) bool { return compareDurations(k, v, func(c int) bool { return c >= 0 }) },
	"DurationLessThan":            func(k, v any) bool { return compareDurations(k, v, func(c int) bool { return c < 0 }) },
	"DurationLessThanOrEquals":    func(k, v any) bool { return compareDurations(k, v, func(c int) bool { return c <= 0 }) },
}

func operatorNames() []string {
	names := make([]string, 0, len(operations))
	for name := range operations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func equals(key, value any) bool {
	same, ok := sameness(key, value)
	return ok && same
}

// differs is not the opposite of equals for a key of no type (null): that neither equals nor differs.
func differs(key, value any) bool {
	if key == nil {
		return false
	}
	same, ok := sameness(key, value)
	return !ok || !same
}

// sameness says whether key is value; ok is false for what cannot be compared.
func sameness(key, value any) (same, ok bool) {
	switch k := key.(type) {
	case bool:
		v, ok := value.(bool)
		return k == v, ok
	case float64, int64, int:
		n, _ := number(k)
		switch v := value.(type) {
		case string:
			if _, isFloat := k.(float64); !isFloat {
				i, err := strconv.ParseInt(v, 10, 64)
				return float64(i) == n, err == nil
			}
			f, err := strconv.ParseFloat(v, 64)
			return f == n, err == nil
		default:
			f, ok := number(v)
			return f == n, ok
		}
	case string:
		return sameText(k, value)
	case map[string]any:
		v, ok := value.(map[string]any)
		return ok && reflect.DeepEqual(floats(k), floats(v)), ok
	case []any:
		v, ok := value.([]any)
		return ok && reflect.DeepEqual(floats(k), floats(v)), ok
	default:
		return false, false
	}
}

func sameText(key string, value any) (same, ok bool) {
	if k, v, ok := durations(key, value); ok {
		return k.Seconds() == v.Seconds(), true
	}
	v, ok := value.(string)
	if !ok {
		return false, false
	}
	if k, err := resource.ParseQuantity(key); err == nil {
		q, err := resource.ParseQuantity(v)
		return err == nil && k.Equal(q), err == nil
	}
	return wildcard.Match(v, key), true
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case float64:
		return n, true
	default:
		return 0, false
	}
}

// durations reads both sides as durations when one of them is written as one; a number is seconds.
func durations(key, value any) (k, v time.Duration, ok bool) {
	k, isKey := writtenDuration(key)
	v, isValue := writtenDuration(value)
	if !isKey && !isValue {
		return 0, 0, false
	}
	if !isKey {
		n, ok := number(key)
		if !ok {
			return 0, 0, false
		}
		k = seconds(n)
	}
	if !isValue {
		n, ok := number(value)
		if !ok {
			return 0, 0, false
		}
		v = seconds(n)
	}
	return k, v, true
}

func writtenDuration(v any) (time.Duration, bool) {
	s, ok := v.(string)
	if !ok || s == "0" {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

func seconds(n float64) time.Duration { return time.Duration(n) * time.Second }

func compareDurations(key, value any, holds func(int) bool) bool {
	side := func(v any) (time.Duration, bool) {
		if s, ok := v.(string); ok {
			d, err := time.ParseDuration(s)
			return d, err == nil
		}
		n, ok := number(v)
		return seconds(n), ok
	}
	k, okKey := side(key)
	v, okValue := side(value)
	return okKey && okValue && holds(order(k, v))
}

func order[T ~int64 | ~float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// compare orders durations, quantities, numbers and versions, in this order.
func compare(key, value any, holds func(int) bool) bool {
	if k, v, ok := durations(key, value); ok {
		return holds(order(k, v))
	}
	text, isText := key.(string)
	if isText {
		if v, ok := value.(string); ok {
			k, errKey := resource.ParseQuantity(text)
			q, errValue := resource.ParseQuantity(v)
			if errKey == nil && errValue == nil {
				return holds(k.Cmp(q))
			}
		}
	}
	k, ok := number(key)
	if isText {
		f, err := strconv.ParseFloat(text, 64)
		k, ok = f, err == nil
	}
	if ok {
		v, ok := number(value)
		if s, isString := value.(string); isString {
			if _, _, isDuration := durations(k, s); isDuration {
				return compare(k, s, holds)
			}
			f, err := strconv.ParseFloat(s, 64)
			v, ok = f, err == nil
		}
		return ok && !math.IsNaN(k) && !math.IsNaN(v) && holds(order(k, v))
	}
	if isText {
		k, err := semver.Parse(text)
		s, ok := value.(string)
		if err != nil || !ok {
			return false
		}
		v, err := semver.Parse(s)
		return err == nil && holds(k.Compare(v))
	}
	return false
}

// quantifier says how the keys have to stand to the set. The older operators (In, NotIn) know no ranges, no sets of one, and no
// wildcards between sets.
type quantifier struct{ negative, every, old bool }

var (
	anyIn    = quantifier{}
	allIn    = quantifier{every: true}
	anyNotIn = quantifier{negative: true}
	allNotIn = quantifier{negative: true, every: true}
)

func (q quantifier) holds(keys []string, in func(string) bool) bool {
	for _, k := range keys {
		if (in(k) != q.negative) != q.every {
			return !q.every
		}
	}
	return q.every
}

func (q quantifier) like(a, b string) bool {
	if q.old {
		return a == b
	}
	return loosely(a, b)
}

func loosely(a, b string) bool { return wildcard.Match(a, b) || wildcard.Match(b, a) }

// member is the set operators. A single key is in the set or not; a list of keys is asked by q.
func member(key, value any, q quantifier) bool {
	switch k := key.(type) {
	case string:
		return q.one(k, value)
	case int, int64, float64, bool:
		return q.one(fmt.Sprint(k), value)
	case []any:
		keys := make([]string, len(k))
		for i, v := range k {
			keys[i] = fmt.Sprint(v)
		}
		return q.list(keys, value)
	default:
		return false
	}
}

func (q quantifier) one(key string, value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return loosely(fmt.Sprint(item), key) }) != q.negative
	case string:
		if wildcard.Match(v, key) {
			return !q.negative
		}
		if isRange(v) && !q.old {
			return pattern.Validate(logr.Discard(), key, v) != q.negative
		}
		set, ok := q.set(v)
		return ok && slices.Contains(set, key) != q.negative
	default:
		return false
	}
}

func isRange(s string) bool { return operator.GetOperatorFromStringPattern(s) == operator.InRange }

// set reads a set that is written as JSON; the newer operators take any other text for a set of one.
func (q quantifier) set(s string) ([]string, bool) {
	if !q.old && !json.Valid([]byte(s)) {
		return []string{s}, true
	}
	var set []string
	err := json.Unmarshal([]byte(s), &set)
	return set, err == nil
}

func (q quantifier) list(keys []string, value any) bool {
	var set []string
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			set = append(set, fmt.Sprint(item))
		}
	case int, int64, float64, bool:
		if q.old || q.every {
			return false
		}
		set = []string{fmt.Sprint(v)}
	case string:
		if len(keys) == 1 && keys[0] == v {
			return !q.negative || q.old
		}
		if isRange(v) && !q.old {
			return q.inRange(keys, v)
		}
		var ok bool
		if set, ok = q.set(v); !ok {
			return false
		}
	default:
		return false
	}
	return q.holds(keys, func(k string) bool { return slices.ContainsFunc(set, func(v string) bool { return q.like(k, v) }) })
}

func (q quantifier) inRange(keys []string, span string) bool {
	if q == anyNotIn {
		outside := strings.Replace(span, "-", "!-", 1)
		return slices.ContainsFunc(keys, func(k string) bool { return pattern.Validate(logr.Discard(), k, outside) })
	}
	return q.holds(keys, func(k string) bool { return pattern.Validate(logr.Discard(), k, span) })
}
