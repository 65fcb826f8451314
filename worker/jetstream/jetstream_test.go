package jetstream

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"crmintake/deploy/local"
	"crmintake/deploy/local/parallel"
	"crmintake/worker"
)

func TestMain(m *testing.M) {
	parallel.Default()
	goleak.VerifyTestMain(m)
}

// patience bounds what must happen, and soon; a test that waits so long has failed.
const patience = 30 * time.Second

// env is a NATS server of the test's own and a connection to it.
type env struct {
	server *local.NATS
	nc     *nats.Conn
	js     jetstream.JetStream
	log    *logBuffer
}

func newEnv(t testing.TB) *env {
	t.Helper()
	return newEnvWith(t, local.NATSConfig{})
}

func newEnvWith(t testing.TB, cfg local.NATSConfig) *env {
	t.Helper()
	server, err := local.StartNATS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	log := &logBuffer{}
	nc, err := Connect(server.URL(), t.Name(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &env{server, nc, js, log}
}

// openSource is Open, with waits that a busy machine keeps, and looks that an idle test needs not wait for.
func openSource(t testing.TB, nc *nats.Conn, cfg Config) (*Source, error) {
	t.Helper()
	s, err := Open(t.Context(), nc, cfg)
	if err == nil {
		s.view.waits = waits{info: patience, split: patience, idle: patience}
		s.fetcher.lanes.idleLook = 100 * time.Millisecond
	}
	return s, err
}

// init creates stream and consumer.
func (e *env) init(t testing.TB, cfg InitConfig) *Source {
	t.Helper()
	if _, err := Init(t.Context(), e.nc, cfg); err != nil {
		t.Fatal(err)
	}
	s, err := openSource(t, e.nc, cfg.Config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (e *env) publish(t testing.TB, m *nats.Msg) {
	t.Helper()
	if _, err := e.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// numbered publishes n small events with ids e0, e1…
func (e *env) numbered(t testing.TB, n int) {
	t.Helper()
	p, err := OpenPublisher(t.Context(), e.nc, PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range n {
		m := Message{Subject: "crm.create.contacts", ID: fmt.Sprint("e", i),
			Data: []byte(`{"properties":{"name":"someone"}}`), Line: i + 1}
		if err := p.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// fetch calls Fetch until it has n events, or the test's patience ends.
func fetch(t testing.TB, s *Source, n int) (events []*worker.Event) {
	t.Helper()
	for limit := time.Now().Add(patience); len(events) < n; {
		if err := s.Fetch(t.Context(), n-len(events), 64<<20, func(e *worker.Event) {
			events = append(events, e)
		}); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(limit) {
			t.Fatalf("%d of %d events in %v", len(events), n, patience)
		}
	}
	return events
}

// settled waits until the consumer has so many messages pending and unacked: acks do not wait for the server.
func settled(t testing.TB, s *Source, pending, unacked int) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		p, u, err := s.Outstanding(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p == pending && u == unacked {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("outstanding: %d pending and %d unacked, want %d and %d", p, u, pending, unacked)
		}
	}
}

// contains fails unless text has all the parts.
func contains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q\nlacks %q", text, part)
		}
	}
}

// logBuffer is a log that tests read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
