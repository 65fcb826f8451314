package outbox

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// intendWith is intend for events with contents of their own, sent with an id property.
func intendWith(t *testing.T, s *Store, idProperty string, contents map[string]string) Attempt {
	t.Helper()
	a := newAttempt()
	a.IDProperty = idProperty
	var events []Event
	for id, content := range contents {
		events = append(events, event(id, content))
	}
	standing, err := s.Batches.Intend(t.Context(), a, events)
	ok(t, err)
	if slices.ContainsFunc(standing, func(s IntentResult) bool { return s != Inserted }) {
		t.Fatalf("%v", standing)
	}
	return a
}

// Of two rows that would have one record the second one is refused, however it was settled, and its attempt stays open.
func TestOneRecordOneRow(t *testing.T) {
	t.Parallel()
	s := open(t)
	with := func(record string) Settlement {
		return Settlement{Status: Created, RecordID: record, Errors: []Error{{Message: "expanded"}}}
	}
	settleOne := func(id string, st Settlement) error {
		settle(t, s, intend(t, s, id), retry, id)
		a := newAttempt()
		claimIDs(t, s, a, Retry)
		st.EventID = id
		return s.Batches.Settle(t.Context(), a.ID, Call{Created: 1}, []Settlement{st})
	}
	ok(t, settleOne("a", with("1")))
	if err := settleOne("b", with("1")); !errors.Is(err, ErrRecordTaken) {
		t.Errorf("a second row with the record: %v", err)
	}
	want(t, s, `SELECT event_id, status, record_id FROM outbox`, "a created 1", "b sending -")
	want(t, s, `SELECT count(*) FROM attempt WHERE state = 'open'`, "1")
	a := intend(t, s, "c")
	a.ObjectType = "other"
	exec(t, s, `UPDATE event SET object_type = 'other' WHERE event_id = 'c'`)
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Created: 1}, []Settlement{{EventID: "c", Status: Created, RecordID: "1", Errors: []Error{{Message: "expanded"}}}}))
}

