package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"crmintake/outbox/outboxtest"
)

// A row is compact while it stands as its call does, and expanded from the moment that anything else becomes of it,
// with its payload.
func TestRowsAreBareUntilTheyGoAnotherWay(t *testing.T) {
	t.Parallel()
	const tables = `
SELECT e.event_id, e.status, e.nth, convert_from(e.payload, 'UTF8'), e.record_id, a.payloads IS NOT NULL, a.compact_ids, a.record_ids
FROM event e JOIN attempt a ON a.id = e.attempt_id ORDER BY e.event_id`
	for name, c := range map[string]struct {
		do   func(*testing.T, *Store, Attempt)
		want []string
	}{
		"intended": {func(*testing.T, *Store, Attempt) {},
			[]string{"a - 1 - - t - -", "b - 2 - - t - -", "c - 3 - - t - -"}},
		"created": {func(t *testing.T, s *Store, a Attempt) {
			list := alike(created, "c", "a", "b")
			for i, id := range []string{"30", "10", "20"} {
				list[i].RecordID = id
			}
			ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Created: 3}, list))
		}, []string{"a - 1 - - f {a,b,c} {10,20,30}", "b - 2 - - f {a,b,c} {10,20,30}", "c - 3 - - f {a,b,c} {10,20,30}"}},
		"created in part": {func(t *testing.T, s *Store, a Attempt) {
			kept := created
			kept.Keep = true
			ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Created: 2, NotApplied: 1}, append(alike(created, "b"), append(alike(retry, "a"), alike(kept, "c")...)...)))
		}, []string{"a retry - content of a - f {a,b,c} {NULL,r-b,NULL}", "b - 2 - - f {a,b,c} {NULL,r-b,NULL}", "c created - content of c r-c f {a,b,c} {NULL,r-b,NULL}"}},
		"rejected": {func(t *testing.T, s *Store, a Attempt) { settle(t, s, a, dead, "a", "b", "c") },
			[]string{"a dead - content of a - f {a,b,c} {NULL,NULL,NULL}", "b dead - content of b - f {a,b,c} {NULL,NULL,NULL}", "c dead - content of c - f {a,b,c} {NULL,NULL,NULL}"}},
		"expired": {func(t *testing.T, s *Store, a Attempt) { endLease(t, s, a.ID); expire(t, s) },
			[]string{"a unknown - content of a - f - -", "b unknown - content of b - f - -", "c unknown - content of c - f - -"}},
		"split": {func(t *testing.T, s *Store, a Attempt) {
			ok(t, s.Batches.Split(t.Context(), a.ID, NewAttemptID(), []string{"b"}, a.Lease))
		}, []string{"a sending - content of a - f - -", "b sending - content of b - f - -", "c sending - content of c - f - -"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			c.do(t, s, intend(t, s, "a", "b", "c"))
			want(t, s, tables, c.want...)
		})
	}
}

// What a compact row is made of comes back byte for byte, and goes with the call.
func TestBarePayloads(t *testing.T) {
	t.Parallel()
	s := open(t)
	list := events("a", "b", "c")
	list[0].Payload, list[1].Payload, list[2].Payload = []byte{}, []byte("\x00\xff{},\"\\"), bytes.Repeat([]byte("long"), 50_000)
	a := newAttempt()
	_, err := s.Batches.Intend(t.Context(), a, list)
	ok(t, err)
	for _, e := range list {
		if got, err := s.Read.Get(t.Context(), e.ID); err != nil || !bytes.Equal(got.Payload, e.Payload) || got.Status != Sending {
			t.Errorf("%s in a call: %d bytes, %s, %v", e.ID, len(got.Payload), got.Status, err)
		}
	}
	settle(t, s, a, created, "a", "b", "c")
	for _, e := range list {
		if got, err := s.Read.Get(t.Context(), e.ID); err != nil || len(got.Payload) > 0 || got.Status != Created || got.RecordID != created.RecordID+"-"+e.ID || got.Attempts != 1 {
			t.Errorf("%s created: %+v, %v", e.ID, got, err)
		}
	}
}

// The events of a batch, which are alike, take little room while they are in a call.
func TestPayloadsAreCompressed(t *testing.T) {
	t.Parallel()
	s := open(t)
	var list []Event
	for n := range 100 {
		list = append(list, event(fmt.Sprintf("e%03d", n), fmt.Sprintf(`{"properties":{"name":"Contract %d","amount":"%d.50","status":"signed"}}`, n, n)))
	}
	_, err := s.Batches.Intend(t.Context(), newAttempt(), list)
	ok(t, err)
	var has bool // what the server was built with
	ok(t, s.pool.QueryRow(t.Context(), `SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'`).Scan(&has))
	expected := "lz4 t"
	if !has {
		expected = "- f"
	}
	want(t, s, `SELECT pg_column_compression(payloads), pg_column_size(payloads) < (SELECT sum(length(p)) FROM unnest(payloads) AS p) / 3 FROM attempt`, expected)
}

