package outbox

import (
	"sync"
	"testing"
	"time"

	"crmintake/outbox/outboxtest"
)

func take(t *testing.T, s *Store, q Quota, a Ask) Grant {
	t.Helper()
	g, err := s.Quota.Take(t.Context(), q, a)
	ok(t, err)
	return g
}

// Let all that was granted be older by d.
const age = `UPDATE quota SET calls = ARRAY(SELECT at - $1::interval FROM unnest(calls) at), blocked_until = blocked_until - $1::interval`

func TestTake(t *testing.T) {
	t.Parallel()
	s := open(t)
	q := Quota{Account: "a", Calls: 1, Window: time.Hour}
	one := Ask{Want: 1}
	g := take(t, s, q, one)
	if len(g.Tokens) != 1 || g.Late <= 0 || g.Tokens[0].At.Before(g.Now) {
		t.Fatalf("granted %+v", g)
	}
	first := g.Tokens[0].At
	if g = take(t, s, q, one); len(g.Tokens) > 0 || g.Wait != longestWait {
		t.Errorf("granted %+v", g)
	}
	if g = take(t, s, Quota{Account: "another", Calls: 1, Window: time.Hour}, one); len(g.Tokens) != 1 {
		t.Errorf("another account: %+v", g)
	}
	if g = take(t, s, q, Ask{Want: 1, Unused: []time.Time{first}}); len(g.Tokens) != 1 {
		t.Errorf("after it was given back: %+v", g)
	}
	exec(t, s, age, time.Hour+q.margin())
	if g = take(t, s, q, one); len(g.Tokens) != 1 {
		t.Errorf("a window later: %+v", g)
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	s := open(t)
	q := Quota{Account: "a", Calls: 10, Window: 10 * time.Second}
	ok(t, s.Quota.Throttle(t.Context(), q, Refusal{Wait: time.Hour, Why: "locked\x00"}))
	if g := take(t, s, q, Ask{Want: 1}); len(g.Tokens) > 0 || g.Wait != longestWait {
		t.Errorf("while blocked: %+v", g)
	}
	state, known, err := s.Quota.State(t.Context(), "a")
	ok(t, err)
	if !known || state.BlockedWhy != "locked\uFFFD" || state.BlockedFor <= 59*time.Minute || state.Effective != 7 {
		t.Errorf("state %+v", state)
	}
	exec(t, s, age, time.Hour)
	if g := take(t, s, q, Ask{Want: 1}); len(g.Tokens) != 1 {
		t.Errorf("after the block: %+v", g)
	}
}

// That the database's clock is set back by an hour costs what is left of the window, and no call more than the quota.
func TestTakeWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	s := open(t)
	q := Quota{Account: "a", Calls: 2, Window: time.Minute}
	take(t, s, q, Ask{Want: 1})
	// The same rows as if the clock had gone on for an hour more.
	exec(t, s, `UPDATE quota SET calls = ARRAY(SELECT at + interval '1 hour' FROM unnest(calls) at), changed_at = changed_at + interval '1 hour'`)
	if state, _, err := s.Quota.State(t.Context(), "a"); err != nil || state.Used != 1 {
		t.Errorf("%d calls are known, %v", state.Used, err)
	}
	g := take(t, s, q, Ask{Want: 2})
	if len(g.Tokens) > 0 || g.Wait > time.Minute {
		t.Errorf("granted %+v", g)
	}
	exec(t, s, age, g.Wait+tokenHorizon)
	if g = take(t, s, q, Ask{Want: 1}); len(g.Tokens) != 1 {
		t.Errorf("granted %+v", g)
	}
}

// All that is learned is kept for the fleet, and can be seen.
func TestQuotaState(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, known, err := s.Quota.State(t.Context(), "a"); known || err != nil {
		t.Errorf("of an account that nobody has called: %v %v", known, err)
	}
	q := Quota{Account: "a", Calls: 100, Window: 10 * time.Second, Daily: 1000, Reserve: 0.1}
	g := take(t, s, q, Ask{Want: 3})
	at := g.Tokens[2].At
	g = take(t, s, q, Ask{Want: 1, Seen: Seen{At: at, Max: 90, Remaining: 47, Window: q.Window, DailyMax: 5000, DailyRemaining: 4000}})
	state, _, err := s.Quota.State(t.Context(), "a")
	ok(t, err)
	if state.Calls != 100 || time.Duration(state.Window) != q.Window || *state.HeaderMax != 90 || *state.HeaderLeft != 47 || state.UsedToday != 4 || state.DayLimit != 900 ||
		*state.DayMax != 5000 || *state.DayLeft != 4000 || state.Used != 4 || state.Others < 38 || state.Others > 40 || state.Effective < 46 || state.Effective > 48 {
		t.Errorf("state %+v after %+v", state, g)
	}
	want(t, s, `SELECT limit_calls, limit_window, header_max, header_remaining, day_used, day_remaining, refused, cardinality(calls) FROM quota`,
		"100 00:00:10 90 47 4 4000 0 4")
	ok(t, s.Quota.Throttle(t.Context(), q, Refusal{Seen: Seen{At: g.Tokens[0].At, Max: 90, Remaining: 0, Window: q.Window}}))
	want(t, s, `SELECT header_remaining, day_used, refused, cardinality(calls), round(others) FROM quota`, "0 3 1 3 87")
}

// Several workers at once get, together, what one would, by the database's clock.
func TestTakeByManyNeverExceeds(t *testing.T) { // alone: beside others they take too slowly for anybody to wait
	url := outboxtest.New(t)
	q := Quota{Account: "a", Calls: 20, Window: 200 * time.Millisecond}
	var mu sync.Mutex
	var all arrivals
	var waits int
	var wg sync.WaitGroup
	for range 4 {
		s := openAt(t, url, 2)
		wg.Go(func() {
			for n := 0; n < 25; {
				g, err := s.Quota.Take(t.Context(), q, Ask{Want: 10})
				if err != nil {
					t.Error(err)
					return
				}
				n += len(g.Tokens)
				mu.Lock()
				for _, token := range g.Tokens {
					all = append(all, token.At)
				}
				if len(g.Tokens) == 0 {
					waits++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(all) < 100 || waits == 0 {
		t.Errorf("%d tokens, and nobody had to wait: %v", len(all), waits == 0)
	}
	if most := all.most(q.Window); most > q.Calls {
		t.Errorf("%d tokens in a window", most)
	}
}

// A worker that stops in the middle does not keep the others waiting.
func TestTakeBesideAFrozenWorker(t *testing.T) {
	t.Parallel()
	url := outboxtest.New(t)
	s, frozen := openAt(t, url, 1), openAt(t, url, 1)
	q := Quota{Account: "a", Calls: 1, Window: time.Hour}
	wakes := make(chan struct{})
	holds := make(chan struct{})
	stopped := make(chan error)
	go func() {
		stopped <- frozen.Quota.change(t.Context(), "a", func(*ledger, time.Time) { close(holds); <-wakes })
	}()
	<-holds
	if g := take(t, s, q, Ask{Want: 1}); len(g.Tokens) != 1 {
		t.Errorf("granted %+v", g)
	}
	close(wakes)
	if err := <-stopped; err == nil {
		t.Error("what was decided before the freeze was written after it")
	}
	if g := take(t, frozen, q, Ask{Want: 1}); len(g.Tokens) != 0 {
		t.Errorf("granted %+v", g)
	}
}
