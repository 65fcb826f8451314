// Package loopback picks ports on 127.0.0.1 for servers that must come back on the same port after a restart.
package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// Host is the only address that local servers listen on.
const Host = "127.0.0.1"

// The range lies below the ports that Linux (32768 and up) and macOS (49152 and up) give to outgoing connections. A
// port that the kernel chose could be the local end of some client's connection by the time its server restarts.
const (
	first = 15000
	last  = 31999
)

// given counts the ports that this process has looked at, every second one from a start of its own: none of thousands
// is given twice, for a server that restarts must find its port free.
var given atomic.Uint32

var start = rand.Uint32N(last - first)

// FreePort returns a port that nobody listened on a moment ago. It is not the next one of another call, so a server may
// use that for a second listener. Another process may take the port before the caller does, so callers try again with
// another one.
func FreePort() (int, error) {
	var errs error
	for range 50 {
		port := first + int((start+2*given.Add(1))%(last-first+1))
		l, err := net.Listen("tcp4", net.JoinHostPort(Host, strconv.Itoa(port)))
		if err != nil {
			errs = err
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, errors.Join(errors.New("no free port on "+Host), errs)
}