// Whatever comes first, retention takes no attempt that a compact row stands by, and in the end all but what an error
// names.
func TestSweepKeepsWhatBareRowsStandBy(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "a", "b"), created, "a", "b")
	refused := dead
	refused.Errors = []Error{{Message: "bad"}}
	ok(t, s.Batches.Settle(t.Context(), intend(t, s, "c", "d").ID, Call{Created: 1, Rejected: 1}, append(alike(created, "c"), alike(refused, "d")...)))
	makeOlder(t, s, "31 days")
	const records = `SELECT event_id, record_id FROM outbox ORDER BY event_id`
	before := lines(t, s, records)
	removed, err := s.Retention.sweep(t.Context(), "attempt", sweepAttempts, month)
	if err != nil || removed != 0 {
		t.Errorf("%d attempts removed, %v", removed, err)
	}
	want(t, s, records, before...)
	if rows, attempts := sweepAll(t, s, month); rows != 3 || attempts != 1 {
		t.Errorf("%d rows and %d attempts removed, want 3 and 1", rows, attempts)
	}
	want(t, s, records, "d -")
	want(t, s, `SELECT compact_ids, record_ids, inputs FROM attempt`, "- - 2")
}

// Nothing is left with a server process where the address says that it is not ours alone.
func TestWithoutPreparedStatements(t *testing.T) {
	t.Parallel()
	for _, said := range []string{"default_query_exec_mode=cache_describe", "statement_cache_capacity=0&description_cache_capacity=0"} {
		address := outboxtest.New(t)
		s := openAt(t, address+"&"+said, 1)
		settle(t, s, intend(t, s, "a", "b"), created, "a", "b")
		want(t, openAt(t, address, 1), `SELECT count(*) FROM outbox WHERE status = 'created'`, "2")
		var statements int
		ok(t, s.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_prepared_statements`).Scan(&statements))
		if statements != 0 {
			t.Errorf("%s: %d prepared statements", said, statements)
		}
	}
}

// A session that has lost its prepared statements costs one try.
func TestLostStatements(t *testing.T) {
	t.Parallel()
	s := openAt(t, outboxtest.New(t), 1)
	intend(t, s, "a")
	exec(t, s, `DEALLOCATE ALL`)
	if _, err := s.Batches.Intend(t.Context(), newAttempt(), events("b")); err == nil {
		t.Error("no statement was lost")
	}
	intend(t, s, "b")
}

func TestOpenRefusesModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"exec", "simple_protocol", "describe_exec"} {
		_, err := Open(t.Context(), outboxtest.New(t)+"&default_query_exec_mode="+mode, 1)
		if err == nil || !strings.Contains(err.Error(), "leave it out") {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// A Settle that waits for what another connection does to its attempt settles the rows as it finds them then.
func TestSettleWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql  string
		args func(a Attempt) []any
		want []string
	}{
		"for a renewal": {renew, func(a Attempt) []any { return []any{[]uuid.UUID{a.ID}, a.Lease} },
			[]string{"a created r-a - 1", "b retry - content of b 0"}},
		"until its rows are expanded": {expand, func(a Attempt) []any { return []any{a.ID, []string{"a"}} },
			[]string{"a created r-a - 1", "b retry - content of b 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			a := intend(t, s, "a", "b")
			tx, err := s.pool.Begin(t.Context())
			ok(t, err)
			_, err = tx.Exec(t.Context(), c.sql, c.args(a)...)
			ok(t, err)
			settled := make(chan error, 1)
			go func() {
				settled <- s.Batches.Settle(t.Context(), a.ID, Call{Created: 1, NotApplied: 1}, append(alike(created, "a"), alike(retry, "b")...))
			}()
			for waits := false; !waits; {
				select {
				case err := <-settled:
					t.Fatalf("it did not wait: %v", err)
				default:
					ok(t, s.pool.QueryRow(t.Context(), `
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits))
				}
			}
			ok(t, tx.Commit(t.Context()))
			ok(t, <-settled)
			want(t, s, `SELECT event_id, status, record_id, convert_from(payload, 'UTF8'), attempts FROM outbox ORDER BY event_id`, c.want...)
		})
	}
}

func TestSplitOfNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := intend(t, s, "a")
	const tables = `SELECT e, a FROM event e, attempt a`
	before := lines(t, s, tables)
	if err := s.Batches.Split(t.Context(), a.ID, NewAttemptID(), []string{"x"}, a.Lease); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("got %v", err)
	}
	want(t, s, tables, before...)
}
