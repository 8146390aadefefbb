package main

import (
	"io/fs"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// A gate lives long and shares its node: where a command that ends takes memory to be done sooner (package gc), it keeps within the
// limit of its container, collects as Go does by default while it makes its first index, and gives back what that has left.

// limitPercent is the share of the container's limit that the collector keeps the heap within: pages of the program's file, and git where it
// is run, count there too.
const limitPercent = 80

// servingPercent is GOGC while requests are judged: they leave nothing that lives, and each collection marks the whole index again.
const servingPercent = 130

// boundMemory goes after GOGC and GOMEMLIMIT of the environment.
func (p *program) boundMemory() {
	p.collectAt(100)
	if p.env("GOMEMLIMIT") != "" {
		return
	}
	if limit, ok := containerLimit(os.DirFS("/sys/fs/cgroup")); ok {
		debug.SetMemoryLimit(limit / 100 * limitPercent)
	}
}

// collectAt goes after GOGC of the environment.
func (p *program) collectAt(percent int) {
	if p.env("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// containerLimit reads how much memory the process's container may use, of version 2 of Linux's control groups or of version 1; ok is false when
// nothing says so.
func containerLimit(groups fs.FS) (limit int64, ok bool) {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		text, err := fs.ReadFile(groups, name)
		if err != nil {
			continue
		}
		// Without a limit it is the word max, or in version 1 a number that no machine has.
		limit, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return limit, err == nil && limit > 0 && limit < 1<<60
	}
	return 0, false
}

// release collects, and gives the system what is free and what of the program's file nobody has read since. It takes some hundredths of a second
// of CPU: for when an index was made, which takes more, and not for a request.
func release() {
	debug.FreeOSMemory()
	dropProgram()
}
