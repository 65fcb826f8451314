package outbox

import (
	"fmt"
	"sync"
	"testing"
)

func weigh(t *testing.T, s *Store, objectType string, others int, rejected map[string]int, want string) {
	t.Helper()
	call := NewAttemptID()
	for range 2 { // as after an answer that was lost
		reason, n, err := s.Breaker.RecordOutcomes(t.Context(), objectType, call, others, rejected, 500)
		if got := fmt.Sprint(reason, " ", n); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func dilute(t *testing.T, s *Store, others map[string]int) {
	t.Helper()
	call := NewAttemptID()
	for range 2 {
		ok(t, s.Breaker.RecordSuccesses(t.Context(), call, others, 500))
	}
}

func TestBreakerWindow(t *testing.T) {
	t.Parallel()
	s := open(t)
	const entries = `SELECT count(*), coalesce(sum(inputs), 0) FROM breaker`
	dilute(t, s, map[string]int{"deals": 1000, "contracts": 5})
	want(t, s, entries, "0 0") // nothing to weigh against
	weigh(t, s, "deals", 900, map[string]int{"a": 60, "b": 10}, "a 60")
	weigh(t, s, "contracts", 0, map[string]int{"b": 1}, "b 1")
	weigh(t, s, "deals", 0, map[string]int{"b": 100}, "b 110")
	weigh(t, s, "deals", 0, map[string]int{"b": 300}, "b 410")
	want(t, s, `SELECT count(*) FROM breaker WHERE object_type = 'deals' AND reason = ''`, "1")
	weigh(t, s, "deals", 0, map[string]int{"b": 80}, "b 490")
	want(t, s, `SELECT sum(inputs) FROM breaker WHERE object_type = 'deals'`, "550") // the 900 lie before the last 500
	dilute(t, s, map[string]int{"contracts": 0})
	dilute(t, s, map[string]int{"deals": 450, "contracts": 10})
	weigh(t, s, "deals", 0, map[string]int{"c": 10}, "b 40")
	// What is far back says nothing any more, and where nothing else is left the table is empty again.
	dilute(t, s, map[string]int{"deals": 500})
	want(t, s, `SELECT object_type, sum(inputs) FROM breaker GROUP BY object_type`, "contracts 11")
	dilute(t, s, map[string]int{"contracts": 499})
	weigh(t, s, "contracts", 499, map[string]int{"x": 1}, "x 1")
	dilute(t, s, map[string]int{"contracts": 5000})
	want(t, s, entries, "0 0")
}

// A pause that ends lets what was before it be forgotten, of its object type alone.
func TestBreakerIsForgotten(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, objectType := range []string{"deals", "contracts"} {
		weigh(t, s, objectType, 0, map[string]int{"a": 300}, "a 300")
		doPause(t, s, Pause{ObjectType: objectType, Cause: ByBreaker, Reason: "a", By: "w"}, true)
	}
	got, err := s.Pauses.Resume(t.Context(), "deals")
	ended(t, got, err, true)
	weigh(t, s, "deals", 0, map[string]int{"a": 1}, "a 1")
	weigh(t, s, "contracts", 0, map[string]int{"a": 1}, "a 301")
}

func TestBreakerOfManyWorkers(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if _, _, err := s.Breaker.RecordOutcomes(t.Context(), "deals", NewAttemptID(), 3, map[string]int{"a": 5, "b": 2}, 100); err != nil {
					t.Error(err)
				}
				if err := s.Breaker.RecordSuccesses(t.Context(), NewAttemptID(), map[string]int{"deals": 10, "contracts": 1}, 100); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, n, err := s.Breaker.RecordOutcomes(t.Context(), "deals", NewAttemptID(), 0, map[string]int{"c": 100}, 100); n != 100 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	want(t, s, `SELECT count(*) FROM breaker`, "1")
}
