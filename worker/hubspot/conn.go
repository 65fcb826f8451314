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

// writeGuard counts a request's written bytes, and blocks writes after its deadline or its close. Once close has
// returned no byte is written that it has not counted. Its methods may be called by many goroutines at once.
type writeGuard struct {
	deadline time.Time // zero for none
	now      func() time.Time
	read     atomic.Bool // net/http has done with the request's body

	mu      sync.Mutex // guards all below
	written int        // bytes that left, or are about to
	kept    bool       // the connection had served another call before
	closed  bool
}

// reserve counts n bytes before they are written, so that a write that is under way is never taken for none.
func (g *writeGuard) reserve(n int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return errOver
	case !g.deadline.IsZero() && past(g.deadline, g.now()):
		return errDeadline
	}
	g.written += n
	return nil
}

// refund takes back n bytes that were reserved and not written.
func (g *writeGuard) refund(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written -= n
}

// close ends all writing. It returns how many bytes were written, and whether that was on a kept connection.
func (g *writeGuard) close() (written int, kept bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return g.written, g.kept
}

// onConnection notes the connection that the request got.
func (g *writeGuard) onConnection(kept bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kept = kept
}

// past compares both clocks: the monotonic one stands still while the machine is suspended, and the wall clock can be
// set back.
func past(deadline, now time.Time) bool {
	return !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0))
}

// guardedConn is a connection as it was dialled, below TLS. What a call writes goes through that call's guard; what is
// written before the first call is a handshake's.
type guardedConn struct {
	net.Conn
	guard atomic.Pointer[writeGuard]
}

func (c *guardedConn) Write(b []byte) (int, error) {
	g := c.guard.Load()
	if g == nil {
		return c.Conn.Write(b)
	}
	if err := g.reserve(len(b)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if n < len(b) {
		g.refund(len(b) - n)
	}
	return n, err
}

// attach has g guard what is written from now on.
func (c *guardedConn) attach(g *writeGuard, kept bool) {
	g.onConnection(kept)
	c.guard.Store(g)
}

// guardedConnOf finds the guarded connection below any layers of TLS.
func guardedConnOf(c net.Conn) *guardedConn {
	for {
		switch layer := c.(type) {
		case *guardedConn:
			return layer
		case interface{ NetConn() net.Conn }:
			c = layer.NetConn()
		default:
			return nil
		}
	}
}
