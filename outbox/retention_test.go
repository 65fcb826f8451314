package outbox

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const month = 30 * 24 * time.Hour

// sweepAll lets the hands come round once in each table, and returns what they removed.
func sweepAll(t testing.TB, s *Store, keep time.Duration) (rows, attempts int) {
	t.Helper()
	exec(t, s, `UPDATE retention SET page = 0`)
	for range 1000 {
		exec(t, s, `UPDATE retention SET due_at = '-infinity'`)
		swept, err := s.Retention.Sweep(t.Context(), keep)
		ok(t, err)
		rows, attempts = rows+swept.Rows, attempts+swept.Attempts
		if done := lines(t, s, `
SELECT bool_and(page * current_setting('block_size')::int8 >= pg_relation_size(relation::regclass)) FROM retention`); done[0] == "t" {
			return rows, attempts
		}
	}
	t.Fatal("the hands don't come round")
	return 0, 0
}

// makeOlder makes all that there is as old as this.
func makeOlder(t testing.TB, s *Store, by string) {
	t.Helper()
	exec(t, s, `UPDATE event SET received_at = received_at - $1::text::interval, updated_at = updated_at - $1::text::interval,
  dead_at = dead_at - $1::text::interval, next_attempt_at = next_attempt_at - $1::text::interval`, by)
	exec(t, s, `UPDATE attempt SET started_at = started_at - $1::text::interval, closed_at = closed_at - $1::text::interval`, by)
}

func TestSweep(t *testing.T) {
	t.Parallel()
	s := open(t)
	failed := retry
	failed.Errors = []Error{{Message: "busy"}}
	refused := dead
	refused.Errors = []Error{{Message: "bad"}}
	settle(t, s, intend(t, s, "created-1", "created-2"), created, "created-1", "created-2")
	settle(t, s, intend(t, s, "dead"), refused, "dead")
	settle(t, s, intend(t, s, "discarded"), refused, "discarded")
	exec(t, s, `UPDATE event SET status = 'discarded', dead_at = NULL WHERE event_id = 'discarded'`)
	settle(t, s, intend(t, s, "retry", "retried"), failed, "retry", "retried")
	exec(t, s, `UPDATE event SET next_attempt_at = now() + interval '90 days' WHERE event_id = 'retry'`)
	second := newAttempt()
	if ids := claimIDs(t, s, second, Retry); len(ids) != 1 {
		t.Fatalf("claimed %q", ids)
	}
	settle(t, s, second, created, "retried")
	settle(t, s, intend(t, s, "unknown"), unknown, "unknown")
	intend(t, s, "sending")
	_, err := s.Batches.InsertDead(t.Context(), []DeadLetter{{Event: event("buried", "x"), Reason: InvalidEvent, Error: "no JSON"}})
	ok(t, err)

	exec(t, s, `INSERT INTO outbox_revision (event_id, revision, payload) VALUES ('retried', 0, 'x'), ('retried', 1, 'y'), ('dead', 0, 'z')`)

	check := func(rows, attempts int, left, errors string) {
		t.Helper()
		if r, a := sweepAll(t, s, month); r != rows || a != attempts {
			t.Errorf("removed %d rows and %d attempts, want %d and %d", r, a, rows, attempts)
		}
		want(t, s, `SELECT string_agg(event_id, ' ' ORDER BY event_id) FROM outbox`, left)
		want(t, s, `SELECT string_agg(event_id, ' ' ORDER BY event_id) FROM outbox_error`, errors)
	}
	all := "buried created-1 created-2 dead discarded retried retry sending unknown"
	check(0, 0, all, "buried dead discarded retried retry")
	makeOlder(t, s, "29 days 23 hours")
	check(0, 0, all, "buried dead discarded retried retry")
	makeOlder(t, s, "2 hours")
	// An attempt stays while a row has an error of it: of the first call of "retried", that of "retry" is left. That of
	// "unknown" left no error here.
	check(3, 3, "buried dead discarded retry sending unknown", "buried dead discarded retry")
	want(t, s, `SELECT count(*) FROM attempt a WHERE state = 'open' OR EXISTS (SELECT FROM outbox_error e WHERE e.attempt_id = a.id)`, "4")
	want(t, s, `SELECT event_id, revision FROM outbox_revision`, "dead 0")
	if left := lines(t, s, `SELECT count(*) FROM attempt`); left[0] != "4" {
		t.Errorf("%s attempts are left, want 4", left)
	}
	check(0, 0, "buried dead discarded retry sending unknown", "buried dead discarded retry")

	// What is gone is new when it comes again.
	intend(t, s, "created-1")
}

