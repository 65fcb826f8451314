package outbox

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSettleWritesEachVerdict(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := intend(t, s, "created", "dead", "kept", "retry", "unknown")
	call := Call{Status: 207, CorrelationID: "c-1", Detail: "207 in part", Created: 2, Rejected: 1, NotApplied: 1, Unknown: 1}
	settlements := []Settlement{
		{EventID: "unknown", Status: Unknown, Error: "no word", Wait: 10 * time.Second, Counted: true, InDoubt: true},
		{EventID: "created", Status: Created, RecordID: "17", URL: "https://x/17", Warnings: []byte(`[{"a":"b"}]`), Result: []byte("{\xff")},
		{EventID: "kept", Status: Created, RecordID: "18", Keep: true, PossibleDuplicate: true, InDoubt: true, Errors: []Error{{Category: "CONFLICT", Message: "adopted"}}},
		{EventID: "dead", Status: Dead, Reason: Conflict, Error: "exists", Counted: true,
			Errors: []Error{{Category: "CONFLICT", Message: "one", Property: "p", Rule: "R", Raw: []byte("raw\x00")}, {Message: "two"}}},
		{EventID: "retry", Status: Retry, Error: "busy", Wait: time.Hour, PossibleDuplicate: true},
	}
	for range 2 { // the second time as if the first answer had been lost
		ok(t, s.Batches.Settle(t.Context(), a.ID, call, settlements))
		want(t, s, `SELECT event_id, status, record_id, record_url, warnings, result, convert_from(payload, 'UTF8'), reason, error FROM outbox ORDER BY event_id`,
			`created created 17 https://x/17 [{"a":"b"}] \x7bff - - -`,
			`dead dead - - - - content of dead conflict exists`,
			`kept created 18 - - - content of kept - -`,
			`retry retry - - - - content of retry - busy`,
			`unknown unknown - - - - content of unknown - no word`)
		want(t, s, `SELECT event_id, attempts, misses, in_doubt, possible_duplicate, extract(epoch FROM next_attempt_at - updated_at)::int, dead_at = updated_at FROM outbox ORDER BY event_id`,
			`created 1 - f f - -`, `dead 1 - f f - t`, `kept 1 - t t - -`, `retry 0 - f t 3600 -`, `unknown 1 0 t f 10 -`)
		want(t, s, `SELECT event_id, attempt_id = (SELECT id FROM attempt), category, message, property, rule, raw FROM outbox_error ORDER BY id`,
			`dead t CONFLICT one p R \x72617700`, `dead t  two - - -`, `kept t CONFLICT adopted - - -`)
		want(t, s, `SELECT state, inputs, created, rejected, not_applied, unknown, http_status, correlation_id, detail, event_ids, closed_at IS NOT NULL FROM attempt`,
			`settled 5 2 1 1 1 207 c-1 207 in part - t`)
	}
}

// What was noted once stays, whatever a later call finds.
func TestSettleTakesNoDoubtBack(t *testing.T) {
	t.Parallel()
	s := open(t)
	doubt := retry
	doubt.InDoubt, doubt.PossibleDuplicate = true, true
	settle(t, s, intend(t, s, "a"), doubt, "a")
	for _, later := range []Settlement{retry, created} {
		a := newAttempt()
		claimIDs(t, s, a, Retry)
		settle(t, s, a, later, "a")
		want(t, s, `SELECT in_doubt, possible_duplicate FROM outbox`, "t t")
	}
}

func TestSettleChangesAllOrNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		call        Call
		settlements []Settlement
		err         string
	}{
		"row left out":          {Call{Created: 2}, alike(created, "a"), "attempt_lets_go"},
		"nothing":               {Call{Created: 2}, nil, "attempt_lets_go"},
		"other rows, as many":   {Call{Created: 2}, alike(created, "a", "x"), "attempt_lets_go"},
		"row of another":        {Call{Created: 2}, alike(created, "a", "b", "x"), "attempt_lets_go"},
		"counts don't add up":   {Call{Created: 1}, alike(created, "a", "b"), "attempt_adds_up"},
		"created without an id": {Call{Created: 2}, append(alike(created, "a"), Settlement{EventID: "b", Status: Created}), "has no record id"},
		"back to sending":       {Call{Created: 2}, alike(Settlement{Status: Sending}, "a", "b"), "can't be settled"},
		"discarded":             {Call{Created: 2}, alike(Settlement{Status: Discarded}, "a", "b"), "can't be settled"},
		"dead without a reason": {Call{Created: 2}, alike(Settlement{Status: Dead}, "a", "b"), "event_status"},
		"reason nobody knows":   {Call{Created: 2}, alike(Settlement{Status: Dead, Reason: "x"}, "a", "b"), "event_reason"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			a := intend(t, s, "a", "b")
			intend(t, s, "x")
			err := s.Batches.Settle(t.Context(), a.ID, c.call, c.settlements)
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %s", err, c.err)
			}
			want(t, s, rowStates, "a sending", "b sending", "x sending")
			want(t, s, `SELECT state FROM attempt`, "open", "open")
		})
	}
}

func TestSettleAfterExpire(t *testing.T) {
	t.Parallel()
	s := open(t)
	try := func(a Attempt) {
		t.Helper()
		endLease(t, s, a.ID)
		expire(t, s)
		const state = `SELECT o, (SELECT count(*) FROM outbox_error) FROM outbox o`
		before := lines(t, s, state)
		for _, st := range []Settlement{created, retry, unknown, dead} {
			st.Errors = []Error{{Message: "late"}}
			if err := s.Batches.Settle(t.Context(), a.ID, Call{Unknown: 1}, alike(st, "a")); !errors.Is(err, ErrLeaseLost) {
				t.Errorf("got %v", err)
			}
			want(t, s, state, before...)
		}
	}
	try(intend(t, s, "a"))
	read := newAttempt()
	claimIDs(t, s, read, Unknown)
	try(read)
	if err := s.Batches.Settle(t.Context(), NewAttemptID(), Call{}, nil); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("an attempt that never was: %v", err)
	}
}

// A row whose call is in doubt begins to be looked for anew; each read that misses it counts.
func TestMisses(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := intend(t, s, "a")
	misses := func(status Settlement, want_ string) {
		t.Helper()
		settle(t, s, a, status, "a")
		want(t, s, `SELECT status, misses, attempts FROM outbox`, want_)
		a = newAttempt()
	}
	missed := Settlement{Status: Unknown, Missed: true}
	misses(unknown, "unknown 0 1")
	claimIDs(t, s, a, Unknown)
	misses(missed, "unknown 1 1")
	claimIDs(t, s, a, Unknown)
	misses(Settlement{Status: Unknown}, "unknown 1 1") // the read failed
	claimIDs(t, s, a, Unknown)
	misses(missed, "unknown 2 1")
	claimIDs(t, s, a, Unknown)
	misses(retry, "retry - 1")
	claimIDs(t, s, a, Retry)
	misses(unknown, "unknown 0 2")
	claimIDs(t, s, a, Unknown)
	misses(missed, "unknown 1 2")
	claimIDs(t, s, a, Unknown)
	misses(retry, "retry - 2")
	claimIDs(t, s, a, Retry)
	endLease(t, s, a.ID)
	expire(t, s)
	want(t, s, `SELECT status, misses, attempts FROM outbox`, "unknown 0 3")
	a = newAttempt()
	claimIDs(t, s, a, Unknown)
	misses(created, "created - 3") // found; to read is no attempt
}
