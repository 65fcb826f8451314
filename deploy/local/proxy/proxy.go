package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// dialLimit bounds how long a connection to the target is tried for.
const dialLimit = 5 * time.Second

// Proxy passes connections on to a target. All its methods may be called by many goroutines at once.
type Proxy struct {
	target   string
	listener net.Listener
	carry    func(*link) (forth, back func() error) // how a connection's bytes are carried, each way
	running  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	links   map[*link]struct{}
	open    chan struct{} // closed while traffic may pass
	refused bool
	closed  bool
}

// Start returns a Proxy that passes bytes on to target, a host and port.
func Start(target string) (*Proxy, error) { return start(target, plain) }

func start(target string, carry func(*link) (forth, back func() error)) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{target: target, listener: l, carry: carry, links: make(map[*link]struct{}), open: make(chan struct{})}
	close(p.open)
	p.running.Go(p.accept)
	return p, nil
}

// Addr is the host and port that the Proxy listens on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close breaks all connections, stops listening, and returns when nothing runs any longer. It may be called again.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close() // fails only if it is closed already
	p.Cut()
	p.running.Wait()
}

// Cut resets all connections. New ones are accepted as before.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Pause holds back what comes from now on, in both directions and on new connections too, until Resume.
func (p *Proxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // it is held back already
	}
}

// Resume ends a Pause.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// Refuse says whether new connections are reset at once, as if nobody listened. Those that there are stay.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = refuse
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client has gone again, or there are too many files
		}
		l := &link{proxy: p, client: client.(*net.TCPConn), done: make(chan struct{})}
		if !p.add(l) {
			l.reset()
			continue
		}
		p.running.Go(l.run)
	}
}

// add takes a connection in, or reports false if it is to be refused.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refused {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

// link is one connection and its continuation to the target.
type link struct {
	proxy          *Proxy
	client, server *net.TCPConn // server belongs to run until the bytes flow

	once sync.Once
	done chan struct{} // closed when the link has ended
}

func (l *link) run() {
	defer func() {
		l.proxy.mu.Lock()
		defer l.proxy.mu.Unlock()
		delete(l.proxy.links, l)
	}()
	defer l.end()
	if !l.pass() {
		return
	}
	server, err := net.DialTimeout("tcp", l.proxy.target, dialLimit)
	if err != nil {
		l.reset()
		return
	}
	l.server = server.(*net.TCPConn)
	// Whoever cut the link meanwhile knew of the client's half only.
	defer l.server.Close()
	forth, back := l.proxy.carry(l)
	var ways sync.WaitGroup
	for _, carry := range []func() error{forth, back} {
		ways.Go(func() {
			_ = carry() // however it ends, the link does
			l.pass()    // an end is held back like all else
			l.end()
		})
	}
	<-l.done
	_ = l.server.Close()
	ways.Wait()
}

// pass waits until traffic may pass. It reports false if the link has ended.
func (l *link) pass() bool {
	for {
		l.proxy.mu.Lock()
		open := l.proxy.open
		l.proxy.mu.Unlock()
		select {
		case <-l.done:
			return false
		default:
		}
		select {
		case <-open:
			return true
		case <-l.done:
			return false
		}
	}
}

// write passes bytes on when traffic may pass.
func (l *link) write(to *net.TCPConn, b []byte) error {
	if !l.pass() {
		return net.ErrClosed
	}
	_, err := to.Write(b)
	return err
}

// end closes the link in order: what was written arrives.
func (l *link) end() {
	l.once.Do(func() {
		close(l.done)
		_ = l.client.Close()
	})
}

// reset closes it at once, which the client is told as a reset.
func (l *link) reset() {
	l.once.Do(func() {
		_ = l.client.SetLinger(0)
		close(l.done)
		_ = l.client.Close()
	})
}

// plain carries bytes without a look at them.
func plain(l *link) (forth, back func() error) {
	way := func(from, to *net.TCPConn) func() error {
		return func() error {
			b := make([]byte, 32<<10)
			for {
				n, err := from.Read(b)
				if n > 0 {
					if err := l.write(to, b[:n]); err != nil {
						return err
					}
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return way(l.client, l.server), way(l.server, l.client)
}

// errDropped ends a link whose hook said so.
var errDropped = errors.New("dropped by the hook")

// maxMessage bounds what is taken for one message of a protocol: more than that is no such message.
const maxMessage = 256 << 20

// body reads the n bytes that follow a message's head.
func body(from io.Reader, head []byte, n int) ([]byte, error) {
	if n < 0 || n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	message := append(head, make([]byte, n)...)
	_, err := io.ReadFull(from, message[len(head):])
	return message, err
}
