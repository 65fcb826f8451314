package outbox

import (
	"context"
	"fmt"
	"time"
)

// StatusCounts is how many rows there are in each status, at one moment.
type StatusCounts struct {
	Rows map[Status]int64
	// Waiting are those in `retry` and `unknown` that wait for a call, now or later.
	Waiting int64
	// Overdue is for how long the first of them is due by now; 0 if none is.
	Overdue time.Duration
}

// Counting costs the database some 20 ms at most, for either bound. What is more is an estimate of its own, from its
// last VACUUM or ANALYZE.
const (
	// CountedRows is how far StatusCounts counts a status.
	CountedRows = 100_000
	// CountedBytes is how large the table of events may be for created rows to be counted one by one: some 120,000 of
	// them. In a larger one created is what the database believes to be in it, less all others.
	CountedBytes = 16 << 20
)

// What is in a call hangs on its attempt. What was discarded stays for ever, and each action tells how many rows it was
// done to: those that discard are summed, less those that restore, by an index that has nothing else, one entry for
// each time that a person did.
const countStatuses = dueTypes + `,
firsts AS (
  SELECT (SELECT o.next_attempt_at FROM event o
    WHERE o.object_type = t.object_type AND o.next_attempt_at IS NOT NULL AND o.misses IS NULL ORDER BY o.next_attempt_at LIMIT 1) AS due
  FROM retry t
  UNION ALL
  SELECT (SELECT o.next_attempt_at FROM event o
    WHERE o.object_type = t.object_type AND o.next_attempt_at IS NOT NULL AND o.misses IS NOT NULL ORDER BY o.next_attempt_at LIMIT 1)
  FROM unknown t)
SELECT
  (SELECT count(*) FROM (SELECT FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NULL LIMIT $1) r),
  (SELECT count(*) FROM (SELECT FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL LIMIT $1) u),
  (SELECT count(*) FROM (SELECT FROM event WHERE dead_at IS NOT NULL LIMIT $1) d),
  (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'event_retry'::regclass),
  (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'event_unknown'::regclass),
  (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'event_dead'::regclass),
  (SELECT greatest(reltuples::float8, coalesce(pg_stat_get_live_tuples(oid), 0)::float8, 0)::bigint FROM pg_class WHERE oid = 'event'::regclass),
  (SELECT coalesce(sum(cardinality(event_ids)) FILTER (WHERE kind = 'create'), 0)::bigint FROM attempt WHERE closed_at IS NULL),
  (SELECT coalesce(sum(cardinality(event_ids)) FILTER (WHERE kind = 'read'), 0)::bigint FROM attempt WHERE closed_at IS NULL),
  (SELECT coalesce(sum(CASE action WHEN 'discard' THEN events ELSE -events END), 0)::bigint FROM operator_action
    WHERE action IN ('discard', 'restore')),
  coalesce(CASE WHEN pg_relation_size('event') <= $2 THEN (SELECT count(*) FROM event WHERE coalesce(status, 'created') = 'created')
    - (SELECT coalesce(sum(cardinality(event_ids)), 0) FROM attempt WHERE closed_at IS NULL AND payloads IS NOT NULL) END, -1),
  (SELECT coalesce(now() - min(due), interval '0') FROM firsts)`

// StatusCounts counts the rows. Its cost is bounded, however many there are: it may be asked every few seconds.
func (s *Reader) StatusCounts(ctx context.Context) (StatusCounts, error) {
	return s.statusCounts(ctx, CountedRows, CountedBytes)
}

func (s *Reader) statusCounts(ctx context.Context, most, counted int64) (c StatusCounts, err error) {
	var retry, unknown, dead, retryGuess, unknownGuess, deadGuess, all, sending, read, discarded, created int64
	if err := s.pool.QueryRow(ctx, countStatuses, most, counted).Scan(&retry, &unknown, &dead, &retryGuess, &unknownGuess, &deadGuess, &all,
		&sending, &read, &discarded, &created, &c.Overdue); err != nil {
		return StatusCounts{}, fmt.Errorf("outbox: status counts: %w", err)
	}
	for _, n := range []struct {
		counted *int64
		guess   int64
	}{{&retry, retryGuess}, {&unknown, unknownGuess}, {&dead, deadGuess}} {
		if *n.counted == most {
			*n.counted = max(most, n.guess)
		}
	}
	c.Waiting = retry + unknown
	c.Overdue = max(c.Overdue, 0)
	unknown += read
	if created < 0 {
		created = max(0, all-sending-retry-unknown-dead-discarded)
	}
	c.Rows = map[Status]int64{Sending: sending, Retry: retry, Unknown: unknown, Dead: dead, Created: created, Discarded: discarded}
	return c, nil
}
