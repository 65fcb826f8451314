package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A worker that is doing its usual work asks the database twice for each batch, and once for a claim.
func TestOneRoundTripEach(t *testing.T) {
	t.Parallel()
	s, p, direct := through(t)
	trips := func(what string, most int64, do func()) {
		t.Helper()
		before := p.trips.Load()
		do()
		if n := p.trips.Load() - before; n > most {
			t.Errorf("%s: %d round trips, want %d", what, n, most)
		}
	}
	for round, id := range numbered("e", 3) {
		most := int64(1)
		if round == 0 {
			most = 100 // statements are prepared
		}
		var a Attempt
		trips("intend", most, func() { a = intend(t, s, id, id+"x") })
		trips("settle", most, func() {
			ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Created: 1, NotApplied: 1}, append(alike(created, id), Settlement{EventID: id + "x", Status: Retry, Errors: []Error{{}}})))
		})
		a = newAttempt()
		trips("claim", most, func() { claimIDs(t, s, a, Retry) })
		trips("bury", most, func() {
			_, err := s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event(id+"y", ""), Reason: InvalidEvent}})
			ok(t, err)
		})
		settle(t, direct, a, created, id+"x")
	}
}

// Whatever moment a connection breaks at, the same call again finishes the work, and does none of it twice.
func TestRepeatedAfterALostConnection(t *testing.T) {
	t.Parallel()
	for when, cut := range map[string]int32{"before the commit": beforeCommit, "after the commit": afterCommit} {
		t.Run(when, func(t *testing.T) {
			s, p, direct := through(t)
			twice := func(do func() error) {
				t.Helper()
				p.cut.Store(cut)
				if err := do(); err == nil {
					t.Fatal("the connection was not lost")
				}
				ok(t, do())
			}
			var a Attempt
			for _, id := range []string{"warm", "e"} { // the first time, statements are prepared
				settle(t, direct, intend(t, direct, "retry "+id), retry, "retry "+id)
				settle(t, direct, intend(t, direct, "unknown "+id), unknown, "unknown "+id)
				run := twice
				if id == "warm" {
					run = func(do func() error) { t.Helper(); ok(t, do()) }
				}

				a = newAttempt()
				run(func() error {
					standing, err := s.Batches.Intend(t.Context(), a, events(id, id+"2"))
					if diff := cmp.Diff([]IntentResult{Inserted, Inserted}, standing); err == nil && diff != "" {
						t.Error(diff)
					}
					return err
				})
				child := NewAttemptID()
				run(func() error { return s.Batches.Split(t.Context(), a.ID, child, []string{id + "2"}, time.Hour) })
				run(func() error {
					st := unknown
					st.Errors = []Error{{Message: "once"}}
					return s.Batches.Settle(t.Context(), a.ID, Call{Unknown: 2}, alike(st, id))
				})
				settle(t, direct, Attempt{ID: child}, created, id+"2")
				exec(t, direct, `UPDATE event SET next_attempt_at = 'infinity' WHERE event_id = '`+id+`'`)
				want(t, direct, `SELECT attempts FROM outbox WHERE event_id = '`+id+`'`, "1")
				want(t, direct, `SELECT count(*) FROM outbox_error WHERE event_id = '`+id+`'`, "1")

				for status, prefix := range map[Status]string{Retry: "retry ", Unknown: "unknown "} {
					claim := newAttempt()
					run(func() error {
						rows, err := s.Schedule.Claim(t.Context(), claim, status, 100, 1<<20)
						if diff := cmp.Diff([]string{prefix + id}, idsOf(rows)); err == nil && diff != "" {
							t.Error(diff)
						}
						return err
					})
					settle(t, direct, claim, created, prefix+id)
				}
				run(func() error {
					reused, err := s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event(id+"3", "x"), Reason: InvalidEvent}, {Event: event(id, "other"), Reason: InvalidEvent}})
					if diff := cmp.Diff([]int{1}, reused, cmpopts.EquateEmpty()); err == nil && diff != "" {
						t.Error(diff)
					}
					return err
				})
				want(t, direct, `SELECT count(*) FROM outbox_error WHERE event_id = '`+id+`3'`, "1")
			}
			want(t, direct, `SELECT count(*) FROM attempt WHERE state = 'open'`, "0")
		})
	}
}
