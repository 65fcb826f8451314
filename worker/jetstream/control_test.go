package jetstream

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A schedule is never an event, and stays in the stream until it is due. What it publishes then is one.
func TestSchedule(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	stream := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
		Retention: jetstream.WorkQueuePolicy, AllowMsgSchedules: true}
	if _, err := e.js.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	s := e.init(t, InitConfig{})
	due := time.Now().Add(4 * time.Second).UTC().Format(time.RFC3339)
	e.publish(t, &nats.Msg{Subject: "crm.create.later", Data: []byte(`{"properties": {}}`),
		Header: nats.Header{"Nats-Schedule": {"@at " + due}, "Nats-Schedule-Target": {"crm.create.deals"}}})
	nothingComes(t, s)
	settled(t, s, 0, 1)
	wantStranded(t, s, 0)
	ackAll(brings(t, s, "deals"))
	settled(t, s, 0, 0)
}

// The copy of a schedule does nothing, and is no event either.
func TestCopyOfASchedule(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	other := jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"crm.create.>"}, AllowMsgSchedules: true}
	if _, err := e.js.CreateStream(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	stream := jetstream.StreamConfig{Name: "CRM_EVENTS", Retention: jetstream.WorkQueuePolicy,
		Sources: []*jetstream.StreamSource{{Name: "OTHER"}}}
	if _, err := e.js.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	s := e.init(t, InitConfig{})
	e.publish(t, &nats.Msg{Subject: "crm.create.later", Header: nats.Header{"Nats-Schedule": {"@at " +
		"2099-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"crm.create.deals"}}})
	e.of(t, "deals")
	ackAll(brings(t, s, "deals"))
	settled(t, s, 0, 0)
}

// What marks that a subject's last event was dropped is no event; what a publisher calls so is one.
func TestMarker(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	stream := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
		Retention: jetstream.WorkQueuePolicy, SubjectDeleteMarkerTTL: time.Hour}
	if _, err := e.js.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	s := e.init(t, InitConfig{})
	e.publish(t, &nats.Msg{Subject: "crm.create.tickets", Header: nats.Header{markerHeader: {"mine"}},
		Data: []byte("{}")})
	ackAll(brings(t, s, "tickets"))
	stream.MaxAge = time.Second
	if _, err := e.js.UpdateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	e.of(t, "deals")
	until(t, "the event was dropped", func() bool {
		st, err := e.js.Stream(t.Context(), "CRM_EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		m, err := st.GetLastMsgForSubject(t.Context(), "crm.create.deals")
		return err == nil && m.Header.Get(markerHeader) != ""
	})
	nothingComes(t, s)
	settled(t, s, 0, 0)
}
