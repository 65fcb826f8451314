package outbox

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// following follows until the test ends, and returns what it was told, and how often.
func following(t *testing.T, s *Store, f ListFilter) (told func() map[string]int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	seen := map[string]int{}
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.Read.Follow(ctx, f, func() { close(began) }, func(r Record) error {
			mu.Lock()
			defer mu.Unlock()
			seen[r.EventID+" "+string(r.Status)]++
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-began
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(seen)
	}
}

// eventually waits until got is want.
func eventually(t *testing.T, got func() map[string]int, want map[string]int) {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if diff = cmp.Diff(want, got()); diff == "" {
			return
		}
	}
	t.Fatal(diff)
}

func create(t *testing.T, s *Store, id string) {
	t.Helper()
	settle(t, s, intend(t, s, id), created, id)
}

// Each outcome is told once, whichever way it came about.
func TestFollow(t *testing.T) {
	t.Parallel()
	s := open(t)
	create(t, s, "before")
	told := following(t, s, ListFilter{})
	deaths := following(t, s, ListFilter{Status: Dead})

	a := newAttempt()
	_, err := s.Batches.Intend(t.Context(), a, events("created", "retry", "dead", "unknown"))
	ok(t, err)
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Status: 207, Created: 1, Rejected: 1, NotApplied: 1, Unknown: 1}, []Settlement{
		{EventID: "created", Status: Created, RecordID: "1"}, {EventID: "retry", Status: Retry, Wait: time.Hour},
		{EventID: "dead", Status: Dead, Reason: Rejected}, {EventID: "unknown", Status: Unknown, InDoubt: true},
	}))
	want := map[string]int{"created created": 1, "retry retry": 1, "dead dead": 1, "unknown unknown": 1}
	eventually(t, told, want)

	_, err = s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event("invalid", "{"), Reason: InvalidEvent, Error: "no JSON"}})
	ok(t, err)
	_, _, err = s.Schedule.Park(t.Context(), objectType, nil, 10)
	ok(t, err)
	lost := newAttempt()
	lost.Lease = time.Millisecond
	_, err = s.Batches.Intend(t.Context(), lost, events("lost"))
	ok(t, err)
	for n := 0; n == 0; {
		expired, err := s.Leases.Expire(t.Context(), 10, 0, 0)
		ok(t, err)
		n = len(expired)
	}
	maps.Copy(want, map[string]int{"invalid dead": 1, "unknown dead": 1, "lost unknown": 1})
	eventually(t, told, want)
	eventually(t, deaths, map[string]int{"dead dead": 1, "invalid dead": 1, "unknown dead": 1})

	// It dies again: that is another outcome.
	exec(t, s, `UPDATE event SET dead_at = clock_timestamp() WHERE event_id = 'dead'`)
	want["dead dead"] = 2
	eventually(t, told, want)
}

// A transaction that began first and commits last is not missed.
func TestFollowALateCommit(t *testing.T) {
	t.Parallel()
	s := open(t)
	told := following(t, s, ListFilter{})
	late, err := s.pool.Begin(t.Context())
	ok(t, err)
	defer late.Rollback(context.Background())
	age := func() (age time.Duration) { // of the transaction; its now() stands still
		ok(t, late.QueryRow(t.Context(), `SELECT clock_timestamp() - now()`).Scan(&age))
		return age
	}
	want := map[string]int{}
	for n := 0; age() < 3*time.Second; n++ { // time goes on for the one who follows
		id := fmt.Sprint("other", n)
		create(t, s, id)
		want[id+" created"] = 1
		eventually(t, told, want)
	}
	_, err = late.Exec(t.Context(), `
INSERT INTO event (event_id, object_type, status, payload, content_hash, reason, dead_at, stream, stream_seq)
VALUES ('late', 'contracts', 'dead', '', 'h', 'invalid_event', now(), 's', 1)`)
	ok(t, err)
	ok(t, late.Commit(t.Context()))
	want["late dead"] = 1
	eventually(t, told, want)
}

// With nobody there, closed attempts keep no ids.
func TestNobodyFollows(t *testing.T) {
	t.Parallel()
	s := open(t)
	create(t, s, "a")
	want(t, s, `SELECT count(*) FROM attempt WHERE followed IS NOT NULL`, "0")
	following(t, s, ListFilter{})
	create(t, s, "b")
	want(t, s, `SELECT followed FROM attempt WHERE followed IS NOT NULL`, "{b}")
}
