package outbox

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	countOpen = `
SELECT object_type, kind, count(*), coalesce(sum(cardinality(event_ids)), 0)::bigint, min(started_at)
FROM attempt WHERE closed_at IS NULL GROUP BY object_type, kind`
	countRetry = `
SELECT object_type, count(*), min(received_at), min(next_attempt_at) FROM event
WHERE next_attempt_at IS NOT NULL AND misses IS NULL GROUP BY object_type`
	countUnknown = `
SELECT object_type, count(*), min(received_at), min(next_attempt_at) FROM event
WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL GROUP BY object_type`
	countDead = `
SELECT object_type, count(*), min(dead_at), NULL::timestamptz FROM event WHERE dead_at IS NOT NULL GROUP BY object_type`
	selectSize = `SELECT pg_relation_size('event')`
	// By a scan, which no connection of the outbox does by itself.
	countDone = `
SELECT object_type, status, sum(n)::bigint FROM (
  SELECT object_type, coalesce(status, 'created') AS status, count(*) AS n FROM event
  WHERE status IS NULL OR status IN ('created', 'discarded') GROUP BY object_type, status
  UNION ALL -- compact rows that are still in a call
  SELECT object_type, 'created', -sum(cardinality(event_ids)) FROM attempt
  WHERE closed_at IS NULL AND payloads IS NOT NULL GROUP BY object_type) c
GROUP BY object_type, status HAVING sum(n) > 0`
	// The live rows as the database counts them along, or as they were when it last looked; and the share of each
	// object type in the sample that it keeps.
	estimateByType = `
SELECT t.object_type, round(t.share * n.rows)::bigint
FROM (SELECT greatest(c.reltuples::float8, coalesce(pg_stat_get_live_tuples(c.oid), 0)::float8, 0) AS rows
      FROM pg_class c WHERE c.oid = 'event'::regclass) n,
  (SELECT unnest(most_common_vals::text::text[]) AS object_type, unnest(most_common_freqs) AS share
   FROM pg_stats WHERE schemaname = current_schema() AND tablename = 'event' AND attname = 'object_type') t`
	estimateAll = `
SELECT '', greatest(reltuples::float8, coalesce(pg_stat_get_live_tuples(oid), 0)::float8, 0)::bigint
FROM pg_class WHERE oid = 'event'::regclass`
)

// add counts rows, some of which may be counted already.
func (v *Snapshot) add(e EventCount) {
	i := slices.IndexFunc(v.Events, func(x EventCount) bool { return x.ObjectType == e.ObjectType && x.Status == e.Status })
	if i < 0 {
		v.Events = append(v.Events, e)
		return
	}
	x := &v.Events[i]
	x.Events += e.Events
	if x.Oldest.IsZero() || !e.Oldest.IsZero() && e.Oldest.Before(x.Oldest) {
		x.Oldest = e.Oldest
	}
	if x.Next.IsZero() {
		x.Next = e.Next
	}
}

// readUnfinished counts what is not done.
func readUnfinished(ctx context.Context, tx pgx.Tx, v *Snapshot) error {
	if err := readOpen(ctx, tx, v); err != nil {
		return err
	}
	for _, q := range []struct {
		status Status
		sql    string
	}{{Retry, countRetry}, {Unknown, countUnknown}, {Dead, countDead}} {
		rows, err := tx.Query(ctx, q.sql)
		if err != nil {
			return err
		}
		e := EventCount{Status: q.status}
		var next *time.Time
		if _, err := pgx.ForEachRow(rows, []any{&e.ObjectType, &e.Events, &e.Oldest, &next}, func() error {
			e := e
			if next != nil {
				e.Next = *next
			}
			v.add(e)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func readOpen(ctx context.Context, tx pgx.Tx, v *Snapshot) error {
	rows, err := tx.Query(ctx, countOpen)
	if err != nil {
		return err
	}
	var objectType, kind string
	var calls int
	var n int64
	var oldest time.Time
	_, err = pgx.ForEachRow(rows, []any{&objectType, &kind, &calls, &n, &oldest}, func() error {
		e := EventCount{ObjectType: objectType, Status: Sending, Events: n, Oldest: oldest}
		if kind == "read" {
			v.Calls.Read += calls
			e.Status, e.Oldest = Unknown, time.Time{} // its rows are not due, and so not in the count of those that are
		} else {
			v.Calls.Create += calls
		}
		if v.Calls.Oldest.IsZero() || oldest.Before(v.Calls.Oldest) {
			v.Calls.Oldest = oldest
		}
		if n > 0 { // the refused parent of a bisection may have none left
			v.add(e)
		}
		return nil
	})
	return err
}

// readFinished counts what is created or discarded.
func readFinished(ctx context.Context, tx pgx.Tx, v *Snapshot) error {
	var size int64
	if err := tx.QueryRow(ctx, selectSize).Scan(&size); err != nil {
		return err
	}
	if size > CountedBytes {
		return estimateFinished(ctx, tx, v)
	}
	if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = on`); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, countDone)
	if err != nil {
		return err
	}
	var e EventCount
	_, err = pgx.ForEachRow(rows, []any{&e.ObjectType, &e.Status, &e.Events}, func() error {
		v.add(e)
		return nil
	})
	return err
}

// estimateFinished takes what is counted off what there is.
func estimateFinished(ctx context.Context, tx pgx.Tx, v *Snapshot) error {
	counted := map[string]int64{}
	for _, e := range v.Events {
		counted[e.ObjectType] += e.Events
		counted[""] += e.Events
	}
	var objectType string
	var all int64
	for _, sql := range []string{estimateByType, estimateAll} {
		rows, err := tx.Query(ctx, sql)
		if err != nil {
			return err
		}
		tag, err := pgx.ForEachRow(rows, []any{&objectType, &all}, func() error {
			if n := all - counted[objectType]; n > 0 {
				v.add(EventCount{ObjectType: objectType, Status: Created, Events: n, Estimated: true})
			}
			return nil
		})
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
	}
	return nil
}
