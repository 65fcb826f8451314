package main

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"crmintake/deploy/local"
	"crmintake/worker/hubspot/hubspottest"
)

// What is lost, doubled or said wrongly is seen, event by event.
func TestCompare(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	types := objectTypes(idProperties...)
	types[backlogType] = companies(idProperties)
	p, err := startParts(t.Context(), &said, local.StackConfig{CRM: hubspottest.Config{ObjectTypes: types}})
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	defer func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}()
	add := func(property, value string) string {
		id, err := p.stack.CRM.Add(objectType, map[string]string{property: value}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	record := func(n int) string { return add(counted, dealName(n)) }
	conn, err := pgx.Connect(t.Context(), p.stack.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	// Of compact rows the index knows nothing, so that what it forbids here is looked for.
	if _, err := conn.Exec(t.Context(), `DROP INDEX event_record`); err != nil {
		t.Fatal(err)
	}
	rowOf := func(objectType, id, status, record, reason string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), `INSERT INTO event (event_id,
  object_type, status, payload, content_hash, record_id, reason, dead_at,
				next_attempt_at, stream, stream_seq)
			VALUES ($1, $5, $2, 'x', 'x', nullif($3, ''), nullif($4, ''), CASE WHEN $2 = 'dead' THEN now() END,
				CASE WHEN $2 = 'retry' THEN now() END, 's', 1)`, id, status, record, reason, objectType)
		if err != nil {
			t.Fatal(err)
		}
	}
	row := func(id, status, record, reason string) { t.Helper(); rowOf(objectType, id, status, record, reason) }
	row(eventID(0), "created", record(0), "")
	row(eventID(1), "dead", "", "rejected")
	want := balance{Published: 2, Created: 1, Dead: 1, DeadBy: map[string]int{"rejected": 1},
		DeadWithRecord: map[string]int{}}
	check := func(published int) {
		t.Helper()
		got, err := p.compare(t.Context(), ordinary(published))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v, (-want +got)\n%s", err, diff)
		}
	}
	check(2)

	record(0) // a second one
	want.Duplicates++
	one := record(2)
	row(eventID(2), "created", one, "")
	row(eventID(3), "created", one, "") // another's record, and none of its own
	want.Created, want.WrongRecords, want.ClaimedTwice, want.Lost = 3, 1, 1, 1
	row(eventID(4), "created", "4711", "") // nobody's
	record(4)
	want.Created, want.WrongRecords = 4, 2
	record(5)
	row(eventID(5), "dead", "", "rejected") // but it was created
	want.Dead, want.DeadBy, want.DeadWithRecord = 2, map[string]int{"rejected": 2}, map[string]int{"rejected": 1}
	want.Denied++
	record(6)                                    // and no row at all
	row("order-07", "dead", "", "invalid_event") // nobody published it
	want.Dead, want.DeadBy["invalid_event"] = 3, 1
	want.Lost, want.Published = 2, 7
	check(7)

	add(idProperty, eventID(7)) // one that is known by its id only
	row(eventID(7), "dead", "", "exhausted")
	row(eventID(8), "dead", "", "unknown_outcome") // which does not deny its record
	record(8)
	row(eventID(9), "retry", "", "")
	row(eventID(10), "discarded", "", "rejected")
	want.Dead, want.DeadBy["exhausted"], want.DeadBy["unknown_outcome"] = 5, 1, 1
	want.DeadWithRecord["exhausted"], want.DeadWithRecord["unknown_outcome"] = 1, 1
	want.Denied, want.Undecided = 2, 1
	want.Lost, want.Published = 4, 11 // what is undecided or discarded has no record
	check(11)

	// The other id property names events as well, and events of another type are held against that type's records.
	add(idProperties[1], eventID(11))
	row(eventID(11), "dead", "", "exhausted")
	want.Dead, want.DeadBy["exhausted"], want.DeadWithRecord["exhausted"], want.Denied, want.Published = 6, 2, 2, 3, 12
	check(12)
	others := backlogOf(3)
	for n := range 2 {
		id, err := p.stack.CRM.Add(backlogType, map[string]string{backlogCounted: others.value(n)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		rowOf(backlogType, others.id(n), "created", id, "")
	}
	want.Created, want.Published = 6, 15
	want.Lost++ // the third
	got, err := p.compare(t.Context(), ordinary(12), others)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
}
