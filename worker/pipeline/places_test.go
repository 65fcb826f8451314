package pipeline_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"crmintake/deploy/local"
	"crmintake/outbox"
	"crmintake/worker/event"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

// withoutIDs makes n good events that are known by their place.
func withoutIDs(objectType, prefix string, n int) []message {
	list := named(objectType, prefix, n)
	for k := range list {
		list[k].id = ""
	}
	return list
}

// A stream that was made anew counts from 1 again: its events are no repeats of those that had their places, be they
// alike or not.
func TestStreamRemadeWithoutIDs(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.publish(withoutIDs("contracts", "a", 50)...)
	r.drain(config())
	for round, prefix := range []string{"a", "b"} {
		r.must(r.remakeStream())
		r.publish(withoutIDs("contracts", prefix, 50)...)
		r.drain(config())
		r.exactlyOnce("contracts", 50*(round+2))
	}
}

// So it is with one that was put back to an older state, which keeps what it had then: those events are known, and new
// ones are new.
func TestStreamPutBackWithoutIDs(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	dir, backup := t.TempDir(), t.TempDir()
	server, err := local.StartNATS(local.NATSConfig{Dir: dir})
	r.must(err)
	r.connect(server)
	_, err = jetstream.Init(t.Context(), r.nc, jetstream.InitConfig{})
	r.must(err)
	r.publish(withoutIDs("contracts", "a", 20)...)
	r.must(server.Stop())
	r.must(os.CopyFS(backup, os.DirFS(dir)))

	server, err = local.StartNATS(local.NATSConfig{Dir: dir})
	r.must(err)
	r.connect(server)
	r.publish(withoutIDs("contracts", "b", 20)...)
	r.drain(config())
	r.exactlyOnce("contracts", 40)
	r.must(server.Stop())

	server, err = local.StartNATS(local.NATSConfig{Dir: backup})
	r.must(err)
	t.Cleanup(func() { r.must(server.Stop()) })
	r.connect(server)
	r.publish(withoutIDs("contracts", "b", 20)...) // at the places of the others
	r.publish(withoutIDs("contracts", "c", 20)...)
	r.drain(config())
	r.exactlyOnce("contracts", 80)
}

// connect has the rig, and its workers, use another server.
func (r *rig) connect(server *local.NATS) {
	r.t.Helper()
	nc, err := nats.Connect(server.URL())
	r.must(err)
	r.t.Cleanup(nc.Close)
	r.nc, r.natsURL = nc, server.URL()
}

// What an older program kept under the ids that it made is known when the same messages come again. New messages at
// those places are new.
func TestEventsOfAnOlderProgram(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	const good, bad = `{"properties":{"name":"n"}}`, `{"properties":`
	publish := func() {
		t.Helper()
		for _, m := range []*nats.Msg{
			{Data: []byte(good)},
			{Data: []byte(good), Header: nats.Header{"ce-source": {"/s"}, "ce-id": {"eu/1"}}},
			{Data: []byte(good), Header: nats.Header{"Ce-Source": {"/s"}, "Ce-Id": {"1"}}},
			{Data: []byte(bad)},
			{Data: []byte(bad), Header: nats.Header{"ce-source": {"/s"}, "ce-id": {"x"}}},
			{Data: []byte(good), Header: nats.Header{"ce-source": {"/s"}, "ce-id": {"x"}}},
		} {
			m.Subject = "crm.create.contracts"
			_, err := r.js().PublishMsg(t.Context(), m)
			r.must(err)
		}
	}
	publish()
	store, err := outbox.Open(t.Context(), r.database, 2)
	r.must(err)
	defer store.Close()
	old := func(seq uint64, id, body string) outbox.Event {
		return outbox.Event{ID: id, ObjectType: "contracts", Payload: []byte(body), ContentHash: event.Hash("crm.create.contracts", []byte(body)),
			Stream: streamName, StreamSeq: seq}
	}
	var settled []outbox.Settlement
	var events []outbox.Event
	for k, id := range []string{"CRM_EVENTS:1", "/s/eu/1", "CRM_EVENTS:3"} {
		events = append(events, old(uint64(k+1), id, good))
		settled = append(settled, outbox.Settlement{EventID: id, Status: outbox.Created, RecordID: fmt.Sprint("old", k)})
	}
	attempt := outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "contracts", Worker: "old", Lease: time.Minute}
	_, err = store.Batches.Intend(t.Context(), attempt, events)
	r.must(err)
	r.must(store.Batches.Settle(t.Context(), attempt.ID, outbox.Call{Created: 3}, settled))
	_, err = store.Batches.InsertDead(t.Context(), []outbox.DeadLetter{
		{Event: old(4, "CRM_EVENTS:4", bad), Reason: outbox.InvalidEvent, Error: "not JSON"},
		{Event: old(5, "/s/x", bad), Reason: outbox.InvalidEvent, Error: "not JSON"},
		{Event: old(6, "/s/x#CRM_EVENTS:6", good), Reason: outbox.IDReused, Error: "the id is another event's"},
	})
	r.must(err)
	r.drain(config())
	r.expect(`SELECT count(*) FROM outbox`, "6")
	if n := r.crm.Len("contracts"); n != 0 {
		t.Errorf("%d records were made again", n)
	}

	// An hour later, in a stream that was made anew. By its own id the fifth is the one that is dead already.
	r.rows(`UPDATE event SET received_at = received_at - interval '1 hour'`)
	r.must(r.remakeStream())
	publish()
	r.drain(config())
	r.expect(`SELECT status, reason, count(*) FROM outbox GROUP BY status, reason ORDER BY status, reason`,
		"created <nil> 6", "dead id_reused 2", "dead invalid_event 3")
	if n := r.crm.Len("contracts"); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

// bury keeps a message of contracts as a dead letter, as an older program did.
func (r *rig) bury(seq uint64, id, body string) {
	r.t.Helper()
	store, err := outbox.Open(r.t.Context(), r.database, 2)
	r.must(err)
	defer store.Close()
	_, err = store.Batches.InsertDead(r.t.Context(), []outbox.DeadLetter{{Reason: outbox.InvalidEvent, Error: "invalid", Event: outbox.Event{
		ID: id, ObjectType: "contracts", Payload: []byte(body), ContentHash: event.Hash("crm.create.contracts", []byte(body)),
		Stream: streamName, StreamSeq: seq,
	}}})
	r.must(err)
}

// Two pairs of source and id that look alike when they are put together are two events, with one content, too.
func TestSourceAndIDAreTwoThings(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	for range 2 {
		for _, pair := range [][2]string{{"/s", "eu/1"}, {"/s/eu", "1"}, {"/s", "eu%2F1"}} {
			m := &nats.Msg{Subject: "crm.create.contracts", Data: []byte(`{"properties":{"name":"n"}}`),
				Header: nats.Header{"Ce-Source": {pair[0]}, "Ce-Id": {pair[1]}}} // as a gateway in Go copies them
			_, err := r.js().PublishMsg(t.Context(), m, natsjs.WithExpectStream(streamName))
			r.must(err)
		}
	}
	r.drain(config())
	r.expect(`SELECT event_id, status FROM outbox ORDER BY event_id`, "/s/eu%252F1 created", "/s/eu%2F1 created", "/s/eu/1 created")
	r.exactlyOnce("contracts", 3)
}
