package jetstream

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func TestValidateURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"nats://h", "h:4222", "tls://u:p@h:1, nats://[::1]:2", "wss://h"} {
		if err := ValidateURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "nats://", "nats://h,", "http://me:secret@h", "nats://me:secret@h:port",
		"nats://me:sec ret@h", "nats://me:secret%zz@h"} {
		if err := ValidateURL(bad); err == nil || strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestConnectFails(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	// A port on which nobody listens any more.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, err = Connect("nats://me:secret@"+address, "test", log)
	if err == nil {
		t.Fatal("connected to nobody")
	}
	contains(t, err.Error(), "can't connect to NATS at "+address, "check --nats-url")
	if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "\n") {
		t.Errorf("the error says %q", text)
	}

	s := protected(t)
	_, err = Connect("nats://me:wrong-secret@"+s.Addr().String(), "test", log)
	if err == nil {
		t.Fatal("connected with a wrong password")
	}
	contains(t, err.Error(), "check user and password")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error says %q", err)
	}
	nc, err := Connect("nats://me:secret@"+s.Addr().String(), "test", log)
	if err != nil {
		t.Fatal(err)
	}
	if err := Close(nc); err != nil {
		t.Error(err)
	}
	if err := Close(nc); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// protected is a server that asks for a password.
func protected(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "me",
		Password: "secret", NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	return s
}

func TestLossAndRecoveryAreLoggedOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if err := e.server.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "the recovery", func() bool { return strings.Contains(e.log.String(), "restored") })
	// To close it is no loss; the client calls its handlers in order.
	closed := make(chan struct{})
	e.nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	e.nc.Close()
	<-closed
	text := e.log.String()
	contains(t, text, "level=WARN msg=\"connection to NATS lost", "lost_for=",
		"nats="+strings.TrimPrefix(e.server.URL(), "nats://"))
	if n := strings.Count(text, "\n"); n != 2 {
		t.Errorf("%d lines: %s", n, text)
	}
}

func TestErrorsOnTheSideAreLoggedOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	// Two subscribers that don't listen, each with room for one message.
	for range 2 {
		if _, err := e.nc.ChanSubscribe("s", make(chan *nats.Msg, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		if err := e.nc.Publish("s", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	until(t, "the error", func() bool { return strings.Contains(e.log.String(), "slow consumer") })
	e.nc.Close()
	if n := strings.Count(e.log.String(), "slow consumer"); n != 1 {
		t.Errorf("logged %d times: %s", n, e.log)
	}
}

// until waits for what another goroutine does in its own time.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
