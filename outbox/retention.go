package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Retention removes what was kept for long enough.
//
// Retention goes through each table like the hand of a clock, a step of some pages at a time, and comes round once in a
// part of the time that rows are kept. A step reads its pages one after the other, and looks up by key what hangs on
// what is in them. To come round 20 million rows in a day takes one such step of 1 MiB in some eight seconds.
//
// What was weighed against it: a B-tree on time costs every event 57 bytes of WAL, a tenth. A BRIN index costs nothing,
// and tells nothing once the room of removed rows is used again, for its summaries only widen. A walk by key reads a
// page for each row where ids are random. Partitions by time would have to be part of the primary key.
type Retention struct{ pool *Pool }

const (
	sweepPages = 128 // in a step, up to 2,000 rows
	// sweepRounds is how many times the hand comes round in the time that rows are kept, if it can: so a row stays for
	// up to a thirtieth longer.
	sweepRounds = 30
	// sweepRest is how long the hand rests after a step, in times that the step took: what there is to remove at once,
	// when retention is new or kept rows were many, may cost the database a twentieth of one connection's work and no
	// more.
	sweepRest = 19
	// sweepIdle bounds a rest, so that a shorter time to keep rows shows soon.
	sweepIdle = time.Minute
)

// retentionCursor finds a relation's step, if it is due and nobody else is at it. The lock on its line is what makes it
// one worker's.
const retentionCursor = `
SELECT page, pg_relation_size(relation::regclass) / current_setting('block_size')::bigint
FROM retention WHERE relation = $1 AND due_at <= now() FOR UPDATE SKIP LOCKED`

const moveHand = `UPDATE retention SET page = $2, due_at = clock_timestamp() + $3::interval WHERE relation = $1`

const nextStep = `SELECT greatest(min(due_at), now()) - now() FROM retention`

// A compact row has neither errors nor revisions.
const sweepEvents = `
WITH gone AS (
  DELETE FROM event WHERE ctid >= $1 AND ctid < $2 AND status = 'created' AND updated_at < now() - $3::interval
  RETURNING event_id),
compact AS (
  DELETE FROM event e USING attempt a WHERE e.ctid >= $1 AND e.ctid < $2 AND e.status IS NULL
    AND a.id = ANY (ARRAY[e.attempt_id]) AND a.closed_at < now() - $3::interval
  RETURNING 1),
forgotten AS (
  DELETE FROM outbox_error e USING gone WHERE e.event_id = ANY (ARRAY[gone.event_id])),
unedited AS (
  DELETE FROM outbox_revision r USING gone WHERE r.event_id = ANY (ARRAY[gone.event_id]))
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM compact)`

// An attempt stays for as long as a row is compact, and without its arrays for as long as an error names it.
const sweepAttempts = `
WITH old AS (
  SELECT a.id, EXISTS (SELECT FROM outbox_error e WHERE e.attempt_id = ANY (ARRAY[a.id])) AS named FROM attempt a
  WHERE a.ctid >= $1 AND a.ctid < $2 AND a.closed_at < now() - $3::interval
    AND NOT EXISTS (SELECT FROM event e WHERE e.event_id = ANY (a.compact_ids) AND e.attempt_id = a.id AND e.status IS NULL)),
lighter AS (
  UPDATE attempt a SET compact_ids = NULL, record_ids = NULL, record_urls = NULL
  FROM old WHERE a.id = ANY (ARRAY[old.id]) AND old.named AND a.compact_ids IS NOT NULL),
gone AS (
  DELETE FROM attempt a USING old WHERE a.id = ANY (ARRAY[old.id]) AND NOT old.named RETURNING 1)
SELECT count(*) FROM gone`

// Swept is what a Sweep did.
type Swept struct {
	Rows     int           // created rows removed, with their errors and revisions
	Attempts int           // closed attempts removed
	Next     time.Duration // until the next step is due
}

// Sweep removes created rows that have been so for longer than keep, with their errors and what persons edited in them,
// and attempts that were closed before that and of which no error is left; the audit of what persons did stays. It does
// the steps that are due, a MiB of a table at most, and nothing if none is: workers may ask as often as they like, and
// together remove no faster than one. Dead and discarded rows stay, and so do the errors and attempts that tell their
// story.
//
// An event whose row is gone is a new one when it is delivered or published again.
func (s *Retention) Sweep(ctx context.Context, keep time.Duration) (swept Swept, err error) {
	if swept.Rows, err = s.sweep(ctx, "event", sweepEvents, keep); err != nil {
		return swept, err
	}
	if swept.Attempts, err = s.sweep(ctx, "attempt", sweepAttempts, keep); err != nil {
		return swept, err
	}
	if err = s.pool.QueryRow(ctx, nextStep).Scan(&swept.Next); err != nil {
		return swept, fmt.Errorf("outbox: retention: %w", err)
	}
	return swept, nil
}

// sweep does a relation's step, if it is due.
func (s *Retention) sweep(ctx context.Context, relation, remove string, keep time.Duration) (removed int, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var page, pages int64
		switch err := tx.QueryRow(ctx, retentionCursor, relation).Scan(&page, &pages); {
		case err == pgx.ErrNoRows:
			return nil
		case err != nil:
			return err
		}
		if page >= pages { // it has come round, or the table is smaller than it was
			page = 0
		}
		begin := time.Now()
		tid := func(page int64) pgtype.TID { return pgtype.TID{BlockNumber: uint32(page), Valid: true} }
		if err := tx.QueryRow(ctx, remove, tid(page), tid(page+sweepPages), keep).Scan(&removed); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, moveHand, relation, page+sweepPages, sweepPause(time.Since(begin), keep, pages))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("outbox: retention: %w", err)
	}
	return removed, nil
}

// sweepPause is the rest after a step that took so long, in a table of so many pages.
func sweepPause(took, keep time.Duration, pages int64) time.Duration {
	steps := max(1, (pages+sweepPages-1)/sweepPages)
	return min(max(sweepRest*took, keep/sweepRounds/time.Duration(steps)), sweepIdle)
}
