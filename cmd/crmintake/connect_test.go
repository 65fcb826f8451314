package main

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crmintake/deploy/local/pgcluster"
	"crmintake/deploy/local/proxy"
	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
)

// starting is a worker that starts, with what it logs.
type starting struct {
	t    *testing.T
	stop context.CancelFunc // as a signal does
	code chan int

	mu  sync.Mutex
	log bytes.Buffer
}

func (s *starting) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *starting) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func startRun(t *testing.T, natsURL, databaseURL string, args ...string) *starting {
	t.Helper()
	s := &starting{t: t, code: make(chan int, 1)}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(t.Context())
	args = append([]string{"run", "--nats-url", natsURL, "--database-url", databaseURL, "--hubspot-url", account(t).URL,
		"--hubspot-token", secret}, args...)
	ended := make(chan struct{})
	system := systemIn(t, strings.NewReader(""), s, s)
	go func() {
		defer close(ended)
		s.code <- execute(ctx, args, system)
	}()
	t.Cleanup(func() { s.stop(); <-ended })
	return s
}

// patience is with what must happen; a test that waits so long has failed.
const patience = time.Minute

// until waits for words in the log.
func (s *starting) until(words string) {
	s.t.Helper()
	for limit := time.Now().Add(patience); !strings.Contains(s.String(), words); {
		if time.Now().After(limit) {
			s.t.Fatalf("not within %v: %q; the log:\n%s", patience, words, s)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case code := <-s.code:
			s.t.Fatalf("it ended with %d before %q; the log:\n%s", code, words, s)
		}
	}
}

func (s *starting) want(code int, parts ...string) {
	s.t.Helper()
	select {
	case got := <-s.code:
		result{code: got, err: s.String()}.want(s.t, code, parts...)
	case <-time.After(patience):
		s.t.Fatalf("not at its end within %v; the log:\n%s", patience, s)
	}
	if strings.Contains(s.String(), secret) {
		s.t.Error("the log tells the credential")
	}
}

// behind returns an address, and a proxy that the way to it leads through.
func behind(t *testing.T, address string) (string, *proxy.Proxy) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.Start(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	u.Host = p.Addr()
	return u.String(), p
}

// ready returns the addresses of a NATS server and a database that a worker can work with.
func ready(t *testing.T) (natsURL, databaseURL string) {
	t.Helper()
	server, _ := startNATS(t)
	databaseURL = outboxtest.New(t)
	crmintake(t, "", "init", "--nats-url", server.URL(), "--database-url", databaseURL).want(t, 0)
	return server.URL(), databaseURL
}

// Servers that are not there are waited for, which is said once, and so is that they have come.
func TestStartWaits(t *testing.T) {
	t.Parallel()
	natsURL, databaseURL := ready(t)
	natsURL, stream := behind(t, natsURL)
	databaseURL, postgres := behind(t, databaseURL)
	stream.Refuse(true)
	postgres.Refuse(true)
	s := startRun(t, natsURL, databaseURL, "--drain", "--log-level", "debug")
	s.until("level=DEBUG msg=\"Postgres is not there") // it has tried again
	postgres.Refuse(false)
	s.until("level=DEBUG msg=\"NATS is not there")
	stream.Refuse(false)
	s.want(0, "Postgres is there", "NATS is there", "msg=started")
	for _, once := range []string{"level=WARN msg=\"Postgres is not there; waiting for it",
		"level=WARN msg=\"NATS is not there; waiting for it"} {
		if n := strings.Count(s.String(), once); n != 1 {
			t.Errorf("%q is logged %d times:\n%s", once, n, s)
		}
	}
}

// A Postgres that recovers and says so is waited for.
func TestStartWaitsForRecovery(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	// A standby that takes no connections is one that recovers for as long as we like.
	c, err := pgcluster.Start(t.Context(), pgcluster.Config{Settings: map[string]string{
		"hot_standby": "off", "synchronous_commit": "on", // what was migrated outlives the kill
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	databaseURL := c.URL("postgres")
	if err := migrations.Up(t.Context(), databaseURL); err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", "init", "--nats-url", server.URL(), "--database-url", databaseURL).want(t, 0)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(c.Dir(), "data")
	if err := os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	up := make(chan error, 1)
	go func() { up <- c.StartAgain(t.Context()) }()

	s := startRun(t, server.URL(), databaseURL, "--drain", "--log-level", "debug")
	s.until("SQLSTATE 57P03")
	// What pg_ctl promote does.
	if err := os.WriteFile(filepath.Join(data, "promote"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(c.Pid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := <-up; err != nil {
		t.Fatal(err)
	}
	s.want(0, "Postgres is there", "msg=started")
}

// A worker that is told to stop while it waits for a server ends well, whatever the server does meanwhile.
func TestStopBeforeTheStart(t *testing.T) {
	t.Parallel()
	const stopped = "level=INFO msg=\"stopped before it began"
	natsURL, databaseURL := ready(t)
	t.Run("nobody listens", func(t *testing.T) {
		for _, name := range []string{"Postgres", "NATS"} {
			t.Run(name, func(t *testing.T) {
				natsURL, stream := behind(t, natsURL)
				databaseURL, postgres := behind(t, databaseURL)
				map[string]*proxy.Proxy{"Postgres": postgres, "NATS": stream}[name].Refuse(true)
				s := startRun(t, natsURL, databaseURL)
				s.until(name + " is not there; waiting")
				s.stop()
				s.want(0, stopped)
			})
		}
	})
	t.Run("no answer", func(t *testing.T) {
		for _, name := range []string{"Postgres", "NATS"} {
			t.Run(name, func(t *testing.T) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
				natsURL, databaseURL := natsURL, databaseURL
				mute := func(address string) string { return with(t, address, func(u *url.URL) { u.Host = l.Addr().String() }) }
				if name == "NATS" {
					natsURL = mute(natsURL)
				} else {
					databaseURL = mute(databaseURL)
				}
				s := startRun(t, natsURL, databaseURL)
				conn, err := l.Accept() // it is connected, and waits for a word
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				s.stop()
				s.want(0, stopped)
			})
		}
	})
}