// Whose a record is: of rows that are expanded, and of compact ones, by the time of their call.
func TestClaimed(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "compact"), created, "compact")
	a := intend(t, s, "expanded")
	settle(t, s, a, Settlement{Status: Created, RecordID: "r", Errors: []Error{{Message: "expanded"}}}, "expanded")
	want(t, s, `SELECT event_id, status FROM event ORDER BY 1`, "compact -", "expanded created")
	now := time.Now()
	look := func(from, to time.Time, ids ...string) map[string]string {
		t.Helper()
		var claims []Claim
		for _, id := range ids {
			claims = append(claims, Claim{id, from, to})
		}
		got, err := s.Records.Claimed(t.Context(), objectType, claims)
		ok(t, err)
		return got
	}
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	both := map[string]string{"r-compact": "compact", "r-expanded": "expanded"}
	for name, c := range map[string]struct{ got, want map[string]string }{
		"about then":      {look(at(time.Minute), at(-time.Minute), "r-compact", "r-expanded", "nobody's"), both},
		"at any time":     {look(time.Time{}, time.Time{}, "r-compact"), map[string]string{"r-compact": "compact"}},
		"at another time": {look(at(time.Hour), at(time.Minute), "r-compact", "r-expanded"), map[string]string{"r-expanded": "expanded"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	several, err := s.Records.Claimed(t.Context(), objectType, []Claim{
		{"x", at(time.Hour), at(50 * time.Minute)}, {"r-compact", at(time.Minute), at(-time.Second)},
		{"y", at(30 * time.Second), at(-time.Minute)}, {"z", at(55 * time.Minute), at(54 * time.Minute)},
	})
	ok(t, err)
	if diff := cmp.Diff(map[string]string{"r-compact": "compact"}, several); diff != "" {
		t.Error(diff)
	}
}

// The other events that may have made a record: in doubt with the same value, or in a call with bytes that have it.
func TestRivals(t *testing.T) {
	t.Parallel()
	s := open(t)
	doubt := Settlement{Status: Unknown, InDoubt: true, IDProperty: "p", IDValue: "SAME"}
	put := func(id string, st Settlement) {
		settle(t, s, intendWith(t, s, "p", map[string]string{id: id + " has SAME"}), st, id)
	}
	put("doubt", doubt)
	put("parked", doubt)
	_, err := s.pool.Exec(t.Context(), `UPDATE event SET status = 'dead', dead_at = now(), next_attempt_at = NULL, misses = NULL, reason = 'unknown_outcome' WHERE event_id = 'parked'`)
	ok(t, err)
	put("rejected", doubt)
	_, err = s.pool.Exec(t.Context(), `UPDATE event SET status = 'dead', dead_at = now(), next_attempt_at = NULL, misses = NULL, reason = 'rejected' WHERE event_id = 'rejected'`)
	ok(t, err)
	another := doubt
	another.IDProperty = "q"
	put("another property", another)
	another = doubt
	another.IDValue = "OTHER"
	put("another value", another)
	put("done", Settlement{Status: Created, RecordID: "1"})
	intendWith(t, s, "p", map[string]string{"calling": "this has SAME", "calling with another": "this has not"})
	put("lost", retry)
	claimIDs(t, s, newAttempt(), Retry) // calling once more: its row is expanded
	mine := Settlement{Status: Unknown, InDoubt: true, IDProperty: "p"}
	put("mine", mine)

	rivals, err := s.Records.Rivals(t.Context(), objectType, "p", []Asked{{EventID: "mine", Value: "SAME"}})
	ok(t, err)
	if diff := cmp.Diff([]Rival{
		{"doubt", "SAME", []byte("doubt has SAME"), false}, {"parked", "SAME", []byte("parked has SAME"), false},
		{"calling", "SAME", []byte("this has SAME"), true}, {"lost", "SAME", []byte("lost has SAME"), true},
	}, rivals, cmpopts.SortSlices(func(a, b Rival) bool { return a.EventID < b.EventID })); diff != "" {
		t.Error(diff)
	}
	want(t, s, `SELECT id_value FROM event WHERE event_id = 'mine'`, "SAME")
}

// A row in doubt knows by what its call was made, whoever's settings are what by now, and whether its worker reported
// or not.
func TestAskedByWhatWasSent(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := intendWith(t, s, "old_id", map[string]string{"lost": "1", "with another": "2", "sent anew": "3"})
	settle(t, s, a, retry, "lost", "sent anew", "with another")
	for _, id := range []string{"lost", "sent anew", "with another"} {
		exec(t, s, `UPDATE event SET next_attempt_at = CASE WHEN event_id = $1 THEN now() ELSE now() + interval '1 h' END WHERE status = 'retry'`, id)
		a := newAttempt()
		a.IDProperty = map[string]string{"lost": "old_id", "sent anew": "event_id"}[id]
		if ids := claimIDs(t, s, a, Retry); len(ids) != 1 {
			t.Fatalf("claimed %v", ids)
		}
		endLease(t, s, a.ID)
		_, err := s.Leases.Expire(t.Context(), 10, 0, 0)
		ok(t, err)
	}
	want(t, s, `SELECT event_id, status, id_property FROM event ORDER BY 1`, "lost unknown old_id", "sent anew unknown event_id", "with another unknown -")
	compact := intendWith(t, s, "event_id", map[string]string{"compact": "4"})
	endLease(t, s, compact.ID)
	_, err := s.Leases.Expire(t.Context(), 10, 0, 0)
	ok(t, err)
	want(t, s, `SELECT status, id_property FROM event WHERE event_id = 'compact'`, "unknown event_id")
	parent := intendWith(t, s, "event_id", map[string]string{"x": "5", "y": "6"})
	child := NewAttemptID()
	ok(t, s.Batches.Split(t.Context(), parent.ID, child, []string{"x"}, time.Hour))
	want(t, s, `SELECT id_property FROM attempt WHERE id = '`+child.String()+`'`, "event_id")
}

// A row that is to be dead if it has no record keeps the words and the group of its refusal through the questions.
func TestPendingReason(t *testing.T) {
	t.Parallel()
	s := open(t)
	bad := []Error{{Category: "VALIDATION_ERROR", Message: "no such option", Property: "stage", Rule: "INVALID_OPTION"}}
	settle(t, s, intend(t, s, "usual"), Settlement{Status: Dead, Reason: Rejected, Error: "no such option", Errors: bad}, "usual")
	settle(t, s, intend(t, s, "doubt"), Settlement{Status: Unknown, Reason: Rejected, Error: "no such option", Errors: bad, IDProperty: "p"}, "doubt")
	for range 2 {
		a := newAttempt()
		rows, err := s.Schedule.Claim(t.Context(), a, Unknown, 10, 1<<20)
		ok(t, err)
		if len(rows) != 1 || rows[0].Pending != Rejected {
			t.Fatalf("%+v", rows)
		}
		if rows[0].Misses == 0 {
			settle(t, s, a, Settlement{Status: Unknown, Reason: Rejected, Missed: true}, "doubt")
		} else {
			settle(t, s, a, Settlement{Status: Dead, Reason: Rejected, Missed: true}, "doubt")
		}
	}
	want(t, s, `SELECT count(DISTINCT fingerprint), count(*) FILTER (WHERE error = 'no such option' AND reason = 'rejected') FROM outbox WHERE status = 'dead'`, "1 2")
}

// The attempt of a trial that came to nothing can be forgotten; one that an error names, or that was not settled so,
// stays.
func TestForget(t *testing.T) {
	t.Parallel()
	s := open(t)
	end := func(id string, call Call, st Settlement) Attempt {
		a := intend(t, s, id)
		st.EventID = id
		ok(t, s.Batches.Settle(t.Context(), a.ID, call, []Settlement{st}))
		ok(t, s.Batches.Forget(t.Context(), a.ID))
		return a
	}
	end("nothing", Call{NotApplied: 1}, retry)
	end("told", Call{NotApplied: 1}, Settlement{Status: Retry, Errors: []Error{{Message: "why"}}})
	end("created", Call{Created: 1}, created)
	exec(t, s, `INSERT INTO follow (one, until) VALUES (true, now() + interval '1 h')`)
	end("followed", Call{NotApplied: 1}, retry)
	ok(t, s.Batches.Forget(t.Context(), intend(t, s, "open").ID))
	want(t, s, `SELECT o.event_id, a.id IS NOT NULL FROM event o LEFT JOIN attempt a ON a.id = o.attempt_id ORDER BY 1`,
		"created t", "followed t", "nothing f", "open t", "told t")
}

// A row that was asked about by another value before, or by a record's id, is asked about by what its last call was
// made with, also if nobody reported that.
func TestLostCallAsksByItsOwnValue(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intendWith(t, s, "old_id", map[string]string{"e": "1"}), Settlement{Status: Unknown, InDoubt: true, IDProperty: "old_id", IDValue: "O-1"}, "e")
	a := newAttempt()
	_, err := s.Schedule.Claim(t.Context(), a, Unknown, 10, 1<<20)
	ok(t, err)
	settle(t, s, a, retry, "e")
	exec(t, s, `UPDATE event SET next_attempt_at = now()`)
	a = newAttempt()
	a.IDProperty = "event_id"
	claimIDs(t, s, a, Retry)
	endLease(t, s, a.ID)
	_, err = s.Leases.Expire(t.Context(), 10, 0, 0)
	ok(t, err)
	want(t, s, `SELECT status, id_property, id_value FROM event`, "unknown event_id -")
}
