package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Due is an object type that has rows to work on now.
type Due struct {
	ObjectType     string
	Retry, Unknown bool
}

// A loose index scan: one step per object type, however many rows are due.
const selectDue = `
WITH RECURSIVE t AS (
  (SELECT object_type FROM outbox WHERE next_attempt_at IS NOT NULL ORDER BY object_type LIMIT 1)
  UNION ALL
  SELECT (SELECT o.object_type FROM outbox o WHERE o.next_attempt_at IS NOT NULL AND o.object_type > t.object_type
          ORDER BY o.object_type LIMIT 1)
  FROM t WHERE t.object_type IS NOT NULL)
SELECT object_type,
  EXISTS (SELECT FROM outbox o WHERE o.object_type = t.object_type AND o.next_attempt_at <= now() AND o.status = 'retry'),
  EXISTS (SELECT FROM outbox o WHERE o.object_type = t.object_type AND o.next_attempt_at <= now() AND o.status = 'unknown')
FROM t WHERE object_type IS NOT NULL`

// Due lists the object types that have `retry` or `unknown` rows whose time has come.
func (s *Store) Due(ctx context.Context) ([]Due, error) {
	rows, err := s.pool.Query(ctx, selectDue)
	if err != nil {
		return nil, fmt.Errorf("outbox: due: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Due])
	if err != nil {
		return nil, fmt.Errorf("outbox: due: %w", err)
	}
	var due []Due
	for _, d := range all {
		if d.Retry || d.Unknown {
			due = append(due, d)
		}
	}
	return due, nil
}

// A claimed `retry` row becomes `sending`; a claimed `unknown` row stays so and is out of sight for the lease.
const claim = `
WITH due AS (
  SELECT event_id, attempt_id, octet_length(payload) AS bytes, next_attempt_at FROM outbox
  WHERE object_type = $2 AND status = $3 AND next_attempt_at <= now()
  ORDER BY next_attempt_at LIMIT $4 FOR UPDATE SKIP LOCKED),
fitting AS (
  SELECT event_id, attempt_id FROM (
    SELECT event_id, attempt_id, sum(bytes) OVER w AS total, row_number() OVER w AS n FROM due
    WINDOW w AS (ORDER BY next_attempt_at, event_id)) d
  WHERE n = 1 OR total <= $5),
claimed AS (
  UPDATE outbox o SET status = CASE $3 WHEN 'retry' THEN 'sending' ELSE 'unknown' END, attempt_id = $1, updated_at = now(),
    next_attempt_at = CASE $3 WHEN 'retry' THEN NULL ELSE now() + $7::interval END
  FROM fitting f WHERE o.event_id = f.event_id
  RETURNING o.event_id, o.payload, o.content_hash, o.stream, o.stream_seq, o.attempts, o.in_doubt, o.misses, f.attempt_id AS before, o.received_at),
opened AS (
  INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs)
  SELECT $1, CASE $3 WHEN 'retry' THEN 'create' ELSE 'read' END, $2, $6, now() + $7::interval, array_agg(event_id), count(*)
  FROM claimed HAVING count(*) > 0)
SELECT event_id, payload, content_hash, stream, stream_seq, attempts, in_doubt, misses, before, received_at, now() - received_at FROM claimed
ORDER BY event_id`

// What an earlier try of the same claim got, if its answer was lost.
const claimedBefore = `
SELECT o.event_id, o.payload, o.content_hash, o.stream, o.stream_seq, o.attempts, o.in_doubt, o.misses, NULL::uuid, o.received_at, now() - o.received_at
FROM attempt a JOIN outbox o ON o.event_id = ANY(a.event_ids) AND o.attempt_id = a.id
WHERE a.id = $1 AND a.closed_at IS NULL ORDER BY o.event_id`

// Claim takes up to limit rows (and about maxBytes of payload) of an object type that are due in this status, Retry or Unknown,
// under the attempt a. No rows means that nothing is due any more; then there is no attempt either.
func (s *Store) Claim(ctx context.Context, a Attempt, status Status, limit, maxBytes int) ([]Row, error) {
	got, err := s.rows(ctx, a.ObjectType, claimedBefore, a.ID)
	if err != nil || len(got) > 0 {
		return got, err
	}
	return s.rows(ctx, a.ObjectType, claim, a.ID, a.ObjectType, string(status), limit, maxBytes, a.Worker, a.Lease)
}

func (s *Store) rows(ctx context.Context, objectType, sql string, args ...any) ([]Row, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("outbox: claim: %w", err)
	}
	got, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (Row, error) {
		row := Row{Event: Event{ObjectType: objectType}}
		var hash []byte
		var seq int64
		var before *uuid.UUID
		err := r.Scan(&row.ID, &row.Payload, &hash, &row.Stream, &seq, &row.Attempts, &row.InDoubt, &row.Misses, &before, &row.ReceivedAt, &row.Age)
		copy(row.ContentHash[:], hash)
		row.StreamSeq = uint64(seq)
		if before != nil {
			row.AttemptID = *before
		}
		return row, err
	})
	if err != nil {
		return nil, fmt.Errorf("outbox: claim: %w", err)
	}
	return got, nil
}

