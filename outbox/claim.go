package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Schedule is what is due, by the time of its next attempt.
type Schedule struct{ pool *Pool }

// Due is an object type that has rows to work on now.
type Due struct {
	ObjectType     string
	Retry, Unknown bool
}

// dueTypes begins a statement with the object types that have `retry` or `unknown` rows: a loose index scan, one step
// per object type, however many rows there are. A last row of each is null.
const dueTypes = `
WITH RECURSIVE retry AS (
  (SELECT object_type FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NULL ORDER BY object_type LIMIT 1)
  UNION ALL
  SELECT (SELECT o.object_type FROM event o WHERE o.next_attempt_at IS NOT NULL AND o.misses IS NULL
          AND o.object_type > t.object_type ORDER BY o.object_type LIMIT 1)
  FROM retry t WHERE t.object_type IS NOT NULL),
unknown AS (
  (SELECT object_type FROM event WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL ORDER BY object_type LIMIT 1)
  UNION ALL
  SELECT (SELECT o.object_type FROM event o WHERE o.next_attempt_at IS NOT NULL AND o.misses IS NOT NULL
          AND o.object_type > t.object_type ORDER BY o.object_type LIMIT 1)
  FROM unknown t WHERE t.object_type IS NOT NULL)`

// One look at the earliest row of each.
const selectDue = dueTypes + `,
due AS (
  SELECT object_type, true AS retry FROM retry t WHERE now() >= (SELECT o.next_attempt_at FROM event o
    WHERE o.object_type = t.object_type AND o.next_attempt_at IS NOT NULL AND o.misses IS NULL ORDER BY o.next_attempt_at LIMIT 1)
  UNION ALL
  SELECT object_type, false FROM unknown t WHERE now() >= (SELECT o.next_attempt_at FROM event o
    WHERE o.object_type = t.object_type AND o.next_attempt_at IS NOT NULL AND o.misses IS NOT NULL ORDER BY o.next_attempt_at LIMIT 1))
SELECT object_type, bool_or(retry), bool_or(NOT retry) FROM due GROUP BY object_type ORDER BY object_type`

