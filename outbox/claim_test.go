package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestClaimForACall(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "b", "a"), retry, "a", "b")
	settle(t, s, intend(t, s, "later"), Settlement{Status: Retry, Wait: time.Hour}, "later")
	settle(t, s, intend(t, s, "unknown"), unknown, "unknown")
	a := newAttempt()
	first, err := s.Schedule.Claim(t.Context(), a, Retry, 100, 1<<20)
	ok(t, err)
	if diff := cmp.Diff([]Row{{Event: event("a", "content of a")}, {Event: event("b", "content of b")}}, first,
		cmpopts.IgnoreFields(Row{}, "Age", "Since")); diff != "" {
		t.Error(diff)
	}
	for _, r := range first {
		if r.Since <= 0 || r.Since > time.Minute || r.Age != r.Since {
			t.Errorf("%s: received %v ago, %v old", r.ID, r.Since, r.Age)
		}
	}
	want(t, s, `SELECT kind, state, inputs, worker FROM attempt WHERE id = '`+a.ID.String()+`'`, "create open 2 w")
	want(t, s, rowStates, "a sending", "b sending", "later retry", "unknown unknown")

	again, err := s.Schedule.Claim(t.Context(), a, Retry, 100, 1<<20)
	ok(t, err)
	if diff := cmp.Diff(first, again, cmpopts.IgnoreFields(Row{}, "Age", "Since")); diff != "" {
		t.Errorf("claimed again after a lost answer: %s", diff)
	}
	if ids := claimIDs(t, s, newAttempt(), Retry); ids != nil {
		t.Errorf("claimed by another as well: %v", ids)
	}
	want(t, s, `SELECT count(*) FROM attempt WHERE state = 'open'`, "1")
}

func TestClaimForARead(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "a"), unknown, "a")
	a := newAttempt()
	rows, err := s.Schedule.Claim(t.Context(), a, Unknown, 100, 1<<20)
	ok(t, err)
	if diff := cmp.Diff([]Row{{Event: event("a", "content of a"), Attempts: 1, InDoubt: true}}, rows,
		cmpopts.IgnoreFields(Row{}, "Age", "Since")); diff != "" {
		t.Error(diff)
	}
	want(t, s, `SELECT status, next_attempt_at FROM outbox`, "unknown -")
	want(t, s, `SELECT kind FROM attempt WHERE state = 'open'`, "read")
	if diff := cmp.Diff([]string{"a"}, claimIDs(t, s, a, Unknown)); diff != "" {
		t.Errorf("claimed again after a lost answer: %s", diff)
	}
	if ids := claimIDs(t, s, newAttempt(), Unknown); ids != nil {
		t.Errorf("claimed by another as well: %v", ids)
	}
	settle(t, s, a, unknown, "a")
	want(t, s, `SELECT status, next_attempt_at <= now() FROM outbox`, "unknown t")
}

func TestClaimTakesTheLongestDueThatFit(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, id := range []string{"c", "a", "b"} { // due in this order; 12 bytes each
		settle(t, s, intend(t, s, id), retry, id)
	}
	for _, c := range []struct {
		limit, bytes int
		want         []string
	}{
		{100, 36, []string{"a", "b", "c"}}, {2, 36, []string{"a", "c"}}, {100, 35, []string{"a", "c"}}, {100, 24, []string{"a", "c"}},
		{100, 1, []string{"c"}}, {1, 100, []string{"c"}},
	} {
		a := newAttempt()
		rows, err := s.Schedule.Claim(t.Context(), a, Retry, c.limit, c.bytes)
		ok(t, err)
		if diff := cmp.Diff(c.want, idsOf(rows)); diff != "" {
			t.Errorf("%d rows, %d bytes: %s", c.limit, c.bytes, diff)
		}
		// As they were, in the same order of time.
		exec(t, s, `UPDATE event SET status = 'retry', next_attempt_at = received_at`)
	}
}

