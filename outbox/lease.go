package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrLeaseLost says that an attempt was closed by somebody else because its lease had run out: its rows are theirs now.
var ErrLeaseLost = errors.New("outbox: the attempt's lease ran out and its rows were taken over")

// Rows of a create call become `unknown`; those of a read are so already, and come due again without having paid for
// it.
const expireAttempts = `
WITH lost AS (
  SELECT id, event_ids, payloads, id_property FROM attempt WHERE closed_at IS NULL AND lease_until < now() - $3::interval
    AND pg_postmaster_start_time() + $2::interval <= now()
  ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED),
doubtful AS (
  UPDATE event o SET status = 'unknown', nth = NULL, payload = coalesce(o.payload, u.payload), next_attempt_at = now(), in_doubt = true, misses = 0,
    attempts = o.attempts + 1, id_property = lost.id_property,
    id_value = CASE WHEN o.id_property = lost.id_property THEN o.id_value END,
    error = 'the worker did not report: the call may or may not have been made', updated_at = now()
  FROM lost, unnest(lost.event_ids, lost.payloads) AS u(event_id, payload)
  WHERE o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = lost.id AND coalesce(o.status, 'sending') = 'sending'
  RETURNING o.event_id, o.attempt_id, o.error),
unread AS (
  UPDATE event o SET next_attempt_at = now(), updated_at = now()
  FROM lost WHERE o.event_id = ANY(lost.event_ids) AND o.attempt_id = lost.id AND o.status = 'unknown'),
told AS (
  INSERT INTO outbox_error (event_id, attempt_id, category, message) SELECT event_id, attempt_id, 'LEASE_EXPIRED', error FROM doubtful)
UPDATE attempt a SET state = 'expired', closed_at = now(), event_ids = NULL, payloads = NULL, followed = ` + ifFollowed + ` lost.event_ids END
FROM lost WHERE a.id = ANY (ARRAY[lost.id])
RETURNING a.id, a.kind = 'read', a.worker, a.object_type, cardinality(lost.event_ids)`

// Leases are how long attempts may stay open without a word of their workers.
type Leases struct{ pool *Pool }

// Expired is an attempt whose lease had run out.
type Expired struct {
	ID         uuid.UUID
	Read       bool // it was a read; else a create call
	Worker     string
	ObjectType string
	Rows       int // how many it still held
}

// Expire closes attempts (up to limit) whose lease ran out so long ago, and makes their rows `unknown`, due at once.
// For the time of grace after the database was started it does nothing: workers that are alive commit first what they
// could not meanwhile.
func (s *Leases) Expire(ctx context.Context, limit int, ago, grace time.Duration) ([]Expired, error) {
	rows, err := s.pool.Query(ctx, expireAttempts, limit, grace, ago)
	if err != nil {
		return nil, fmt.Errorf("outbox: expire: %w", err)
	}
	lost, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Expired])
	if err != nil {
		return nil, fmt.Errorf("outbox: expire: %w", err)
	}
	return lost, nil
}

// Renew starts an attempt's lease anew, or returns ErrLeaseLost.
func (s *Leases) Renew(ctx context.Context, a Attempt) error {
	open, err := s.RenewAll(ctx, []uuid.UUID{a.ID}, a.Lease)
	if err == nil && len(open) == 0 {
		err = ErrLeaseLost
	}
	return err
}

const renew = `UPDATE attempt SET lease_until = now() + $2::interval WHERE id = ANY($1::uuid[]) AND state = 'open' RETURNING id`

// RenewAll starts the leases of attempts anew, and returns those that are still open.
func (s *Leases) RenewAll(ctx context.Context, ids []uuid.UUID, lease time.Duration) (open []uuid.UUID, err error) {
	rows, err := s.pool.Query(ctx, renew, ids, lease)
	if err != nil {
		return nil, fmt.Errorf("outbox: renew: %w", err)
	}
	if open, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
		return nil, fmt.Errorf("outbox: renew: %w", err)
	}
	return open, nil
}