// Due lists the object types that have `retry` or `unknown` rows whose time has come, sorted. It costs some index
// look-ups per object type, however many rows there are, and is meant to be asked about once a second: it does not tell
// when the next row will be due, for any worker may add an earlier one.
func (s *Schedule) Due(ctx context.Context) ([]Due, error) {
	rows, err := s.pool.Query(ctx, selectDue)
	if err != nil {
		return nil, fmt.Errorf("outbox: due: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Due])
	if err != nil {
		return nil, fmt.Errorf("outbox: due: %w", err)
	}
	return due, nil
}

// A claim that is repeated waits until an earlier try of it, which the server may still be at, is over.
const awaitClaim = `SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 0))`

const claimedColumns = `o.event_id, o.payload, o.content_hash, o.stream, o.stream_seq, o.attempts - coalesce(o.attempts_before, 0), o.in_doubt,
    coalesce(o.misses, 0), coalesce(o.id_property, ''), coalesce(o.id_value, ''), coalesce(o.untold, 0), coalesce(o.reason, ''),
    now() - o.received_at, now() - coalesce(o.replayed_at, o.received_at)`

// What an earlier try of the same claim got, if its answer was lost.
const claimedBefore = `
WITH claimed AS MATERIALIZED (
  SELECT ` + claimedColumns + `
  FROM attempt a JOIN event o ON o.event_id = ANY(a.event_ids) AND o.attempt_id = a.id
  WHERE a.id = $1 AND a.state = 'open')
SELECT * FROM claimed ORDER BY event_id`

// A claimed row is under its attempt alone, and not due until that is closed. What is written for each status: whether
// misses is null (see the indexes), what the row becomes, and the attempt's kind. Rows that are asked about go together
// only if they are asked about by the same property; one of which a question told nothing goes alone.
const claim = `
WITH due AS (
  SELECT event_id, octet_length(payload) AS bytes, next_attempt_at, id_property, untold FROM event
  WHERE object_type = $2 AND status = '%[1]s' AND misses %[2]s AND next_attempt_at <= now()
    AND NOT EXISTS (SELECT FROM attempt WHERE id = $1)
  ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED),
fitting AS (
  SELECT event_id FROM (
    SELECT event_id, sum(bytes) OVER w AS total, row_number() OVER w AS n, %[5]s AS together FROM due
    WINDOW w AS (ORDER BY next_attempt_at, event_id)) d
  WHERE n = 1 OR total <= $4 AND together),
claimed AS (
  UPDATE event o SET %[3]s, attempt_id = $1, next_attempt_at = NULL, updated_at = now()
  FROM fitting f WHERE o.event_id = ANY (ARRAY[f.event_id])
  RETURNING ` + claimedColumns + `),
opened AS (
  INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs, id_property)
  SELECT $1, '%[4]s', $2, $5, now() + $6::interval, array_agg(event_id ORDER BY event_id), count(*), nullif($7, '')
  FROM claimed HAVING count(*) > 0)
SELECT * FROM claimed ORDER BY event_id`

var (
	claimRetry   = fmt.Sprintf(claim, "retry", "IS NULL", "status = 'sending'", "create", "true")
	claimUnknown = fmt.Sprintf(claim, "unknown", "IS NOT NULL", "misses = o.misses", "read",
		"coalesce(untold, first_value(untold) OVER w) IS NULL AND id_property IS NOT DISTINCT FROM first_value(id_property) OVER w")
)

// Claim takes up to limit rows (and about maxBytes of payload, but at least one row) of an object type that are due in
// this status under the attempt a, the longest due first. They are returned in the order of event ids. Claimed Retry
// rows become `sending`, for a create call; claimed Unknown rows stay so, for a read, and are asked about by the same
// property. No rows means that nothing is due any more; then there is no attempt either.
func (s *Schedule) Claim(ctx context.Context, a Attempt, status Status, limit, maxBytes int) ([]Row, error) {
	var sql string
	switch status {
	case Retry:
		sql = claimRetry
	case Unknown:
		sql = claimUnknown
	default:
		return nil, fmt.Errorf("outbox: claim: rows in status %q are not claimed", status)
	}
	var b pgx.Batch // one transaction, one round trip
	b.Queue(awaitClaim, a.ID)
	b.Queue(claimedBefore, a.ID)
	b.Queue(sql, a.ID, a.ObjectType, limit, maxBytes, a.Worker, a.Lease, a.IDProperty)
	r := s.pool.SendBatch(ctx, &b)
	_, err := r.Exec()
	var before, now []Row
	if err == nil {
		before, err = claimedRows(r, a.ObjectType)
	}
	if err == nil {
		now, err = claimedRows(r, a.ObjectType)
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: claim: %w", err)
	}
	return append(before, now...), nil // one of them is empty
}

func claimedRows(r pgx.BatchResults, objectType string) ([]Row, error) {
	rows, err := r.Query()
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (Row, error) {
		row := Row{Event: Event{ObjectType: objectType}}
		var hash []byte
		var seq int64
		err := r.Scan(&row.ID, &row.Payload, &hash, &row.Stream, &seq, &row.Attempts, &row.InDoubt, &row.Misses,
			&row.IDProperty, &row.IDValue, &row.Untold, &row.Pending, &row.Since, &row.Age)
		copy(row.ContentHash[:], hash)
		row.StreamSeq = uint64(seq)
		return row, err
	})
}

var park = `
WITH due AS (
  SELECT event_id, $2 AND attempts - coalesce(attempts_before, 0) < $4 AND now() - coalesce(replayed_at, received_at) < $5::interval AS again FROM event
  WHERE object_type = $1 AND status = 'unknown' AND misses IS NOT NULL AND next_attempt_at <= now() AND id_property IS NULL
  ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED),
ended AS (
  UPDATE event o SET misses = NULL, untold = NULL, updated_at = now(),
    status = CASE WHEN due.again THEN 'retry' ELSE 'dead' END,
    next_attempt_at = CASE WHEN due.again THEN now()
      + random() * coalesce(($6::interval[])[least(o.attempts - coalesce(o.attempts_before, 0) + 1, cardinality($6))], '0') END,
    possible_duplicate = o.possible_duplicate OR due.again,
    reason = CASE WHEN NOT due.again THEN 'unknown_outcome' END,
    error = coalesce(o.error, 'the call may or may not have created the record'),
    dead_at = CASE WHEN NOT due.again THEN now() END,
    fingerprint = CASE WHEN NOT due.again THEN ` + fingerprint("o.object_type", "'unknown_outcome'", "''") + ` END
  FROM due WHERE o.event_id = ANY (ARRAY[due.event_id])
  RETURNING due.again)
SELECT count(*) FILTER (WHERE NOT again), count(*) FILTER (WHERE again) FROM ended`

// Resend says when a row in doubt is sent again, at the risk of a duplicate.
type Resend struct {
	Attempts int             // only with fewer attempts than these
	Age      time.Duration   // only if it is younger
	Waits    []time.Duration // with n attempts, after a random time of up to Waits[n], or the last of them; none: at once
}

// Park ends the doubt of up to limit due `unknown` rows of an object type that can be asked about by nothing, and
// returns how many of them are dead now, for a person to decide, and how many are to be sent again, as possible
// duplicates. With resend nil, none are.
func (s *Schedule) Park(ctx context.Context, objectType string, resend *Resend, limit int) (dead, again int, err error) {
	var r Resend
	if resend != nil {
		r = *resend
	}
	err = s.pool.QueryRow(ctx, park, objectType, resend != nil, limit, r.Attempts, r.Age, r.Waits).Scan(&dead, &again)
	if err != nil {
		return 0, 0, fmt.Errorf("outbox: park: %w", err)
	}
	return dead, again, nil
}
