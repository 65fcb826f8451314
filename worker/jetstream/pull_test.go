package jetstream

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
)

func TestFetchBounds(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	body := make([]byte, 10_000)
	for range 20 {
		e.publish(t, &nats.Msg{Subject: "crm.create.contacts", Data: body})
	}
	for _, c := range []struct{ max, bytes, want int }{
		{3, 1 << 20, 3},
		{100, 45_000, 4},
		{100, 1, 1}, // larger than what is left: alone
		{100, 9_999, 1},
		{100, 1 << 20, 11},
	} {
		n := 0
		var err error
		// A server that is late delivers to the next request.
		for limit := time.Now().Add(patience); err == nil && n == 0 && time.Now().Before(limit); {
			err = s.Fetch(t.Context(), c.max, c.bytes, func(*worker.Event) { n++ })
		}
		if err != nil || n != c.want {
			t.Errorf("at most %d with %d bytes: %d events, %v; want %d", c.max, c.bytes, n, err, c.want)
		}
	}
	settled(t, s, 0, 20) // nothing was sent that wasn't delivered
}

// To the byte, the server ends a request without a word; we must not wait for one until it expires.
func TestFetchExactBytes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	e.numbered(t, 3)
	first := fetch(t, s, 1)[0] // the others are as large
	size := len(first.Subject) + len(first.Message.(*message).reply) + len(first.Payload) +
		len("NATS/1.0\r\nNats-Msg-Id: e0\r\n\r\n")
	n := 0
	if err := s.Fetch(t.Context(), 10, size, func(*worker.Event) { n++ }); err != nil || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
	settled(t, s, 1, 2)
}

// Whenever ctx ends, each message is either delivered or still the server's: none is on its way to nobody.
func TestFetchEndsWithContext(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	s.fetcher.puller.lateness = patience // what comes later would be nobody's until the ack wait ends
	const total = 5000
	e.numbered(t, total)
	seen := map[uint64]int{}
	limit := time.Now().Add(patience)
	for stop := 1; len(seen) < total; stop = stop*3%1000 + 1 {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := s.Fetch(ctx, 2000, 64<<20, func(ev *worker.Event) {
			if n++; n == stop {
				cancel()
			}
			seen[ev.StreamSeq]++
			if err := ev.Message.Ack(); err != nil {
				t.Error(err)
			}
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(limit) {
			t.Fatalf("%d of %d messages", len(seen), total)
		}
	}
	settled(t, s, 0, 0)
	for seq, times := range seen {
		if times != 1 {
			t.Errorf("message %d came %d times", seq, times)
		}
	}

	// Without any message it ends at once, and not when the request does: with what is published then delivered to the
	// next.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Fetch(ctx, 10, 1<<20, func(*worker.Event) { t.Error("an event from nowhere") }) }()
	cancel()
	if err := <-ended; err != nil && err != context.Canceled {
		t.Error(err)
	}
	if err := s.Fetch(ctx, 10, 1<<20, nil); err != context.Canceled {
		t.Errorf("with an ended context: %v", err)
	}
	e.publish(t, &nats.Msg{Subject: "crm.create.contacts"})
	fetch(t, s, 1)
}

// While the server is away, no requests pile up to be answered all together when it is back.
func TestNoRequestsWithoutServer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	if err := e.server.Stop(); err != nil {
		t.Fatal(err)
	}
	until(t, "the loss", func() bool { return !e.nc.IsConnected() })
	before := e.nc.Stats().OutMsgs
	if err := s.Fetch(t.Context(), 10, 1<<20, func(*worker.Event) {}); err != nil {
		t.Errorf("an error, which the connection has logged: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if waitConnected(ctx, e.nc, patience) {
		t.Error("connected to nobody")
	}
	if n := e.nc.Stats().OutMsgs - before; n != 0 {
		t.Errorf("%d requests", n)
	}
}

// A consumer may limit what one request asks for; more would be refused.
func TestRequestLimits(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if _, err := Init(t.Context(), e.nc, InitConfig{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.js.CreateConsumer(t.Context(), "CRM_EVENTS", jetstream.ConsumerConfig{}); err == nil {
		t.Fatal("a work queue takes a second consumer") // what the test believes
	}
	if _, err := e.js.UpdateConsumer(t.Context(), "CRM_EVENTS", jetstream.ConsumerConfig{
		Durable: "crmintake", FilterSubject: "crm.create.>", AckPolicy: jetstream.AckExplicitPolicy,
		MaxRequestBatch: 7, MaxRequestMaxBytes: 1000, MaxRequestExpires: 100 * time.Millisecond,
	}); err != nil {
		t.Fatal(err)
	}
	s, err := openSource(t, e.nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.numbered(t, 20)
	fetch(t, s, 20)
}
