package outbox

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a Store and Postgres. It counts round trips, and can cut a connection at the next one.
type proxy struct {
	listener net.Listener
	server   string
	trips    atomic.Int64 // Sync and Query messages: each waits for its answer
	cut      atomic.Int32
	wg       sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// When to cut a connection.
const (
	never        int32 = iota
	beforeCommit       // the statements have arrived, their Sync or the CopyDone, which commits, has not
	afterCommit        // the server has answered that all is done, the worker does not get to see it
)

// through returns a Store of one connection, that goes through a proxy, and another that does not.
func through(t testing.TB) (*Store, *proxy, *Store) {
	t.Helper()
	direct := open(t)
	u, err := url.Parse(direct.pool.Config().ConnString())
	ok(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	p := &proxy{listener: l, server: u.Host}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	u.Host = l.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return openAt(t, u.String(), 1), p, direct
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		var deaf atomic.Bool // the client hears nothing more
		p.wg.Go(func() { p.forth(client, server, &deaf) })
		p.wg.Go(func() { back(server, client, &deaf) })
	}
}

// forth carries what the client says.
func (p *proxy) forth(client, server net.Conn, deaf *atomic.Bool) {
	defer server.Close()
	in, out := bufio.NewReader(client), bufio.NewWriter(server)
	typed := false // the first message has no type
	for {
		head := make([]byte, 4, 5)
		if typed {
			head = head[:5]
		}
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		if typed && head[0] == 'S' || typed && head[0] == 'Q' {
			p.trips.Add(1)
		}
		if typed && (head[0] == 'S' || head[0] == 'c') {
			switch p.cut.Swap(never) {
			case beforeCommit:
				out.Flush()
				client.Close()
				return
			case afterCommit:
				deaf.Store(true)
			}
		}
		out.Write(head)
		if _, err := io.CopyN(out, in, int64(binary.BigEndian.Uint32(head[len(head)-4:])-4)); err != nil {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		typed = true
	}
}

// back carries what the server says.
func back(server, client net.Conn, deaf *atomic.Bool) {
	defer client.Close()
	in := bufio.NewReader(server)
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		if deaf.Load() {
			if head[0] == 'Z' { // ready: the transaction is over
				return
			}
			continue
		}
		if _, err := client.Write(append(head, body...)); err != nil {
			return
		}
	}
}
