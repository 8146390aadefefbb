package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const smaps = `00400000-0320f000 r-xp 00000000 fe:00 10783262                           /usr/local/bin/gitgate
Size:              47164 kB
Anonymous:             0 kB
Swap:                  0 kB
THPeligible:           0
VmFlags: rd ex mr mw me
0320f000-068f4000 r--p 02e0f000 fe:00 10783262                           /usr/local/bin/gitgate
Size:              56212 kB
Anonymous:             0 kB
Swap:                  0 kB
068f4000-06b6c000 rw-p 064f4000 fe:00 10783262                           /usr/local/bin/gitgate
Size:               2528 kB
Anonymous:             0 kB
Swap:                  0 kB
06b6c000-06b6d000 r--p 064f4000 fe:00 10783262                           /usr/local/bin/gitgate
Anonymous:             4 kB
Swap:                  0 kB
06b6d000-06b6e000 r--p 064f4000 fe:00 10783262                           /usr/local/bin/gitgate
Anonymous:             0 kB
Swap:                  4 kB
06b6e000-06b6f000 r--s 064f4000 fe:00 10783262                           /usr/local/bin/gitgate
Anonymous:             0 kB
Swap:                  0 kB
06b6f000-06b70000 r--p 064f5000 fe:00 10783262                           /usr/local/bin/gitgate
Size:                  4 kB
06b70000-06b71000 r--p 00000000 00:00 0
Anonymous:             0 kB
Swap:                  0 kB
7fe42be04000-7fe42bf06000 r--p 00000000 fe:00 326269                     /usr/lib/libc.so.6
Anonymous:             0 kB
Swap:                  0 kB
7fe42bf06000-7fe42bf07000 r--p 00000000 fe:00 326270                     /other/usr/local/bin/gitgate
Anonymous:             0 kB
Swap:                  0 kB
`

func TestOnlyWhatWasNeverWrittenOfTheProgramIsDropped(t *testing.T) {
	t.Parallel()
	got := unwritten(strings.NewReader(smaps), "/usr/local/bin/gitgate")
	if want := []mapping{{0x400000, 0x320f000}, {0x320f000, 0x68f4000}}; !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got := unwritten(strings.NewReader(smaps), "bin/gitgate"); len(got) > 0 {
		t.Errorf("of another file: got %x", got)
	}
}

// The tests' own program is one like any other.
func TestAProgramGoesOnThatWasDropped(t *testing.T) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Skip(err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	if len(unwritten(f, program)) == 0 {
		t.Errorf("nothing of %s can be dropped", filepath.Base(program))
	}
	dropProgram()
}
