package packed_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"gitgate.dev/gitgate/desired/packed"
)

func contents() []map[string]any {
	return []map[string]any{
		{},
		{"a": nil, "b": true, "c": false, "d": int64(0), "e": int64(-1), "f": 1.5, "g": "", "h": "text"},
		{"min": int64(math.MinInt64), "max": int64(math.MaxInt64), "edge": int64(1 << 59), "below": int64(-1<<59 - 1)},
		{"map": map[string]any{}, "list": []any{}, "deep": []any{map[string]any{"x": []any{int64(1), "two", nil}}}},
		{"long": string(make([]byte, 1000)), "ünïcode": "\x00ÿ"},
	}
}

func TestWhatIsPackedComesBack(t *testing.T) {
	w := packed.NewWords()
	for i, c := range contents() {
		for range 2 {
			data, err := w.Pack(c)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := w.Unpack(data); err != nil || !reflect.DeepEqual(got, c) {
				t.Errorf("content %d came back as %v, %v", i, got, err)
			}
		}
	}
}

func TestWhatIsPackedOverAnotherContentComesBackAndSharesWhatIsTheSame(t *testing.T) {
	w := packed.NewWords()
	for i, below := range contents() {
		for j, c := range contents() {
			data, err := w.PackOver(c, below)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := w.UnpackOver(data, below); err != nil || !reflect.DeepEqual(got, c) {
				t.Errorf("content %d over %d came back as %v, %v", j, i, got, err)
			}
			if i == j && len(data) != 1 {
				t.Errorf("content %d over itself has %d bytes", i, len(data))
			}
		}
	}
}

func TestEqualContentsArePackedToEqualBytes(t *testing.T) {
	w := packed.NewWords()
	for _, c := range contents() {
		first, _ := w.Pack(c)
		second, _ := w.Pack(c)
		if string(first) != string(second) {
			t.Errorf("%v is packed to %x and then to %x", c, first, second)
		}
	}
}

func FuzzDamagedBytesGiveAnErrorAndNoPanic(f *testing.F) {
	w := packed.NewWords()
	for _, c := range contents() {
		data, err := w.Pack(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := w.UnpackOver(data, map[string]any{"a": []any{"b"}})
		if err != nil {
			return
		}
		again, err := w.Pack(got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := w.Unpack(again); err != nil || !equal(back, got) {
			t.Errorf("%v came back as %v, %v", got, back, err)
		}
	})
}

func equal(a, b map[string]any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX != nil && errY != nil || string(x) == string(y)
}