func TestClaimTakesNoOtherStatus(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, st := range []Status{Created, Sending, Dead, ""} {
		if _, err := s.Schedule.Claim(t.Context(), newAttempt(), st, 1, 1); err == nil {
			t.Errorf("claimed %q rows", st)
		}
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	s := open(t)
	due := func(want ...Due) {
		t.Helper()
		got, err := s.Schedule.Due(t.Context())
		ok(t, err)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
	due()
	put := func(id, objectType string, st Settlement) {
		t.Helper()
		a := newAttempt()
		a.ObjectType = objectType
		_, err := s.Batches.Intend(t.Context(), a, events(id))
		ok(t, err)
		settle(t, s, a, st, id)
	}
	intend(t, s, "sending")
	put("1", "later", Settlement{Status: Retry, Wait: time.Hour})
	put("2", "later", Settlement{Status: Unknown, Wait: time.Hour})
	put("3", "done", created)
	put("4", "gone", dead)
	due()
	put("5", "both", retry)
	put("6", "both", unknown)
	put("7", "unknown", unknown)
	put("8", "retry", retry)
	put("9", "retry", Settlement{Status: Unknown, Wait: time.Hour})
	due(Due{"both", true, true}, Due{"retry", true, false}, Due{"unknown", false, true})
	a := newAttempt()
	a.ObjectType = "unknown"
	claimIDs(t, s, a, Unknown)
	due(Due{"both", true, true}, Due{"retry", true, false})
}

func TestPark(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		resend *Resend
		want   []string
	}{
		"dead":   {nil, []string{"a dead - unknown_outcome no answer t f - t", "b dead - unknown_outcome the call may or may not have created the record t f - t"}},
		"resend": {&Resend{Attempts: 2, Age: time.Hour}, []string{"a retry t - no answer - t - t", "b retry t - the call may or may not have created the record - t - t"}},
		"waits": {&Resend{Attempts: 2, Age: time.Hour, Waits: []time.Duration{0, 1e6 * time.Hour}}, // a has had an attempt
			[]string{"a retry f - no answer - t - t", "b retry t - the call may or may not have created the record - t - t"}},
		"attempts": {&Resend{Attempts: 1, Age: time.Hour}, []string{"a dead - unknown_outcome no answer t f - t", "b retry t - the call may or may not have created the record - t - t"}},
		"age":      {&Resend{Attempts: 2}, []string{"a dead - unknown_outcome no answer t f - t", "b dead - unknown_outcome the call may or may not have created the record t f - t"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			settle(t, s, intend(t, s, "a"), unknown, "a")
			settle(t, s, intend(t, s, "b"), Settlement{Status: Unknown, InDoubt: true}, "b")
			settle(t, s, intend(t, s, "later"), Settlement{Status: Unknown, Wait: time.Hour}, "later")
			settle(t, s, intend(t, s, "retry"), retry, "retry")
			if dead, again, err := s.Schedule.Park(t.Context(), "other", c.resend, 100); dead+again != 0 || err != nil {
				t.Errorf("of another type: %d, %d, %v", dead, again, err)
			}
			const others = `SELECT o FROM outbox o WHERE event_id > 'c' ORDER BY event_id`
			before, attempts := lines(t, s, others), lines(t, s, `SELECT count(*) FROM attempt`)
			for _, want := range []int{1, 1, 0} {
				if dead, again, err := s.Schedule.Park(t.Context(), objectType, c.resend, 1); dead+again != want || err != nil {
					t.Errorf("parked %d, to resend %d, %v; want %d", dead, again, err, want)
				}
			}
			want(t, s, `SELECT event_id, status, next_attempt_at <= now(), reason, error, dead_at <= now(), possible_duplicate, misses, in_doubt FROM outbox WHERE event_id < 'c' ORDER BY event_id`, c.want...)
			want(t, s, others, before...)
			want(t, s, `SELECT count(*) FROM attempt`, attempts...)
		})
	}
}
