// Package loopback picks ports on 127.0.0.1 for servers that must come back on the same port after a restart.
package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Host is the only address that local servers listen on.
const Host = "127.0.0.1"

// The range lies below the ports that Linux (32768 and up) and macOS (49152 and up) give to outgoing connections. A port
// that the kernel chose could be the local end of some client's connection by the time its server restarts.
const (
	first = 15000
	last  = 31999
)

// FreePort returns a port that nobody listened on a moment ago. Another process may take it before the caller does, so
// callers try again with another one.
func FreePort() (int, error) {
	var errs error
	for range 50 {
		port := first + rand.IntN(last-first+1)
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
