package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Ports hands out ports of the loopback for programs that listen on them later, and again after they were started anew. Meanwhile
// nothing holds them: they are none that the system gives to outgoing connections, and none is handed out twice. The zero value is ready.
type Ports struct {
	mu    sync.Mutex
	given map[int]bool
}

// Free is a port that nobody listens on.
func (p *Ports) Free() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = map[int]bool{}
	}
	low, high := quietPorts()
	var last error
	for range 100 {
		port := low + rand.IntN(high-low)
		if p.given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if last = err; errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			break
		}
		p.given[port] = true
		return port, l.Close()
	}
	return 0, fmt.Errorf("free port: %w", last)
}

// quietPorts are the limits of the ports, the second exclusive, that no outgoing connection has: those below the system's own range,
// where that can be told and leaves any.
func quietPorts() (low, high int) {
	low, high = 15000, 32768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		var first int
		if _, err := fmt.Fscan(strings.NewReader(string(text)), &first); err == nil && first >= low+1000 {
			high = min(first, 1<<16)
		}
	}
	return low, high
}
