package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// older makes rows a day older than they are.
func older(t *testing.T, s *Store, ids ...string) {
	t.Helper()
	exec(t, s, `UPDATE event SET received_at = received_at - interval '1 day' WHERE event_id = ANY($1)`, ids)
}

func endAgedOf(t *testing.T, s *Store, limit int, want ...Aged) {
	t.Helper()
	got, err := s.Schedule.EndAged(t.Context(), 12*time.Hour, limit)
	ok(t, err)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What waits to be sent again gets old in a pause of its object type, and says so; what was in doubt is never said to
// have no record. What is young, in a call or of another object type stays.
func TestAgeInAPause(t *testing.T) {
	t.Parallel()
	s := open(t)
	again := intend(t, s, "doubted", "called", "later", "old", "replayed", "young")
	settle(t, s, again, retry, "doubted", "called", "later", "old", "replayed", "young")
	exec(t, s, `UPDATE event SET in_doubt = true WHERE event_id = 'doubted'`)
	exec(t, s, `UPDATE event SET replayed_at = now() WHERE event_id = 'replayed'`)
	exec(t, s, `UPDATE event SET next_attempt_at = now() + interval '1 hour' WHERE event_id IN ('later', 'doubted')`)
	exec(t, s, `UPDATE event SET object_type = 'deals' WHERE event_id = 'called'`)
	call := newAttempt()
	call.ObjectType = "deals"
	if got := claimIDs(t, s, call, Retry); !cmp.Equal(got, []string{"called"}) {
		t.Fatal(got)
	}
	older(t, s, "doubted", "called", "later", "old", "replayed")
	endAgedOf(t, s, 100) // nothing is paused
	doPause(t, s, Pause{ObjectType: "deals", Cause: ByAnswer, Reason: "403"}, true)
	endAgedOf(t, s, 100)
	doPause(t, s, Pause{ObjectType: objectType, Cause: ByAnswer, Reason: "403"}, true)
	lock, err := s.pool.Begin(t.Context())
	ok(t, err)
	defer lock.Rollback(t.Context())
	_, err = lock.Exec(t.Context(), `SELECT FROM event WHERE event_id = 'later' FOR UPDATE`)
	ok(t, err)
	endAgedOf(t, s, 100, Aged{objectType, Exhausted, 1}, Aged{objectType, UnknownOutcome, 1})
	ok(t, lock.Rollback(t.Context()))
	endAgedOf(t, s, 100, Aged{objectType, Exhausted, 1})
	endAgedOf(t, s, 100)
	want(t, s, `SELECT event_id, status, coalesce(reason, ''), error FROM outbox ORDER BY 1`,
		"called sending  busy",
		"doubted dead unknown_outcome became too old while calls were paused; before that: busy",
		"later dead exhausted became too old while calls were paused; before that: busy",
		"old dead exhausted became too old while calls were paused; before that: busy",
		"replayed retry  busy", "young retry  busy")
	want(t, s, `SELECT event_id, attempt_id, message FROM outbox_error ORDER BY 1`,
		"doubted - "+tooOld, "later - "+tooOld, "old - "+tooOld)
	want(t, s, `SELECT count(DISTINCT fingerprint), count(fingerprint) FROM event`, "2 3")
}

// In a pause of everything nobody is asked either, and what is in doubt gets old, too. A limit bounds a step.
func TestAgeOfDoubt(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := intend(t, s, "a", "b", "c", "read")
	settle(t, s, a, unknown, "a", "b", "c", "read")
	exec(t, s, `UPDATE event SET next_attempt_at = now() + interval '1 hour' WHERE event_id <> 'read'`)
	if got := claimIDs(t, s, newAttempt(), Unknown); !cmp.Equal(got, []string{"read"}) {
		t.Fatal(got)
	}
	older(t, s, "a", "b", "c", "read")
	doPause(t, s, Pause{ObjectType: Account, Cause: ByCredential, Reason: "401"}, true)
	endAgedOf(t, s, 2, Aged{objectType, UnknownOutcome, 2})
	endAgedOf(t, s, 2, Aged{objectType, UnknownOutcome, 1})
	endAgedOf(t, s, 2)
	want(t, s, `SELECT event_id, status, reason, error, misses FROM outbox ORDER BY 1`,
		"a dead unknown_outcome became too old while calls were paused; before that: no answer -",
		"b dead unknown_outcome became too old while calls were paused; before that: no answer -",
		"c dead unknown_outcome became too old while calls were paused; before that: no answer -",
		"read unknown - no answer 0")
}

// In a pause of an object type what is in doubt is asked about as ever: only where that tells nothing does it get old.
func TestAgeOfDoubtThatIsAskedAbout(t *testing.T) {
	t.Parallel()
	s := open(t)
	answers := map[string]Call{
		"missed": {Status: 200, Success: true, Unknown: 1}, "refused": {Status: 403, Unknown: 1}, "silence": {Unknown: 1},
	}
	a := intend(t, s, "fresh", "missed", "refused", "silence")
	settle(t, s, a, unknown, "fresh", "missed", "refused", "silence")
	for id, call := range answers {
		exec(t, s, `UPDATE event SET next_attempt_at = now() + (event_id <> $1)::int * interval '1 hour'`, id)
		read := newAttempt()
		if got := claimIDs(t, s, read, Unknown); !cmp.Equal(got, []string{id}) {
			t.Fatal(got)
		}
		ok(t, s.Batches.Settle(t.Context(), read.ID, call,
			[]Settlement{{EventID: id, Status: Unknown, Missed: id == "missed"}}))
	}
	older(t, s, "fresh", "missed", "refused", "silence")
	doPause(t, s, Pause{ObjectType: objectType, Cause: ByAnswer, Reason: "403"}, true)
	endAgedOf(t, s, 100, Aged{objectType, UnknownOutcome, 2})
	want(t, s, `SELECT event_id, status FROM outbox ORDER BY 1`,
		"fresh unknown", "missed unknown", "refused dead", "silence dead")
}

// What got old, was replayed and got old again says so once.
func TestAgeAgain(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "a"), retry, "a")
	doPause(t, s, Pause{ObjectType: Account, Cause: ByCredential, Reason: "401"}, true)
	for range 2 {
		exec(t, s, `UPDATE event SET received_at = now() - interval '1 day',
			replayed_at = replayed_at - interval '1 day'`)
		endAgedOf(t, s, 100, Aged{objectType, Exhausted, 1})
		exec(t, s, `UPDATE event SET status = 'retry', next_attempt_at = now(), dead_at = NULL, reason = NULL,
			fingerprint = NULL, replayed_at = now()`)
	}
	want(t, s, `SELECT status, error, replayed_at > now() - interval '1 hour' FROM outbox`,
		"retry became too old while calls were paused; before that: busy t")
	want(t, s, `SELECT count(*) FROM outbox_error`, "2")
}

