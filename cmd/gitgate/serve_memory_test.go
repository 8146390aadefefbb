package main

import (
	"testing"
	"testing/fstest"
)

func TestTheLimitOfTheContainerIsRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file, content string
		want                int64
		ok                  bool
	}{
		{"a limit, of version 2", "memory.max", "1073741824\n", 1 << 30, true},
		{"no limit, of version 2", "memory.max", "max\n", 0, false},
		{"a limit, of version 1", "memory/memory.limit_in_bytes", "268435456\n", 1 << 28, true},
		{"no limit, of version 1", "memory/memory.limit_in_bytes", "9223372036854771712\n", 0, false},
		{"nothing is allowed, which no container could start with", "memory.max", "0\n", 0, false},
		{"what is no number", "memory.max", "1Gi\n", 0, false},
		{"no control groups", "cpu.max", "max 100000\n", 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			limit, ok := containerLimit(fstest.MapFS{tc.file: {Data: []byte(tc.content)}})
			if ok != tc.ok || ok && limit != tc.want {
				t.Errorf("got %d, %t; want %d, %t", limit, ok, tc.want, tc.ok)
			}
		})
	}
}
