package outbox

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// atOnce runs all at the same time.
func atOnce(all ...func()) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, do := range all {
		wg.Go(func() { <-start; do() })
	}
	close(start)
	wg.Wait()
}

// Workers whose batches overlap, each in an order of its own, don't wait for each other in a circle, and each event is
// one worker's.
func TestIntendAtOnce(t *testing.T) {
	t.Parallel()
	url := open(t).pool.Config().ConnString()
	up, down := openAt(t, url, 2), openAt(t, url, 2)
	for round := range 10 {
		list := events(numbered(fmt.Sprint(round, "-"), 200)...)
		reversed := slices.Clone(list)
		slices.Reverse(reversed)
		ours := make([]map[string]bool, 4)
		work := func(i int, s *Store, list []Event) func() {
			ours[i] = map[string]bool{}
			return func() {
				standing, err := s.Batches.Intend(t.Context(), newAttempt(), list)
				if err != nil {
					t.Error(err)
				}
				for n, st := range standing {
					if st == Inserted {
						ours[i][list[n].ID] = true
					}
				}
			}
		}
		bury := func() {
			var dead []DeadLetter
			for _, e := range reversed[:50] {
				dead = append(dead, DeadLetter{Event: e, Reason: InvalidEvent})
			}
			if _, err := down.Batches.InsertDead(t.Context(), dead); err != nil {
				t.Error(err)
			}
		}
		atOnce(work(0, up, list), work(1, down, reversed), work(2, up, list[50:]), work(3, down, reversed[50:]), bury)
		owners := map[string]int{}
		for _, m := range ours {
			for id := range m {
				owners[id]++
			}
		}
		for id, n := range owners {
			if n != 1 {
				t.Errorf("%s is %d workers' to send", id, n)
			}
		}
		want(t, up, fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE status = 'sending') FROM outbox WHERE event_id LIKE '%d-%%'`, round),
			fmt.Sprintf("200 %d", len(owners)))
	}
}

func TestClaimAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	ids := numbered("e", 300)
	for _, status := range []Settlement{retry, unknown} {
		for _, id := range ids {
			id += string(status.Status)
			settle(t, s, intend(t, s, id), status, id)
		}
		got := make([][]string, 4)
		var all []func()
		for i := range got {
			all = append(all, func() {
				for {
					rows, err := s.Schedule.Claim(t.Context(), newAttempt(), status.Status, 20, 1<<20)
					if err != nil {
						t.Error(err)
					}
					if len(rows) == 0 {
						return
					}
					got[i] = append(got[i], idsOf(rows)...)
				}
			})
		}
		atOnce(all...)
		claimed := slices.Concat(got...)
		slices.Sort(claimed)
		if n := len(slices.Compact(slices.Clone(claimed))); n != len(claimed) || n != len(ids) {
			t.Errorf("%s: claimed %d rows, %d of them different, want %d", status.Status, len(claimed), n, len(ids))
		}
	}
}

// A claim that is repeated while the server is still at its first try waits for that, and gets the same row.
func TestClaimRepeatedTooEarly(t *testing.T) {
	t.Parallel()
	s := open(t)
	settle(t, s, intend(t, s, "a"), retry, "a")
	a := newAttempt()
	first, err := s.pool.Begin(t.Context())
	ok(t, err)
	defer first.Rollback(t.Context())
	for sql, args := range map[string][]any{awaitClaim: {a.ID}, claimRetry: {a.ID, a.ObjectType, 5, 1 << 20, a.Worker, a.Lease, ""}} {
		_, err := first.Exec(t.Context(), sql, args...)
		ok(t, err)
	}
	type answer struct {
		rows []Row
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		rows, err := s.Schedule.Claim(t.Context(), a, Retry, 5, 1<<20)
		answers <- answer{rows, err}
	}()
	for waits := false; !waits; {
		select {
		case early := <-answers:
			t.Fatalf("it did not wait: %v, %v", idsOf(early.rows), early.err)
		default:
			ok(t, s.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`).Scan(&waits))
		}
	}
	ok(t, first.Commit(t.Context()))
	if got := <-answers; got.err != nil || !slices.Equal(idsOf(got.rows), []string{"a"}) {
		t.Errorf("got %v, %v", idsOf(got.rows), got.err)
	}
}

// Workers that claim under one attempt at once, which none should, don't take more than one of them would.
func TestClaimUnderOneAttemptAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, id := range numbered("e", 20) {
		settle(t, s, intend(t, s, id), retry, id)
	}
	a := newAttempt()
	claim := func() {
		if rows, err := s.Schedule.Claim(t.Context(), a, Retry, 5, 1<<20); err != nil || len(rows) != 5 {
			t.Errorf("got %v, %v", idsOf(rows), err)
		}
	}
	atOnce(claim, claim, claim, claim)
	want(t, s, `SELECT count(*) FROM outbox WHERE status = 'sending'`, "5")
}

// Of the worker that is late and whoever takes over, one wins, and the other changes nothing.
func TestSettleAndExpireAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	won := map[string]int{}
	for round := range 40 {
		ids := numbered(fmt.Sprint(round, "-"), 20)
		a := intend(t, s, ids...)
		endLease(t, s, a.ID)
		var late error
		var lost []Expired
		settling := func() { late = s.Batches.Settle(t.Context(), a.ID, Call{Created: 20}, alike(created, ids...)) }
		expiring := func() {
			var err error
			if lost, err = s.Leases.Expire(t.Context(), 10, 0, 0); err != nil {
				t.Error(err)
			}
		}
		if round%2 == 0 {
			atOnce(settling, expiring)
		} else {
			atOnce(expiring, settling)
		}
		status := lines(t, s, fmt.Sprintf(`SELECT DISTINCT status FROM outbox WHERE event_id LIKE '%d-%%'`, round))
		switch {
		case late == nil && len(lost) == 0 && slices.Equal(status, []string{"created"}):
			won["settle"]++
		case errors.Is(late, ErrLeaseLost) && len(lost) == 1 && slices.Equal(status, []string{"unknown"}):
			won["expire"]++
		default:
			t.Errorf("settle: %v; expired: %v; rows are %v", late, lost, status)
		}
	}
	t.Log(won)
}
