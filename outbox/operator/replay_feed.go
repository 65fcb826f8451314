package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Feeder does replay jobs, step by step. Any number may be at it: a job belongs to one of them for the time of a step,
// which is a transaction. So whoever is killed leaves nothing behind, and a job that is paused or cancelled makes no
// step more.
type Feeder struct {
	pool    *outbox.Pool
	records Records
}

// NewFeeder makes one on the store's connections.
func NewFeeder(store *outbox.Store, records Records) *Feeder { return &Feeder{store.Pool(), records} }

const (
	// feedStep is how many events a step takes at most: some tens of milliseconds of work, for which a cancel waits.
	feedStep = 1000
	// feedAhead is how many events of an object type may be due before a job adds no more of it: two seconds' worth of
	// what the largest quota lets through. What is not due yet can still be cancelled, and a pause of one object type
	// does not hold up the others.
	feedAhead = 5000
	// feedAgain is when a job looks again whether there is room.
	feedAgain = 500 * time.Millisecond
	// A job whose step fails is tried again after feedRetry, and after twice as long each time, up to feedRetryMost.
	feedRetry, feedRetryMost = time.Second, 5 * time.Minute
)

// StepError says that a step of a job failed. Nothing was done but to note it with the job, which the others don't wait
// for.
type StepError struct {
	Job      int64
	Failures int // of its steps in a row
	Err      error
}

func (e *StepError) Error() string {
	return fmt.Sprintf("operator: a step of replay %d: %v", e.Job, e.Err)
}
func (e *StepError) Unwrap() error { return e.Err }

// Jobs take turns.
const takeReplay = `
SELECT id, action_id, allow_duplicate, coalesce(rate, 0) FROM replay_job WHERE state = 'running' AND next_at <= now()
ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED`

// A loose index scan, and a look at what is due of each object type.
const replayTypes = `
WITH RECURSIVE left_over AS (
  (SELECT object_type FROM replay_event WHERE job_id = $1 ORDER BY object_type LIMIT 1)
  UNION ALL
  SELECT (SELECT e.object_type FROM replay_event e WHERE e.job_id = $1 AND e.object_type > t.object_type
    ORDER BY e.object_type LIMIT 1)
  FROM left_over t WHERE t.object_type IS NOT NULL)
SELECT object_type, $2
  - (SELECT count(*) FROM (SELECT FROM event o WHERE o.object_type = t.object_type AND o.next_attempt_at <= now()
    AND o.misses IS NULL LIMIT $2) r)
  - (SELECT count(*) FROM (SELECT FROM event o WHERE o.object_type = t.object_type AND o.next_attempt_at <= now()
    AND o.misses IS NOT NULL LIMIT $2) u)
FROM left_over t WHERE object_type IS NOT NULL`

// The first events come off the list, whatever is done with them; by a range, because a join with the list could go
// through all of it for each of them. No row means that it is not as it was seen.
const takeReplayEvents = `
WITH taken AS (
  DELETE FROM replay_event WHERE job_id = $1 AND object_type = $2 AND event_id <= (
    SELECT max(event_id) FROM (
      SELECT event_id FROM replay_event WHERE job_id = $1 AND object_type = $2 ORDER BY event_id LIMIT $3) n)
  RETURNING event_id, seen)
SELECT o.event_id IS NOT NULL, ` + candidateColumnsOrNull + `
FROM taken t LEFT JOIN event o ON o.event_id = ANY (ARRAY[t.event_id]) AND o.status = 'dead' AND o.updated_at = t.seen`

const candidateColumnsOrNull = `coalesce(o.event_id, ''), coalesce(o.object_type, ''), coalesce(o.updated_at, now()),
  coalesce(o.reason = 'unknown_outcome', false), coalesce(o.in_doubt, false), o.revision IS NOT NULL,
  coalesce(o.id_property, ''), CASE WHEN o.in_doubt OR o.reason = 'unknown_outcome' THEN o.payload END`

