package kyverno

import "testing"

func TestOperators(t *testing.T) {
	t.Parallel()
	list := func(v ...any) any { return v }
	for _, tc := range []struct {
		name     string
		key      any
		operator string
		value    any
		want     bool
	}{
		{name: "text with a wildcard", key: "nginx:latest", operator: "Equals", value: "*:latest", want: true},
		{name: "quantities that are written differently", key: "1Gi", operator: "Equals", value: "1024Mi", want: true},
		{name: "durations that are written differently", key: "1h", operator: "Equals", value: "60m", want: true},
		{name: "a duration and seconds", key: "1m", operator: "Equals", value: 60.0, want: true},
		{name: "a number and its text", key: 3.0, operator: "Equals", value: "3", want: true},
		{name: "a text is no number", key: "3", operator: "Equals", value: 3.0, want: false},
		{name: "null equals nothing", key: nil, operator: "Equals", value: nil, want: false},
		{name: "and differs from nothing", key: nil, operator: "NotEquals", value: "a", want: false},
		{name: "lists", key: list("a", 1.0), operator: "Equals", value: list("a", int64(1)), want: true},
		{name: "what cannot be compared differs", key: true, operator: "NotEquals", value: "true", want: true},
		{name: "a quantity differs from no text", key: "1", operator: "NotEquals", value: "", want: true},
		{name: "quantities are ordered", key: "500m", operator: "LessThan", value: "1", want: true},
		{name: "numbers are ordered", key: 3.0, operator: "GreaterThanOrEquals", value: 3.0, want: true},
		{name: "texts of numbers are ordered", key: "10", operator: "GreaterThan", value: 9.0, want: true},
		{name: "durations are ordered", key: "2h", operator: "GreaterThan", value: "90m", want: true},
		{name: "versions are ordered", key: "1.10.0", operator: "GreaterThan", value: "1.9.0", want: true},
		{name: "words are not ordered", key: "a", operator: "LessThan", value: "b", want: false},
		{name: "the old operators of durations", key: "30s", operator: "DurationLessThan", value: 60.0, want: true},
		{name: "one of a list", key: "a", operator: "AnyIn", value: list("a", "b"), want: true},
		{name: "a wildcard of a list", key: "abc", operator: "AnyIn", value: list("a*"), want: true},
		{name: "a number of a list", key: 80.0, operator: "AnyIn", value: list(80.0), want: true},
		{name: "any of several", key: list("a", "z"), operator: "AnyIn", value: list("a", "b"), want: true},
		{name: "all of several", key: list("a", "z"), operator: "AllIn", value: list("a", "b"), want: false},
		{name: "one that is not there", key: list("a", "z"), operator: "AnyNotIn", value: list("a", "b"), want: true},
		{name: "none that is there", key: list("a", "z"), operator: "AllNotIn", value: list("a", "b"), want: false},
		{name: "nothing is all in", key: list(), operator: "AllIn", value: list("a"), want: true},
		{name: "nothing has none that is missing", key: list(), operator: "AnyNotIn", value: list("a"), want: false},
		{name: "nothing is none in", key: list(), operator: "AllNotIn", value: list("a"), want: true},
		{name: "a range", key: 5.0, operator: "AnyIn", value: "1-10", want: true},
		{name: "outside a range", key: list(5.0, 50.0), operator: "AnyNotIn", value: "1-10", want: true},
		{name: "all in a range", key: list(5.0, 50.0), operator: "AllIn", value: "1-10", want: false},
		{name: "a set that is written as JSON", key: "b", operator: "AnyIn", value: `["a","b"]`, want: true},
		{name: "the old In wants exact texts of a list", key: list("abc"), operator: "In", value: list("a*"), want: false},
		{name: "the old NotIn", key: list("a", "c"), operator: "NotIn", value: list("a", "b"), want: true},
		{name: "null is in nothing", key: nil, operator: "AnyIn", value: list("a"), want: false},
		{name: "nor outside anything", key: nil, operator: "AnyNotIn", value: list("a"), want: false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := operations[tc.operator](tc.key, tc.value); got != tc.want {
				t.Errorf("%v %s %v is %v, expected %v", tc.key, tc.operator, tc.value, got, tc.want)
			}
		})
	}
}