// A table of many steps is emptied of what is old and of nothing else, page by page, by workers that all ask at once;
// and no step is done twice, or before it is due.
func TestSweepIsOneWorkers(t *testing.T) {
	t.Parallel()
	s := open(t)
	exec(t, s, `
INSERT INTO event (event_id, object_type, status, content_hash, record_id, stream, stream_seq, updated_at)
SELECT 'e' || n, 'contracts', 'created', 'h', 'r' || n, 's', n, now() - CASE WHEN n % 3 = 0 THEN interval '31 days' ELSE interval '29 days' END
FROM generate_series(1, 30000) n`)
	pages := func() string {
		return lines(t, s, `SELECT page FROM retention WHERE relation = 'event'`)[0]
	}
	ask := func() (rows int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				swept, err := s.Retention.Sweep(t.Context(), month)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				rows += swept.Rows
			})
		}
		wg.Wait()
		return rows
	}
	removed, steps := 0, 0
	for ; ; steps++ {
		exec(t, s, `UPDATE retention SET due_at = '-infinity'`)
		removed += ask()
		page := pages()
		if got, want := page, fmt.Sprint((steps+1)*sweepPages); got != want {
			if steps > 2 && got == fmt.Sprint(sweepPages) {
				break // it has come round
			}
			t.Fatalf("after step %d it is at page %s, want %s", steps+1, got, want)
		}
		if ask() != 0 || pages() != page {
			t.Fatal("a step was done before it was due")
		}
	}
	if removed != 10000 {
		t.Errorf("removed %d rows, want 10000", removed)
	}
	want(t, s, `SELECT count(*), min(updated_at) > now() - interval '30 days' FROM outbox`, "20000 t")
}

// A step reads its own pages and nothing else, however large the tables are, and whatever the planner believed when
// they were empty.
func TestSweepReadsItsPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	conn, err := s.pool.Acquire(t.Context())
	ok(t, err)
	defer conn.Release()
	for _, filled := range []bool{false, true} {
		if filled {
			exec(t, s, `
INSERT INTO event (event_id, object_type, status, content_hash, record_id, stream, stream_seq)
SELECT 'e' || n, 'contracts', 'created', 'h', 'r' || n, 's', n FROM generate_series(1, 20000) n`)
			exec(t, s, `
INSERT INTO outbox_error (event_id, attempt_id, message) SELECT 'e' || n, gen_random_uuid(), 'm' FROM generate_series(1, 20000) n`)
			exec(t, s, `ANALYZE event, outbox_error`)
		}
		lookups := map[string]int{"event": 3, "attempt": 4} // by key
		for name, sql := range map[string]string{"event": sweepEvents, "attempt": sweepAttempts} {
			_, err := conn.Exec(t.Context(), `SET plan_cache_mode = force_generic_plan`)
			ok(t, err)
			_, err = conn.Exec(t.Context(), `PREPARE p AS `+sql)
			ok(t, err)
			rows, err := conn.Query(t.Context(), `EXPLAIN EXECUTE p ('(0,0)', '(128,0)', '30 days')`)
			ok(t, err)
			var plan []string
			for rows.Next() {
				var line string
				ok(t, rows.Scan(&line))
				plan = append(plan, line)
			}
			ok(t, rows.Err())
			has := func(part string) bool {
				return slices.ContainsFunc(plan, func(line string) bool { return strings.Contains(line, part) })
			}
			if !has("Tid Range Scan on "+name) || has("Seq Scan") || strings.Count(strings.Join(plan, "\n"), "Index Cond") != lookups[name] {
				t.Errorf("filled: %v, %s:\n%s", filled, name, strings.Join(plan, "\n"))
			}
			_, err = conn.Exec(t.Context(), `DEALLOCATE p`)
			ok(t, err)
		}
	}
}

func TestSweepPause(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		took, keep time.Duration
		pages      int64
		want       time.Duration
	}{
		"an empty table":                    {time.Millisecond, month, 0, time.Minute},
		"a small one":                       {time.Millisecond, month, 1000, time.Minute},
		"one of 13 GB comes round in a day": {time.Millisecond, month, 1_600_000, 24 * time.Hour / 12500},
		"a step that took long":             {time.Second, month, 1_600_000, 19 * time.Second},
		"one that took too long":            {time.Minute, month, 1_600_000, time.Minute},
		"no time for it":                    {10 * time.Millisecond, time.Hour, 1_600_000_000, 190 * time.Millisecond},
	} {
		if got := sweepPause(c.took, c.keep, c.pages); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