const expire = `
WITH lost AS (
  SELECT id, event_ids FROM attempt WHERE closed_at IS NULL AND lease_until < now()
  ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED),
doubtful AS (
  UPDATE outbox o SET status = 'unknown', next_attempt_at = now(), in_doubt = true, misses = 0, attempts = o.attempts + 1,
    error = 'the worker did not report: the call may or may not have been made', updated_at = now()
  FROM lost WHERE o.event_id = ANY(lost.event_ids) AND o.attempt_id = lost.id AND o.status = 'sending'
  RETURNING o.event_id, o.attempt_id, o.error),
told AS (
  INSERT INTO outbox_error (event_id, attempt_id, category, message) SELECT event_id, attempt_id, 'LEASE_EXPIRED', error FROM doubtful)
UPDATE attempt SET state = 'expired', closed_at = now(), event_ids = NULL FROM lost WHERE attempt.id = lost.id
RETURNING attempt.id, attempt.worker, attempt.object_type, attempt.inputs`

// Expired is an attempt whose lease had run out.
type Expired struct {
	ID         uuid.UUID
	Worker     string
	ObjectType string
	Inputs     int
}

// Expire closes attempts (up to limit) whose lease has run out, and makes their rows `unknown`, due at once.
func (s *Store) Expire(ctx context.Context, limit int) ([]Expired, error) {
	rows, err := s.pool.Query(ctx, expire, limit)
	if err != nil {
		return nil, fmt.Errorf("outbox: expire: %w", err)
	}
	lost, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Expired])
	if err != nil {
		return nil, fmt.Errorf("outbox: expire: %w", err)
	}
	return lost, nil
}

const split = `
WITH parent AS (
  UPDATE attempt SET lease_until = now() + $4::interval WHERE id = $1 AND closed_at IS NULL RETURNING id, object_type, worker),
moved AS (
  UPDATE outbox o SET attempt_id = $2, updated_at = now() FROM parent
  WHERE o.event_id = ANY($3::text[]) AND o.attempt_id = parent.id AND o.status = 'sending' RETURNING o.event_id)
INSERT INTO attempt (id, parent_id, kind, object_type, worker, lease_until, event_ids, inputs)
SELECT $2, parent.id, 'create', parent.object_type, parent.worker, now() + $4::interval, array_agg(moved.event_id), count(*)
FROM parent, moved GROUP BY parent.id, parent.object_type, parent.worker
ON CONFLICT (id) DO NOTHING`

// Split moves rows of an open attempt to a new one of their own, and renews the lease of both. ErrLeaseLost means that
// nothing was changed.
func (s *Store) Split(ctx context.Context, parent, child uuid.UUID, eventIDs []string, lease time.Duration) error {
	tag, err := s.pool.Exec(ctx, split, parent, child, eventIDs, lease)
	if err != nil {
		return fmt.Errorf("outbox: split: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	var open bool // by an earlier try whose answer was lost?
	err = s.pool.QueryRow(ctx, `SELECT coalesce((SELECT closed_at IS NULL FROM attempt WHERE id = $1), false)`, child).Scan(&open)
	if err != nil {
		return fmt.Errorf("outbox: split: %w", err)
	}
	if !open {
		return ErrLeaseLost
	}
	return nil
}
