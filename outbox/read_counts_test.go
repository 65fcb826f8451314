package outbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func TestCensus(t *testing.T) {
	t.Parallel()
	s := open(t)
	census := func() StatusCounts {
		t.Helper()
		c, err := s.Read.StatusCounts(t.Context())
		ok(t, err)
		return c
	}
	empty := StatusCounts{Rows: map[Status]int64{Sending: 0, Retry: 0, Unknown: 0, Dead: 0, Created: 0, Discarded: 0}}
	if diff := cmp.Diff(empty, census()); diff != "" {
		t.Errorf("of an empty outbox: %s", diff)
	}
	settle(t, s, intend(t, s, "c1", "c2", "c3"), created, "c1", "c2", "c3")
	settle(t, s, intend(t, s, "r1", "r2"), Settlement{Status: Retry, Wait: time.Hour}, "r1", "r2")
	settle(t, s, intend(t, s, "u1", "u2", "u3", "u4"), unknown, "u1", "u2", "u3", "u4")
	settle(t, s, intend(t, s, "d1"), dead, "d1")
	intend(t, s, "s1", "s2")
	exec(t, s, `UPDATE event SET object_type = 'deals', next_attempt_at = now() + interval '1 hour' WHERE event_id IN ('u1', 'u2', 'u3')`)
	claimIDs(t, s, newAttempt(), Unknown) // u4, which is unknown still, and waits for nobody
	exec(t, s, `INSERT INTO operator_action (operator, action, events) VALUES ('a', 'discard', 2), ('a', 'edit', 7), ('a', 'discard', 3)`)

	want := StatusCounts{Rows: map[Status]int64{Sending: 2, Retry: 2, Unknown: 4, Dead: 1, Created: 3, Discarded: 5}, Waiting: 5}
	if diff := cmp.Diff(want, census()); diff != "" {
		t.Error(diff)
	}
	exec(t, s, `UPDATE event SET next_attempt_at = now() - interval '10 minutes' WHERE event_id = 'u2'`)
	exec(t, s, `UPDATE event SET next_attempt_at = now() - interval '5 minutes' WHERE event_id = 'r1'`)
	if o := census().Overdue; o < 10*time.Minute || o > 11*time.Minute {
		t.Errorf("overdue for %v, want ten minutes", o)
	}
}

// Where there are too many to be counted, the database's estimates take the place of counts.
func TestCensusOfALargeTable(t *testing.T) {
	t.Parallel()
	s := open(t)
	many := func(status string, n int, columns, values string) {
		t.Helper()
		exec(t, s, fmt.Sprintf(`
INSERT INTO event (event_id, object_type, status, payload, content_hash, stream, stream_seq, %s)
SELECT '%s' || n, 'contracts', '%s', 'p', 'h', 's', n, %s FROM generate_series(1, %d) n`, columns, status, status, values, n))
	}
	many("created", 50_000, "record_id", "'r' || n")
	many("dead", 5_000, "reason, dead_at", "'rejected', now()")
	many("retry", 3_000, "next_attempt_at", "now()")
	many("unknown", 2_000, "next_attempt_at, misses", "now(), 0")
	// What is reported after an ANALYZE that saw it already counts twice.
	for told := false; !told; {
		ok(t, s.pool.QueryRow(t.Context(), `SELECT pg_stat_get_live_tuples('event'::regclass) >= 60000 FROM pg_stat_force_next_flush()`).Scan(&told))
	}
	exec(t, s, `ANALYZE event`)
	c, err := s.Read.statusCounts(t.Context(), 1_000, 1<<20)
	ok(t, err)
	for status, n := range map[Status]int64{Created: 50_000, Dead: 5_000, Retry: 3_000, Unknown: 2_000, Sending: 0} {
		if got := c.Rows[status]; got < n*9/10 || got > n*11/10 {
			t.Errorf("%s: %d rows, want about %d", status, got, n)
		}
	}
	exec(t, s, `DELETE FROM event WHERE status = 'dead' AND stream_seq > 1500`)
	exec(t, s, `UPDATE pg_class SET reltuples = 0 WHERE oid = 'event_dead'::regclass`)
	if c, err = s.Read.statusCounts(t.Context(), 1_000, 1<<20); err != nil || c.Rows[Dead] != 1_000 {
		t.Errorf("no fewer than were counted: %d, %v", c.Rows[Dead], err)
	}

	exec(t, s, `INSERT INTO operator_action (operator, action, events) SELECT 'a', CASE n % 1000 WHEN 0 THEN 'discard' ELSE 'edit' END, 1 FROM generate_series(1, 20000) n`)
	exec(t, s, `ANALYZE operator_action`)
	rows, _ := s.pool.Query(t.Context(), `EXPLAIN (ANALYZE, COSTS off, TIMING off) `+strings.NewReplacer("$1", "1000", "$2", "1000").Replace(countStatuses))
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	ok(t, err)
	for i, line := range plan {
		executed := !strings.Contains(line, "never executed")
		if executed && (strings.Contains(line, "Seq Scan on event") || strings.Contains(line, "Seq Scan on operator_action") || strings.Contains(line, "event_pkey") && !strings.Contains(plan[i+1], "Index Cond")) {
			t.Errorf("it reads all of the table:\n%s", strings.Join(plan, "\n"))
		}
	}
}
