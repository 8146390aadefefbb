package main

import "runtime/debug"

// A gate lives long and shares its node: where a command that ends takes memory to be done sooner (package gc), it collects as Go does
// by default, and gives back what the making of an index has left.

// collectSooner goes after GOGC of the environment.
func (p *program) collectSooner() {
	if p.env("GOGC") == "" {
		debug.SetGCPercent(100)
	}
}

// release collects, and gives the system what is free. It takes some hundredths of a second of CPU: for when an index was made, which
// takes more, and not for a request.
func release() { debug.FreeOSMemory() }
