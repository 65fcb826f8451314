package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// pauses compares what is paused, to the minute.
func pauses(t *testing.T, s *Store, want ...Pause) {
	t.Helper()
	got, err := s.Pauses.List(t.Context())
	ok(t, err)
	minutes := cmp.Transformer("minutes", func(d time.Duration) float64 { return d.Round(time.Minute).Minutes() })
	if diff := cmp.Diff(want, got, minutes, cmpopts.IgnoreFields(Pause{}, "Since", "TrialAt"), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func doPause(t *testing.T, s *Store, p Pause, want bool) {
	t.Helper()
	if fresh, err := s.Pauses.Begin(t.Context(), p); fresh != want || err != nil {
		t.Errorf("fresh: %v, %v; want %v", fresh, err, want)
	}
}

func try(t *testing.T, s *Store, objectType string, want bool) {
	t.Helper()
	if may, err := s.Pauses.Try(t.Context(), objectType, 10*time.Minute); may != want || err != nil {
		t.Errorf("try %s: %v, %v; want %v", objectType, may, err, want)
	}
}

func ended(t *testing.T, got bool, err error, want bool) {
	t.Helper()
	if got != want || err != nil {
		t.Errorf("ended: %v, %v; want %v", got, err, want)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	s := open(t)
	pauses(t, s)
	try(t, s, "deals", true) // what isn't paused needs no trial
	refused := Pause{ObjectType: "deals", Cause: ByAnswer, Reason: "404\x00", By: "w1", TrialIn: time.Hour}
	doPause(t, s, refused, true)
	account := Pause{ObjectType: Account, Cause: ByCredential, Reason: "401", By: "w1", TrialIn: time.Hour}
	doPause(t, s, account, true)
	since := lines(t, s, `SELECT since FROM pause WHERE object_type = 'deals'`)
	refused.Reason, refused.By, refused.TrialIn = "405", "w2", 2*time.Hour
	doPause(t, s, refused, false)
	want(t, s, `SELECT since FROM pause WHERE object_type = 'deals'`, since...)
	pauses(t, s, account, refused)
	try(t, s, "deals", false)
	ok(t, s.Pauses.TryNow(t.Context()))
	try(t, s, "deals", true)
	try(t, s, "deals", false) // one trial, of one worker
	account.TrialIn, refused.TrialIn = 0, 10*time.Minute
	pauses(t, s, account, refused)
	for _, was := range []bool{true, false} {
		got, err := s.Pauses.Resume(t.Context(), "deals")
		ended(t, got, err, was)
	}
	try(t, s, "deals", true)
	pauses(t, s, account)
}

// What a person has paused no worker resumes or changes, whatever it meets.
func TestOperatorsPause(t *testing.T) {
	t.Parallel()
	s := open(t)
	doPause(t, s, Pause{ObjectType: "deals", Cause: ByAnswer, Reason: "404", By: "w"}, true)
	mine := Pause{ObjectType: "deals", Cause: ByOperator, Reason: "month's end", By: "ann"}
	exec(t, s, `UPDATE pause SET cause = 'operator', reason = 'month''s end', paused_by = 'ann', trial_at = NULL`)
	for _, cause := range []Cause{ByAnswer, ByCredential, ByBreaker} {
		doPause(t, s, Pause{ObjectType: "deals", Cause: cause, Reason: "other", By: "w"}, false)
	}
	ok(t, s.Pauses.TryNow(t.Context()))
	try(t, s, "deals", false)
	got, err := s.Pauses.Resume(t.Context(), "deals")
	ended(t, got, err, false)
	pauses(t, s, mine)
}

// Another credential does not end a wait that an answer named for the account.
func TestTryNow(t *testing.T) {
	t.Parallel()
	s := open(t)
	migrating := Pause{ObjectType: Account, Cause: ByAnswer, Reason: "477", By: "w", TrialIn: time.Hour}
	blown := Pause{ObjectType: "deals", Cause: ByBreaker, Reason: "most", By: "w", TrialIn: time.Hour}
	doPause(t, s, migrating, true)
	doPause(t, s, blown, true)
	ok(t, s.Pauses.TryNow(t.Context()))
	pauses(t, s, migrating, blown)
}

// A breaker's trials come less and less often. That others meet the same meanwhile does not make it longer.
func TestProlong(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := Pause{ObjectType: "deals", Cause: ByBreaker, Reason: "most", By: "w", TrialIn: time.Minute}
	doPause(t, s, p, true)
	doPause(t, s, p, false)
	for _, wait := range []time.Duration{2, 4, 8, 10, 10} {
		ok(t, s.Pauses.Prolong(t.Context(), "deals", "still", time.Minute, 10*time.Minute))
		p.Trials, p.TrialIn, p.Reason = p.Trials+1, wait*time.Minute, "still"
		pauses(t, s, p)
	}
	doPause(t, s, Pause{ObjectType: "deals", Cause: ByBreaker, Reason: "late", By: "w2"}, false)
	pauses(t, s, p)
	answer := Pause{ObjectType: "deals", Cause: ByAnswer, Reason: "405", By: "w", TrialIn: time.Minute}
	doPause(t, s, answer, false)
	ok(t, s.Pauses.Prolong(t.Context(), "deals", "still", time.Minute, time.Hour))
	pauses(t, s, answer)
}
