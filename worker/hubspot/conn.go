package hubspot

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errDeadline = errors.New("the deadline has passed, nothing more is written")
	errOver     = errors.New("the call is over, nothing more is written")
)

// flight is one call's leave to write. It counts what leaves, and ends what may still leave: once land has returned
// no byte is written that it has not counted.
type flight struct {
	deadline time.Time // zero for none
	now      func() time.Time
	read     atomic.Bool // net/http has done with the request's body

	mu      sync.Mutex // guards all below
	written int        // bytes that left, or are about to
	kept    bool       // the connection had served another call before
	over    bool
}

// leave counts n bytes before they are written, so that a write that is under way is never taken for none.
func (f *flight) leave(n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.over:
		return errOver
	case !f.deadline.IsZero() && past(f.deadline, f.now()):
		return errDeadline
	}
	f.written += n
	return nil
}

// stayed takes back n bytes that were counted and not written.
func (f *flight) stayed(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written -= n
}

// land ends the flight and tells how many bytes left, and whether that was on a kept connection.
func (f *flight) land() (written int, kept bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	return f.written, f.kept
}

// past compares both clocks: the monotonic one stands still while the machine is suspended, and the wall clock can be
// set back.
func past(deadline, now time.Time) bool {
	return !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0))
}

// gate is a connection as it was dialled, below TLS. What a call writes to it counts for that call's flight; what is
// written before the first call is a handshake's.
type gate struct {
	net.Conn
	flight atomic.Pointer[flight]
}

func (g *gate) Write(b []byte) (int, error) {
	f := g.flight.Load()
	if f == nil {
		return g.Conn.Write(b)
	}
	if err := f.leave(len(b)); err != nil {
		return 0, err
	}
	n, err := g.Conn.Write(b)
	if n < len(b) {
		f.stayed(len(b) - n)
	}
	return n, err
}

// board gives the connection to f.
func (g *gate) board(f *flight, kept bool) {
	f.mu.Lock()
	f.kept = kept
	f.mu.Unlock()
	g.flight.Store(f)
}

// gateOf finds the gate below any layers of TLS.
func gateOf(c net.Conn) *gate {
	for {
		switch layer := c.(type) {
		case *gate:
			return layer
		case interface{ NetConn() net.Conn }:
			c = layer.NetConn()
		default:
			return nil
		}
	}
}
