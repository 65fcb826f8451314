package jetstream

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// breaking dials connections that break under a write of at least fatal bytes, as often as is left: the server resets
// them when a part of it has arrived.
type breaking struct {
	fatal int
	left  atomic.Int32
}

func (b *breaking) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &breakingConn{conn, b}, nil
}

type breakingConn struct {
	net.Conn
	*breaking
}

func (c *breakingConn) Write(p []byte) (int, error) {
	if len(p) < c.fatal || c.left.Add(-1) < 0 {
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:len(p)/2])
	_ = c.Conn.Close()
	return n, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
}

// A message under which the connection breaks may have arrived. With an id it is sent again, and is in the stream once;
// without one that is the caller's to decide.
func TestPublishBreaksUnderAWrite(t *testing.T) {
	t.Parallel()
	const large = 256 << 10 // more than the client buffers: it is written by Publish itself
	for id, breaks := range map[string]int32{"an-id": 3, "": 1} {
		t.Run(fmt.Sprintf("id %q", id), func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			s := e.init(t, InitConfig{})
			dialer := &breaking{fatal: large}
			nc, err := nats.Connect(e.server.URL(), nats.SetCustomDialer(dialer), nats.MaxReconnects(-1),
				nats.ReconnectWait(time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			p, err := OpenPublisher(t.Context(), nc, PublisherConfig{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			publish := func(m Message) error {
				err := p.Publish(t.Context(), m)
				if err == nil {
					err = p.Flush(t.Context())
				}
				return err
			}
			if err := publish(numbered(1, "first")); err != nil {
				t.Fatal(err)
			}
			dialer.left.Store(breaks)
			err = publish(Message{Subject: "crm.create.contacts", ID: id, Data: make([]byte, large), Line: 2})
			if n := dialer.left.Load(); n > 0 {
				t.Fatalf("%d times less than meant to, the connection has broken", n)
			}
			if id == "" {
				if err == nil {
					t.Fatal("a message without an id was sent again")
				}
				contains(t, err.Error(), "line 2: ", "connection reset by peer")
				if again := publish(numbered(3, "third")); again != err {
					t.Errorf("the error is not final: %v", again)
				}
				if diff := cmp.Diff(Progress{Confirmed: 1, Line: 1}, p.Progress()); diff != "" {
					t.Error(diff)
				}
				settled(t, s, 1, 0)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := publish(numbered(3, "third")); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Progress{Confirmed: 3, Line: 3}, p.Progress()); diff != "" {
				t.Error(diff)
			}
			settled(t, s, 3, 0)
		})
	}
}
