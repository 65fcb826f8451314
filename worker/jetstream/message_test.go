package jetstream

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

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

// Which span a message was published in is read only for somebody who traces.
func TestPublisher(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	m := nats.NewMsg("crm.create.contacts")
	m.Header.Set("traceparent", parent)
	m.Header.Set("Tracestate", "a=b") // names of NATS headers know cases, and publishers write either
	for _, traces := range []bool{false, true} {
		s.view.cfg.Traces = traces
		e.publish(t, m)
		got := fetch(t, s, 1)[0]
		want := [2]string{}
		if traces {
			want = [2]string{parent, "a=b"}
		}
		if headers := [2]string{got.TraceParent, got.TraceState}; headers != want {
			t.Errorf("with traces %v: published in %q, want %q", traces, headers, want)
		}
		if got.Published.IsZero() || got.Redelivered {
			t.Errorf("published at %v, redelivered: %v", got.Published, got.Redelivered)
		}
		if err := got.Message.Nak(0); err != nil {
			t.Fatal(err)
		}
		again := fetch(t, s, 1)[0]
		if !again.Redelivered || !again.Published.Equal(got.Published) {
			t.Errorf("delivered again: %v, published at %v, want %v", again.Redelivered, again.Published, got.Published)
		}
		if err := again.Message.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}
