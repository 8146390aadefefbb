package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// dropProgram takes out of the process's memory what it has read of its own program file: what it needs again is read again, mostly from
// the system's cache. Packages set themselves up and policies are compiled by two thirds of a program that serves with one.
func dropProgram() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, m := range unwritten(f, program) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED) // it may stay as well
	}
}

type mapping struct{ from, to uintptr }

// unwritten lists the mappings of a file, as /proc/PID/smaps has them (proc_pid_smaps(5)), that cannot be written to and never were: those of a
// dynamically linked program are written to when it is loaded, and must stay.
func unwritten(smaps io.Reader, file string) []mapping {
	var out []mapping
	var at mapping
	ours, clean := false, 0
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		line := lines.Text()
		name, value, isField := strings.Cut(line, ":")
		switch {
		case isField && (name == "Anonymous" || name == "Swap"):
			if strings.TrimSpace(value) == "0 kB" {
				clean++
			}
			if ours && clean == 2 {
				out = append(out, at)
				ours = false
			}
		case isField && !strings.Contains(name, " "):
		default:
			var access, offset, device string
			var inode uint64
			ours, clean = false, 0
			n, err := fmt.Sscanf(line, "%x-%x %s %s %s %d", &at.from, &at.to, &access, &offset, &device, &inode)
			ours = err == nil && n == 6 && inode != 0 && strings.HasPrefix(access, "r-") && strings.HasSuffix(access, "p") && strings.HasSuffix(line, " "+file)
		}
	}
	return out
}
