package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"crmintake/outbox/outboxtest"
)

func TestMain(m *testing.M) { outboxtest.Main(m) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echo is a server that says each line again. It is told of in lines too.
func echo(t *testing.T) (addr string, lines chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	lines = make(chan string, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					line, err := in.ReadString('\n')
					if err != nil {
						lines <- "end"
						return
					}
					lines <- line
					io.WriteString(c, line)
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String(), lines
}

func begin(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := Start(target)
	ok(t, err)
	t.Cleanup(p.Close)
	return p
}

// dial connects to the proxy. The deadline is for a test that fails.
func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	ok(t, err)
	t.Cleanup(func() { c.Close() })
	ok(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

func say(t *testing.T, c net.Conn, line string) {
	t.Helper()
	_, err := io.WriteString(c, line)
	ok(t, err)
}

func hear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("heard %q, %v, want %q", b, err, want)
	}
}

func broken(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("error %v, want a reset", err)
	}
}

// refused checks that a new connection is reset, which may show while it is being made or after.
func refused(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer c.Close()
		ok(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("error %v, want a reset", err)
	}
}

func TestPassesBytes(t *testing.T) {
	addr, lines := echo(t)
	c := dial(t, begin(t, addr))
	for _, line := range []string{"a\n", "b\n"} {
		say(t, c, line)
		hear(t, c, line)
	}
	ok(t, c.Close())
	for _, want := range []string{"a\n", "b\n", "end"} {
		if got := <-lines; got != want {
			t.Errorf("the server got %q, want %q", got, want)
		}
	}
}

func TestCutBreaksWhatThereIs(t *testing.T) {
	addr, lines := echo(t)
	p := begin(t, addr)
	a, b := dial(t, p), dial(t, p)
	for _, c := range []net.Conn{a, b} {
		say(t, c, "x\n")
		hear(t, c, "x\n")
		<-lines
	}
	p.Cut()
	broken(t, a)
	broken(t, b)
	for range 2 {
		if got := <-lines; got != "end" {
			t.Errorf("the server got %q", got)
		}
	}
	c := dial(t, p)
	say(t, c, "y\n")
	hear(t, c, "y\n")
}

func TestPauseHoldsBack(t *testing.T) {
	addr, lines := echo(t)
	p := begin(t, addr)
	c := dial(t, p)
	say(t, c, "before\n")
	hear(t, c, "before\n")
	<-lines
	p.Pause()
	p.Pause()
	say(t, c, "after\n")
	other := dial(t, p)
	say(t, other, "other\n")
	ok(t, other.Close())
	select {
	case got := <-lines:
		t.Fatalf("the server got %q in a pause", got)
	case <-time.After(50 * time.Millisecond): // nothing tells that nothing comes
	}
	p.Resume()
	p.Resume()
	hear(t, c, "after\n")
	got := map[string]bool{<-lines: true, <-lines: true, <-lines: true}
	if !got["after\n"] || !got["other\n"] || !got["end"] {
		t.Errorf("after the pause the server got %v", got)
	}
}

func TestCutAndCloseInPause(t *testing.T) {
	addr, _ := echo(t)
	p := begin(t, addr)
	c := dial(t, p)
	say(t, c, "x\n")
	hear(t, c, "x\n")
	p.Pause()
	say(t, c, "y\n")
	p.Cut()
	broken(t, c)
	d := dial(t, p)
	say(t, d, "z\n")
	p.Close()
	p.Close()
	broken(t, d)
}

func TestRefuse(t *testing.T) {
	addr, _ := echo(t)
	p := begin(t, addr)
	a := dial(t, p)
	say(t, a, "x\n")
	hear(t, a, "x\n")
	p.Refuse(true)
	refused(t, p)
	say(t, a, "y\n")
	hear(t, a, "y\n")
	p.Refuse(false)
	b := dial(t, p)
	say(t, b, "z\n")
	hear(t, b, "z\n")
}

func TestNoTarget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	addr := l.Addr().String()
	ok(t, l.Close())
	refused(t, begin(t, addr))
}
