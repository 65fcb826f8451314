package outbox

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
)

func TestExpireACall(t *testing.T) {
	t.Parallel()
	s := open(t)
	other := intend(t, s, "other")
	a := intend(t, s, "a", "b")
	if lost := expire(t, s); len(lost) != 0 {
		t.Errorf("expired before its time: %v", lost)
	}
	endLease(t, s, a.ID)
	if diff := cmp.Diff([]Expired{{ID: a.ID, Worker: "w", ObjectType: objectType, Rows: 2}}, expire(t, s)); diff != "" {
		t.Error(diff)
	}
	if lost := expire(t, s); len(lost) != 0 {
		t.Errorf("expired twice: %v", lost)
	}
	want(t, s, `SELECT event_id, status, attempts, misses, in_doubt, next_attempt_at <= now(), error FROM outbox ORDER BY event_id`,
		"a unknown 1 0 t t the worker did not report: the call may or may not have been made",
		"b unknown 1 0 t t the worker did not report: the call may or may not have been made",
		"other sending 0 - f - -")
	want(t, s, `SELECT event_id, category FROM outbox_error ORDER BY event_id`, "a LEASE_EXPIRED", "b LEASE_EXPIRED")
	want(t, s, `SELECT state, event_ids, closed_at IS NULL FROM attempt ORDER BY id`, "open {other} t", "expired - f")
	settle(t, s, other, created, "other")
}

func TestExpireARead(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "a"), unknown, "a")
	a := newAttempt()
	claimIDs(t, s, a, Unknown)
	exec(t, s, `UPDATE event SET misses = 1`)
	before := lines(t, s, `SELECT count(*) FROM outbox_error`)
	endLease(t, s, a.ID)
	if ids := claimIDs(t, s, newAttempt(), Unknown); ids != nil {
		t.Errorf("claimed from under an open attempt: %v", ids)
	}
	if diff := cmp.Diff([]Expired{{ID: a.ID, Read: true, Worker: "w", ObjectType: objectType, Rows: 1}}, expire(t, s)); diff != "" {
		t.Error(diff)
	}
	want(t, s, `SELECT status, attempts, misses, next_attempt_at <= now(), error FROM outbox`, "unknown 1 1 t no answer")
	want(t, s, `SELECT count(*) FROM outbox_error`, before...)
	if diff := cmp.Diff([]string{"a"}, claimIDs(t, s, newAttempt(), Unknown)); diff != "" {
		t.Error(diff)
	}
}

func TestExpireUpToALimit(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, id := range numbered("", 3) {
		endLease(t, s, intend(t, s, id).ID)
	}
	for _, n := range []int{2, 1, 0} {
		lost, err := s.Leases.Expire(t.Context(), 2, 0, 0)
		ok(t, err)
		if len(lost) != n {
			t.Errorf("expired %d, want %d", len(lost), n)
		}
	}
}

// Where failures go on, only leases that ran out a while ago are taken.
func TestExpireOfAWhileAgo(t *testing.T) {
	t.Parallel()
	s := open(t)
	old, young := intend(t, s, "a"), intend(t, s, "b")
	exec(t, s, `UPDATE attempt SET lease_until = now() - CASE id WHEN $1 THEN interval '90 seconds' ELSE interval '30 seconds' END`, old.ID)
	for _, want := range []struct {
		ago time.Duration
		id  uuid.UUID
	}{{time.Minute, old.ID}, {time.Second, young.ID}} {
		lost, err := s.Leases.Expire(t.Context(), 10, want.ago, 0)
		ok(t, err)
		if len(lost) != 1 || lost[0].ID != want.id {
			t.Errorf("%v ago: %+v", want.ago, lost)
		}
	}
}

// A lease that is over from the start: how an attempt says so, and not the worker's clock, decides.
func TestLeaseIsByTheAttempt(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := newAttempt()
	a.Lease = -time.Second
	_, err := s.Batches.Intend(t.Context(), a, events("a"))
	ok(t, err)
	if lost := expire(t, s); len(lost) != 1 {
		t.Errorf("expired: %v", lost)
	}
	b := newAttempt()
	b.Lease = 90 * time.Second
	_, err = s.Batches.Intend(t.Context(), b, events("b"))
	ok(t, err)
	want(t, s, `SELECT lease_until - started_at FROM attempt WHERE state = 'open'`, "00:01:30")
}

