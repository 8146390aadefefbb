package desired

import (
	"fmt"
	"slices"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestACopyOfATableKeepsWhatItHad(t *testing.T) {
	key := func(i int) policies.Key { return policies.Key{Namespace: "shop", Name: fmt.Sprint("n", i)} }
	first := newTable[int](nil)
	for i := range 5000 {
		first.set(key(i), []int{i + 1})
	}
	first.set(key(0), []int{1})
	second := first.copy()
	second.set(key(7), []int{70})
	second.set(key(8), nil)
	second.set(key(8), nil)
	second.set(key(9999), []int{1})
	third := second.copy()
	third.set(key(7), nil)
	for _, tc := range []struct {
		name   string
		table  *table[int]
		length int
		want   []int // of 7, 8 and 9999
	}{
		{"the first", first, 5000, []int{8, 9}},
		{"its copy", second, 5000, []int{70, 1}},
		{"a copy of that", third, 4999, []int{1}},
	} {
		var got []int
		for _, i := range []int{7, 8, 9999} {
			got = append(got, tc.table.get(key(i))...)
		}
		if listed := len(slices.Collect(tc.table.keys())); tc.table.length != tc.length || listed != tc.length || !slices.Equal(got, tc.want) {
			t.Errorf("%s has %d objects and lists %d, and %v; want %d and %v", tc.name, tc.table.length, listed, got, tc.length, tc.want)
		}
	}
}