// Whom a person gives up on is dead for that, whatever the age; what is in a call, created, dead or unheard of is left
// alone.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "again", "called"), retry, "again", "called")
	exec(t, s, `UPDATE event SET next_attempt_at = now() + interval '1 hour' WHERE event_id = 'again'`)
	claimIDs(t, s, newAttempt(), Retry)
	settle(t, s, intend(t, s, "doubt"), unknown, "doubt")
	a := intend(t, s, "dead", "made")
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Created: 1, Rejected: 1},
		append(alike(dead, "dead"), alike(created, "made")...)))
	tx, err := s.pool.Begin(t.Context())
	ok(t, err)
	defer tx.Rollback(t.Context())
	got, err := GiveUp(t.Context(), tx, []string{"made", "nobody", "doubt", "dead", "called", "again"}, "given up\x00")
	ok(t, err)
	ok(t, tx.Commit(t.Context()))
	if diff := cmp.Diff([]string{"again", "doubt"}, got); diff != "" {
		t.Error(diff)
	}
	want(t, s, `SELECT event_id, status, coalesce(reason, ''), coalesce(error, '') FROM outbox ORDER BY 1`,
		"again dead exhausted given up\uFFFD; before that: busy", "called sending  busy", "dead dead rejected bad",
		"doubt dead unknown_outcome given up\uFFFD; before that: no answer", "made created  ")
	want(t, s, `SELECT event_id, message FROM outbox_error WHERE attempt_id IS NULL ORDER BY 1`,
		"again given up\uFFFD", "doubt given up\uFFFD")
}