func TestRenew(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b, gone := intend(t, s, "a"), intend(t, s, "b"), intend(t, s, "gone")
	settle(t, s, intend(t, s, "r"), unknown, "r")
	read := newAttempt()
	claimIDs(t, s, read, Unknown)
	endLease(t, s, gone.ID)
	expire(t, s)
	for _, at := range []Attempt{a, b, read} {
		endLease(t, s, at.ID)
	}
	open, err := s.Leases.RenewAll(t.Context(), []uuid.UUID{a.ID, read.ID, gone.ID, NewAttemptID()}, time.Hour)
	ok(t, err)
	sort := cmpopts.SortSlices(func(a, b uuid.UUID) bool { return a.String() < b.String() })
	if diff := cmp.Diff([]uuid.UUID{a.ID, read.ID}, open, sort); diff != "" {
		t.Error(diff)
	}
	ok(t, s.Leases.Renew(t.Context(), b))
	if lost := expire(t, s); len(lost) != 0 {
		t.Errorf("expired although renewed: %v", lost)
	}
	if err := s.Leases.Renew(t.Context(), gone); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("renewed a lost lease: %v", err)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	s := open(t)
	parent := intend(t, s, "a", "b", "c", "d", "e")
	endLease(t, s, parent.ID)
	child := func(of uuid.UUID, ids ...string) uuid.UUID {
		t.Helper()
		id := NewAttemptID()
		for range 2 { // the second time as if the first answer had been lost
			ok(t, s.Batches.Split(t.Context(), of, id, ids, time.Hour))
		}
		return id
	}
	left := child(parent.ID, "a", "b", "c")
	right := child(parent.ID, "d", "e")
	if lost := expire(t, s); len(lost) != 0 {
		t.Errorf("a split parent's lease ran out: %v", lost)
	}
	// The rows that moved are not the parent's any more.
	if err := s.Batches.Settle(t.Context(), parent.ID, Call{NotApplied: 5}, alike(dead, "a", "b")); err == nil {
		t.Error("the parent settled rows of its child")
	}
	ok(t, s.Batches.Settle(t.Context(), parent.ID, Call{Status: 400, NotApplied: 5}, nil))
	want(t, s, `SELECT status, count(*) FROM outbox GROUP BY 1`, "sending 5")

	leftmost := child(left, "a")
	middle := child(left, "b", "c")
	ok(t, s.Batches.Settle(t.Context(), left, Call{Status: 400, NotApplied: 3}, nil))
	ok(t, s.Batches.Settle(t.Context(), leftmost, Call{Status: 400, Rejected: 1}, alike(dead, "a")))
	ok(t, s.Batches.Settle(t.Context(), middle, Call{Status: 201, Created: 2}, alike(created, "b", "c")))
	endLease(t, s, right)
	if lost := expire(t, s); len(lost) != 1 || lost[0].ID != right || lost[0].Rows != 2 {
		t.Errorf("expired: %v", lost)
	}
	want(t, s, rowStates, "a dead", "b created", "c created", "d unknown", "e unknown")
	want(t, s, `SELECT (SELECT min(p.inputs) FROM attempt p WHERE p.id = a.parent_id), inputs, state, created, rejected, not_applied FROM attempt a ORDER BY id`,
		"- 5 settled 0 0 5", "5 3 settled 0 0 3", "5 2 expired - - -", "3 1 settled 0 1 0", "3 2 settled 2 0 0")
}

// A parent may keep rows of its own.
func TestSplitInPart(t *testing.T) {
	t.Parallel()
	s := open(t)
	parent, child := intend(t, s, "a", "b", "c"), NewAttemptID()
	ok(t, s.Batches.Split(t.Context(), parent.ID, child, []string{"b"}, time.Hour))
	ok(t, s.Batches.Settle(t.Context(), parent.ID, Call{Rejected: 2, NotApplied: 1}, alike(dead, "a", "c")))
	want(t, s, rowStates, "a dead", "b sending", "c dead")
	ok(t, s.Batches.Settle(t.Context(), child, Call{Created: 1}, alike(created, "b")))
}

func TestSplitAfterTheLease(t *testing.T) {
	t.Parallel()
	s := open(t)
	parent := intend(t, s, "a", "b")
	endLease(t, s, parent.ID)
	expire(t, s)
	if err := s.Batches.Split(t.Context(), parent.ID, NewAttemptID(), []string{"a"}, time.Hour); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("got %v", err)
	}
	want(t, s, rowStates, "a unknown", "b unknown")
	want(t, s, `SELECT state FROM attempt`, "expired")
}

func TestOutstanding(t *testing.T) {
	t.Parallel()
	s := open(t)
	left := func(want bool) {
		t.Helper()
		if got, err := s.Schedule.Outstanding(t.Context()); got != want || err != nil {
			t.Errorf("outstanding: %v, %v; want %v", got, err, want)
		}
	}
	left(false)
	a := intend(t, s, "a")
	left(true)
	settle(t, s, a, Settlement{Status: Retry, Wait: time.Hour}, "a")
	left(true)
	exec(t, s, `UPDATE event SET next_attempt_at = now()`)
	a = newAttempt()
	claimIDs(t, s, a, Retry)
	left(true)
	settle(t, s, a, unknown, "a")
	left(true)
	a = newAttempt()
	claimIDs(t, s, a, Unknown)
	left(true)
	settle(t, s, a, created, "a")
	left(false)
	settle(t, s, intend(t, s, "b"), dead, "b")
	left(false)
}
