package outbox

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func take(t *testing.T, s *Store, q Quota) time.Duration {
	t.Helper()
	wait, err := s.Take(t.Context(), q)
	ok(t, err)
	return wait
}

// Let the calls that were made be older by d.
const age = `UPDATE quota SET calls = ARRAY(SELECT at - $1::interval FROM unnest(calls) at), blocked_until = blocked_until - $1::interval`

func TestTake(t *testing.T) {
	s := open(t)
	q := Quota{Account: "a", Calls: 2, Window: time.Hour}
	taken := func(want bool) time.Duration {
		t.Helper()
		wait := take(t, s, q)
		if (wait == 0) != want {
			t.Errorf("wait %v, want one: %v", wait, !want)
		}
		return wait
	}
	taken(true)
	exec(t, s, age, 30*time.Minute)
	taken(true)
	if wait := taken(false); wait <= 29*time.Minute || wait > 30*time.Minute+quotaJitter {
		t.Errorf("wait %v until the first call leaves the window", wait)
	}
	if wait := take(t, s, Quota{"another", 1, time.Hour}); wait != 0 {
		t.Errorf("another account waits for %v", wait)
	}
	exec(t, s, age, 30*time.Minute+quotaJitter)
	taken(true)
	taken(false)
	q.Calls = 3
	taken(true)
	q.Calls = 1 // a smaller quota waits until enough of what was taken has left
	if wait := taken(false); wait <= 59*time.Minute {
		t.Errorf("wait %v", wait)
	}
}

func TestBlock(t *testing.T) {
	s := open(t)
	q := Quota{Account: "a", Calls: 10, Window: time.Hour}
	ok(t, s.Block(t.Context(), "a", time.Hour))
	ok(t, s.Block(t.Context(), "a", time.Minute)) // the longer one holds
	if wait := take(t, s, q); wait <= 59*time.Minute || wait > time.Hour {
		t.Errorf("wait %v, want about an hour", wait)
	}
	want(t, s, `SELECT cardinality(calls) FROM quota`, "0")
	exec(t, s, age, time.Hour)
	if wait := take(t, s, q); wait != 0 {
		t.Errorf("wait %v after the block", wait)
	}
}

// Whatever window one looks through, it holds no more calls than the quota, of all workers together; and nothing of the quota
// is left unused by those who ask.
func TestTakeByManyNeverExceeds(t *testing.T) {
	url := open(t).pool.Config().ConnString()
	q := Quota{Account: "a", Calls: 7, Window: 50 * time.Millisecond}
	var mu sync.Mutex
	var waits int
	var wg sync.WaitGroup
	const workers, calls = 4, 7
	for w := range workers {
		s := openAt(t, url, 2)
		wg.Go(func() {
			for n := 0; n < calls; {
				wait, err := s.Take(t.Context(), q)
				if err != nil {
					t.Error(err)
					return
				}
				if wait == 0 {
					n++
					continue
				}
				mu.Lock()
				waits++
				mu.Unlock()
				if w == 0 && n == calls/2 {
					if err := s.Block(t.Context(), "a", q.Window); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	// What was taken leaves the row when its window is over: gather it meanwhile.
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	s := openAt(t, url, 1)
	seen := map[time.Time]bool{}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		var at []time.Time
		if err := s.pool.QueryRow(t.Context(), `SELECT coalesce((SELECT calls FROM quota WHERE account = 'a'), '{}')`).Scan(&at); err != nil {
			t.Fatal(err)
		}
		if len(at) > q.Calls {
			t.Fatalf("%d calls in a window", len(at))
		}
		for _, a := range at {
			seen[a] = true
		}
	}
	var at []time.Time
	for a := range seen {
		at = append(at, a)
	}
	slices.SortFunc(at, time.Time.Compare)
	if waits == 0 {
		t.Error("nobody had to wait")
	}
	for i := q.Calls; i < len(at); i++ {
		if d := at[i].Sub(at[i-q.Calls]); d < q.Window {
			t.Errorf("%d calls within %v", q.Calls+1, d)
		}
	}
}