// Rows that are to go ways of their own are expanded, all of the attempt's at once.
const expand = `
WITH compact AS (
  SELECT id, event_ids, payloads FROM attempt WHERE id = $1 AND state = 'open' AND payloads IS NOT NULL AND event_ids && $2::text[] FOR UPDATE),
expanded AS (
  UPDATE event o SET status = 'sending', payload = u.payload, nth = NULL
  FROM compact, unnest(compact.event_ids, compact.payloads) AS u(event_id, payload)
  WHERE o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = compact.id AND o.status IS NULL)
UPDATE attempt a SET payloads = NULL FROM compact WHERE a.id = ANY (ARRAY[compact.id])`

const split = `
WITH parent AS (
  SELECT id, object_type, worker, id_property FROM attempt WHERE id = $1 AND state = 'open' FOR UPDATE),
moved AS (
  UPDATE event o SET attempt_id = $2, updated_at = now() FROM parent
  WHERE o.event_id = ANY($3::text[]) AND o.attempt_id = parent.id AND o.status = 'sending' RETURNING o.event_id),
rest AS (
  UPDATE attempt a SET lease_until = now() + $4::interval,
    event_ids = ARRAY(SELECT id FROM unnest(a.event_ids) AS held(id) WHERE id NOT IN (SELECT event_id FROM moved))
  FROM parent WHERE a.id = ANY (ARRAY[parent.id]) AND EXISTS (SELECT FROM moved))
INSERT INTO attempt (id, parent_id, kind, object_type, worker, lease_until, event_ids, inputs, id_property)
SELECT $2, parent.id, 'create', parent.object_type, parent.worker, now() + $4::interval, array_agg(moved.event_id ORDER BY moved.event_id), count(*),
  parent.id_property
FROM parent, moved GROUP BY parent.id, parent.object_type, parent.worker, parent.id_property`

// Split moves `sending` rows of an open attempt to a new one of their own, for a call of their own, and starts the
// lease of both anew. A child may be split in turn. A parent without rows is closed by Settle, with no settlements.
// ErrLeaseLost means that nothing was changed.
func (s *Batches) Split(ctx context.Context, parent, child uuid.UUID, eventIDs []string, lease time.Duration) error {
	var b pgx.Batch // one transaction, one round trip
	b.Queue(expand, parent, eventIDs)
	b.Queue(split, parent, child, eventIDs, lease)
	r := s.pool.SendBatch(ctx, &b)
	_, err := r.Exec()
	var tag pgconn.CommandTag
	if err == nil {
		tag, err = r.Exec()
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("outbox: split: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	var open bool // by an earlier try whose answer was lost?
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM attempt WHERE id = $1 AND parent_id = $2 AND state = 'open')`,
		child, parent).Scan(&open)
	if err != nil {
		return fmt.Errorf("outbox: split: %w", err)
	}
	if !open {
		return ErrLeaseLost
	}
	return nil
}

// It writes, though nothing: so no standby answers, which may not have all rows yet, neither by itself nor through a
// pooler that spreads reads.
const outstanding = `
WITH primary_only AS (DELETE FROM worker WHERE false RETURNING 1)
SELECT EXISTS (SELECT FROM attempt WHERE closed_at IS NULL)
  OR EXISTS (SELECT FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NULL)
  OR EXISTS (SELECT FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL)
  OR EXISTS (SELECT FROM replay_job WHERE state = 'running')`

// Outstanding tells whether anything is left to do: open attempts, rows in `retry` or `unknown`, or a running replay
// job. A standby is not believed: that is an error.
func (s *Schedule) Outstanding(ctx context.Context) (left bool, err error) {
	err = s.pool.QueryRow(ctx, outstanding).Scan(&left)
	if err != nil {
		return false, fmt.Errorf("outbox: outstanding: %w", err)
	}
	return left, nil
}
