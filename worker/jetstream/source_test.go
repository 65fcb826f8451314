package jetstream

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
)

func TestFetchMakesEvents(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	long := strings.Repeat("i", worker.MaxEventIDBytes+1)
	for _, m := range []*nats.Msg{
		{Subject: "crm.create.contacts", Data: []byte(`{"properties":{}}`)},
		{Subject: "crm.create.deals", Header: nats.Header{"Nats-Msg-Id": {"id-1"}}, Data: []byte("not \x00 JSON")},
		{Subject: "crm.create.2-77", Header: nats.Header{"ce-source": {"/s"}, "ce-id": {"7"}}},
		{Subject: "crm.create.a.b", Header: nats.Header{"Nats-Msg-Id": {"id-2"}}},
		{Subject: "crm.create.deals", Header: nats.Header{"Nats-Msg-Id": {long}}},
		// Headers that the client would take for the server's words.
		{Subject: "crm.create.deals", Header: nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}},
		// Other letters: what Go's net/http makes of a header, and others.
		{Subject: "crm.create.deals", Header: nats.Header{"Ce-Id": {"8"}, "CE-SOURCE": {"/s"}}},
		{Subject: "crm.create.deals", Header: nats.Header{"nats-msg-id": {"id-3"}, "ce-id": {"9"},
			"ce-source": {"/s"}}},
		{Subject: "crm.create.deals", Header: nats.Header{"Ce-Id": {"c"}, "CE-ID": {"b"}, "cE-id": {"d"},
			"Ce-Source": {"", "/t"}, "ce-Source": {"/s"}}},
		{Subject: "crm.create.deals", Header: nats.Header{"Ce-Id": {"other"}, "ce-id": {"10"}, "ce-source": {"/s"}}},
	} {
		e.publish(t, m)
	}
	got := fetch(t, s, 10)
	place := func(i int) string {
		return worker.Place{Stream: "CRM_EVENTS", Seq: uint64(i + 1), Published: got[i].Published}.String()
	}
	want := []*worker.Event{
		{ID: place(0), Former: "CRM_EVENTS:1", ObjectType: "contacts", Subject: "crm.create.contacts",
			Payload: []byte(`{"properties":{}}`)},
		{ID: "id-1", ObjectType: "deals", Subject: "crm.create.deals", Payload: []byte("not \x00 JSON")},
		{ID: "/s/7", ObjectType: "2-77", Subject: "crm.create.2-77"},
		{ID: "id-2", Subject: "crm.create.a.b", Invalid: "the subject"},
		{ID: place(4), Former: "CRM_EVENTS:5", ObjectType: "deals", Subject: "crm.create.deals",
			Invalid: "the event id in Nats-Msg-Id has 257 bytes"},
		{ID: place(5), Former: "CRM_EVENTS:6", ObjectType: "deals", Subject: "crm.create.deals"},
		{ID: "/s/8", Former: "CRM_EVENTS:7", ObjectType: "deals", Subject: "crm.create.deals"},
		{ID: "id-3", Former: "CRM_EVENTS:8", ObjectType: "deals", Subject: "crm.create.deals"},
		{ID: "/s/b", Former: "CRM_EVENTS:9", ObjectType: "deals", Subject: "crm.create.deals"},
		{ID: "/s/10", ObjectType: "deals", Subject: "crm.create.deals"},
	}
	for i, w := range want {
		w.Stream, w.StreamSeq = "CRM_EVENTS", uint64(i+1)
		if !strings.HasPrefix(got[i].Invalid, w.Invalid) || (w.Invalid == "") != (got[i].Invalid == "") {
			t.Errorf("event %d: invalid %q, want %q", i, got[i].Invalid, w.Invalid)
		}
		if got[i].Message == nil {
			t.Errorf("event %d has no message", i)
		}
	}
	ignore := cmpopts.IgnoreFields(worker.Event{}, "Invalid", "Message", "Published")
	if diff := cmp.Diff(want, got, ignore, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// A message without an id has the same one at each delivery, by whichever consumer, and before and after a restart.
func TestPlaceIsTheMessages(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Second})
	e.publish(t, &nats.Msg{Subject: "crm.create.deals", Data: []byte("{}")})
	stream, err := e.js.Stream(t.Context(), "CRM_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := worker.Place{Stream: "CRM_EVENTS", Seq: 1, Published: stored.Time}.String()
	look := func(when string) {
		t.Helper()
		got := fetch(t, s, 1)[0]
		if got.ID != want {
			t.Errorf("%s: %s, want %s", when, got.ID, want)
		}
		if err := got.Message.Nak(0); err != nil {
			t.Fatal(err)
		}
	}
	look("first")
	look("again")
	if err := e.server.Restart(); err != nil {
		t.Fatal(err)
	}
	look("after a restart")
	if err := e.js.DeleteConsumer(t.Context(), "CRM_EVENTS", "crmintake"); err != nil {
		t.Fatal(err)
	}
	s = e.init(t, InitConfig{AckWait: time.Second})
	look("by another consumer")
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	e.numbered(t, 3)
	settled(t, s, 3, 0)
	events := fetch(t, s, 3)
	settled(t, s, 0, 3)

	if err := events[0].Message.Ack(); err != nil {
		t.Fatal(err)
	}
	settled(t, s, 0, 2)
	for range 2 { // an answer may be repeated
		if err := events[0].Message.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if err := events[1].Message.Nak(0); err != nil {
		t.Fatal(err)
	}
	again := fetch(t, s, 1)[0]
	if again.ID != "e1" || again.StreamSeq != 2 {
		t.Errorf("after the nak came %q, sequence %d", again.ID, again.StreamSeq)
	}
	if err := events[2].Message.Nak(24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := events[1].Message.Ack(); err != nil { // by the answer of an earlier delivery
		t.Fatal(err)
	}
	settled(t, s, 0, 1)
	n := 0
	if err := s.Fetch(t.Context(), 10, 1<<20, func(*worker.Event) { n++ }); err != nil || n != 0 {
		t.Errorf("while the only message is put off: %d events, %v", n, err)
	}
}

// A message in progress does not come again, though its ack wait passes several times over.
func TestInProgress(t *testing.T) {
	t.Parallel()
	const ackWait = time.Second
	for range 5 {
		again, gap := tendOne(t, ackWait)
		switch {
		case !again:
			return
		case gap < ackWait/2:
			t.Fatalf("it came again, though the server was never without word of it for more than %v", gap)
		}
		t.Logf("it came again after %v without a word of it to the server; once more", gap)
	}
	t.Error("the server never had word of it in time")
}

// tendOne keeps one of two messages in progress and neglects the other. It returns whether the first came again, and
// for how long at most the server had no word of it, which is more than it should be when the machine is busy.
func tendOne(t *testing.T, ackWait time.Duration) (again bool, gap time.Duration) {
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: ackWait})
	e.numbered(t, 2)
	last := time.Now()
	events := fetch(t, s, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(ackWait / 10)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = events[0].Message.InProgress()
				now := time.Now()
				gap, last = max(gap, now.Sub(last)), now
			case <-ctx.Done():
				gap = max(gap, time.Since(last))
				return
			}
		}
	}()
	// The neglected message comes a second and a third time, so twice the ack wait has passed.
	for neglected := 0; neglected < 2; {
		if fetch(t, s, 1)[0].ID == "e1" {
			neglected++
		} else {
			again = true
		}
	}
	cancel()
	<-done
	return again, gap
}

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
		if err := s.Fetch(t.Context(), c.max, c.bytes, func(*worker.Event) { n++ }); err != nil || n != c.want {
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

func TestServerRestart(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: 2 * time.Second})
	const total = 3000
	e.numbered(t, total)
	restarted := make(chan error, 1)
	seen := map[uint64]bool{}
	fetches := 0
	for limit := time.Now().Add(2 * patience); len(seen) < total; fetches++ {
		if fetches == 2 {
			go func() { restarted <- e.server.Restart() }()
		}
		// Errors are for the log; the source mends itself.
		if err := s.Fetch(t.Context(), 500, 1<<20, func(ev *worker.Event) {
			seen[ev.StreamSeq] = true
			_ = ev.Message.Ack()
		}); err != nil {
			t.Log(err)
		}
		if time.Now().After(limit) {
			t.Fatalf("%d of %d messages", len(seen), total)
		}
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	for pending, unacked := 0, 1; pending+unacked > 0; { // acks that were lost, and those of the last messages
		_ = s.Fetch(t.Context(), 500, 1<<20, func(ev *worker.Event) { _ = ev.Message.Ack() })
		var err error
		if pending, unacked, err = s.Outstanding(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
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

func TestConsumerGone(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	ignore := func(*worker.Event) {}
	failed := make(chan error, 1)
	go func() {
		var err error
		for err == nil { // a request lives for a second, and may be over before the consumer is
			err = s.Fetch(t.Context(), 10, 1<<20, ignore)
		}
		failed <- err
	}()
	until(t, "the request is at the server", func() bool {
		info, err := s.view.shared.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.NumWaiting > 0
	})
	if err := e.js.DeleteConsumer(t.Context(), "CRM_EVENTS", "crmintake"); err != nil {
		t.Fatal(err)
	}
	for i, err := range []error{<-failed, s.Fetch(t.Context(), 10, 1<<20, ignore)} {
		if err == nil {
			t.Fatalf("fetch %d: no error", i)
		}
		contains(t, err.Error(), "has no consumer crmintake", "'crmintake init'")
	}
	if _, _, err := s.Outstanding(t.Context()); err == nil || !strings.Contains(err.Error(), "crmintake init") {
		t.Errorf("outstanding: %v", err)
	}
	if _, err := Init(t.Context(), e.nc, InitConfig{}); err != nil {
		t.Fatal(err)
	}
	e.numbered(t, 1)
	fetch(t, s, 1)

	if err := e.js.DeleteStream(t.Context(), "CRM_EVENTS"); err != nil {
		t.Fatal(err)
	}
	if err := s.Fetch(t.Context(), 10, 1<<20, ignore); err == nil || !strings.Contains(err.Error(),
		"the stream CRM_EVENTS does not exist") {
		t.Errorf("without a stream: %v", err)
	}
	e.nc.Close()
	if err := s.Fetch(t.Context(), 10, 1<<20, ignore); err == nil {
		t.Error("a closed connection gives no error")
	}
}

func TestPausedConsumer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	e.numbered(t, 1)
	if _, err := e.js.PauseConsumer(t.Context(), "CRM_EVENTS", "crmintake", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), e.nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, strings.Join(s.Warnings(), "\n"), "is paused", "'nats consumer resume CRM_EVENTS crmintake --force'")
	n := 0
	if err := s.Fetch(t.Context(), 10, 1<<20, func(*worker.Event) { n++ }); err != nil || n != 0 {
		t.Errorf("paused: %d events, %v", n, err)
	}
	settled(t, s, 1, 0)
	if _, err := e.js.ResumeConsumer(t.Context(), "CRM_EVENTS", "crmintake"); err != nil {
		t.Fatal(err)
	}
	fetch(t, s, 1)
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
	s, err := Open(t.Context(), e.nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.numbered(t, 20)
	fetch(t, s, 20)
}