// A job is paced by what it sent again. What it could not do in time it makes up for, up to a second's worth.
const stepReplay = `
UPDATE replay_job SET replayed = replayed + $2, skipped = skipped + $3, held = held + $4, failures = 0, failure = NULL,
  next_at = CASE WHEN rate IS NULL THEN now() ELSE greatest(next_at, now() - interval '1 second') + $2 / rate * interval '1 second' END
WHERE id = $1`

const failReplay = `
UPDATE replay_job SET failures = failures + 1, failure = left($2, 1000),
  next_at = now() + least($3::interval * power(2, least(failures, 20)), $4::interval)
WHERE id = $1 AND state = 'running' RETURNING failures`

// Feed makes one step of one job: it makes some of its events due. It reports false when no job can make a step now.
// An error means that nothing was done; after a *StepError others may go on.
func (f *Feeder) Feed(ctx context.Context) (more bool, err error) {
	var job int64
	err = pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) (err error) {
		job, err = f.step(ctx, tx)
		return err
	})
	switch {
	case err == nil:
		return job != 0, nil
	case job == 0 || errors.Is(ctx.Err(), context.Canceled):
		return false, replayError(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWait) // it may have failed for want of time
	defer cancel()
	failed := &StepError{Job: job, Err: err}
	switch err := f.pool.QueryRow(ctx, failReplay, job, err.Error(), feedRetry, feedRetryMost).Scan(&failed.Failures); {
	case errors.Is(err, pgx.ErrNoRows): // a person has just held or cancelled it
	case err != nil:
		return false, replayError(errors.Join(failed.Err, err))
	}
	return true, failed
}

// noteWait bounds how long it takes to note that a step failed.
const noteWait = 2 * time.Second

// step makes a step of the job whose turn it is; 0 if it is none's.
func (f *Feeder) step(ctx context.Context, tx pgx.Tx) (id int64, err error) {
	var action int64
	var allowDuplicate bool
	var rate float64
	err = tx.QueryRow(ctx, takeReplay).Scan(&id, &action, &allowDuplicate, &rate)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	objectType, room, err := f.room(ctx, tx, id)
	switch {
	case err != nil:
		return id, err
	case room < 0:
		_, err = tx.Exec(ctx, `UPDATE replay_job SET state = 'done', ended_at = now() WHERE id = $1`, id)
		return id, err
	case room == 0:
		_, err = tx.Exec(ctx, `UPDATE replay_job SET next_at = now() + $2::interval WHERE id = $1`, id, feedAgain)
		return id, err
	}
	n := min(room, feedStep)
	if rate > 0 {
		n = min(n, max(int64(rate), 1))
	}
	list, changed, err := takeEvents(ctx, tx, id, objectType, n)
	if err != nil {
		return id, err
	}
	done, err := f.records.replay(ctx, tx, action, list, allowDuplicate)
	if err != nil {
		return id, err
	}
	_, err = tx.Exec(ctx, stepReplay, id, done.Replayed, done.Skipped+changed, done.Held)
	return id, err
}

// room returns the object type of the job's list that has the most room among what is due, and how much; less than 0 if
// the list is empty.
func (f *Feeder) room(ctx context.Context, tx pgx.Tx, job int64) (objectType string, room int64, err error) {
	rows, err := tx.Query(ctx, replayTypes, job, int64(feedAhead))
	if err != nil {
		return "", 0, err
	}
	room = -1
	var t string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&t, &n}, func() error {
		if n = max(n, 0); n > room {
			objectType, room = t, n
		}
		return nil
	})
	return objectType, room, err
}

// takeEvents takes events off the job's list. changed is how many of them are not as they were seen.
func takeEvents(ctx context.Context, tx pgx.Tx, job int64, objectType string, limit int64) (list []candidate,
	changed int64, err error) {
	rows, err := tx.Query(ctx, takeReplayEvents, job, objectType, limit)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var there bool
		var c candidate
		if err := rows.Scan(&there, &c.eventID, &c.objectType, &c.seen, &c.unresolved, &c.inDoubt, &c.edited, &c.askBy,
			&c.payload); err != nil {
			return nil, 0, err
		}
		if there {
			list = append(list, c)
		} else {
			changed++
		}
	}
	return list, changed, rows.Err()
}
