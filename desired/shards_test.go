package desired

import (
	"fmt"
	"slices"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestACopyOfATableKeepsWhatItHad(t *testing.T) {
	key := func(i int) policies.Key { return policies.Key{Namespace: "shop", Name: fmt.Sprint("n", i)} }
	first := newTable[int]()
	for i := range 5000 {
		first.set(key(i), i+1)
	}
	first.set(key(0), 1)
	second := first.copy()
	second.set(key(7), 70)
	second.delete(key(8))
	second.delete(key(8))
	second.set(key(9999), 1)
	third := second.copy()
	third.delete(key(7))
	for _, tc := range []struct {
		name   string
		table  *table[int]
		length int
		want   []int // of 7, 8 and 9999
	}{
		{"the first", first, 5000, []int{8, 9, 0}},
		{"its copy", second, 5000, []int{70, 0, 1}},
		{"a copy of that", third, 4999, []int{0, 0, 1}},
	} {
		got := []int{tc.table.get(key(7)), tc.table.get(key(8)), tc.table.get(key(9999))}
		if listed := len(slices.Collect(tc.table.keys())); tc.table.length != tc.length || listed != tc.length || !slices.Equal(got, tc.want) {
			t.Errorf("%s has %d objects and lists %d, and %v; want %d and %v", tc.name, tc.table.length, listed, got, tc.length, tc.want)
		}
	}
}
