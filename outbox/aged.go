package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// tooOld is what a row says that became too old in a pause, before what its last call said.
const tooOld = "became too old while calls were paused"

// agedLook is how many rows of each object type and status EndAged looks at. What is behind them is looked at when they
// are gone, which they are when they are so old themselves.
const agedLook = 10_000

// UndecidedReason is, in SQL, what a `retry` or `unknown` row of event AS o is dead for when it ends without an answer:
// that it has no record is said only where no call of its past may have made one.
const UndecidedReason = `CASE WHEN o.misses IS NULL AND NOT o.in_doubt THEN 'exhausted' ELSE 'unknown_outcome' END`

// deadUndecided ends a statement that has chosen and locked `retry` and `unknown` rows which are due or wait: they are
// dead, for what words says (a parameter), and keep what was said before; cause is what their fingerprint is of.
// Nothing of it came from a call, so the error names none.
func deadUndecided(words, cause string) string {
	return fmt.Sprintf(`
gone AS (
  UPDATE event o SET status = 'dead', reason = %[1]s, misses = NULL, untold = NULL, next_attempt_at = NULL, dead_at = now(),
    error = CASE WHEN o.error = %[2]s OR starts_with(o.error, %[2]s || '; before that: ') THEN o.error
      ELSE concat_ws('; before that: ', %[2]s, nullif(o.error, '')) END,
    fingerprint = %[4]s, updated_at = now()
  FROM chosen WHERE o.event_id = ANY (ARRAY[chosen.event_id])
  RETURNING o.event_id, o.object_type, o.reason),
told AS (
  INSERT INTO outbox_error (event_id, message) SELECT event_id, %[2]s FROM gone)
`, UndecidedReason, words, cause, fingerprint("o.object_type", UndecidedReason, cause))
}

// An object type's pause is about creating: what is in doubt is asked about all the same. So there an `unknown` row is
// too old only when it was asked about and nothing was learnt; what is still to be asked is, and what was not found the
// first time is asked about again.
var endAged = dueTypes + `,
looked AS (
  SELECT o.event_id FROM retry t, LATERAL (
    SELECT event_id, coalesce(replayed_at, received_at) AS since FROM event
    WHERE object_type = t.object_type AND next_attempt_at IS NOT NULL AND misses IS NULL
    ORDER BY next_attempt_at LIMIT $2) o
  WHERE o.since <= now() - $1::interval AND EXISTS (
    SELECT FROM pause p WHERE p.object_type = ANY (ARRAY[t.object_type COLLATE "default", '*']))
  UNION ALL
  SELECT o.event_id FROM unknown t, LATERAL (
    SELECT event_id, coalesce(replayed_at, received_at) AS since, attempt_id FROM event
    WHERE object_type = t.object_type AND next_attempt_at IS NOT NULL AND misses IS NOT NULL
    ORDER BY next_attempt_at LIMIT $2) o
  WHERE o.since <= now() - $1::interval AND (EXISTS (SELECT FROM pause WHERE object_type = '*')
    OR EXISTS (SELECT FROM pause p WHERE p.object_type = ANY (ARRAY[t.object_type COLLATE "default"])) AND NOT EXISTS (
      SELECT FROM attempt a
      WHERE a.id = ANY (ARRAY[o.attempt_id]) AND (a.kind = 'create' OR a.success)))),
chosen AS (
  SELECT o.event_id FROM looked l JOIN event o ON o.event_id = ANY (ARRAY[l.event_id])
  WHERE o.next_attempt_at IS NOT NULL AND coalesce(o.replayed_at, o.received_at) <= now() - $1::interval
  LIMIT $3 FOR UPDATE OF o SKIP LOCKED),` + deadUndecided("$4::text", "$5::text") + `
SELECT object_type, reason, count(*) FROM gone GROUP BY object_type, reason ORDER BY object_type, reason`

// Aged is how many rows of an object type became too old.
type Aged struct {
	ObjectType string
	Reason     Reason // what they are dead for now
	Rows       int
}

// EndAged makes dead letters of up to limit rows that have waited in `retry` or `unknown` until they were this old,
// though their object type, or the Account, is paused and so nothing is called: `exhausted`, or `unknown_outcome` where
// a record may exist. Age counts as anywhere, from a row's last replay or else its arrival. What is in a call, or
// locked, is left alone. It costs some index look-ups per object type while nothing is paused, and looks at some 10,000
// rows of each object type that is. There may be more when it has ended as many as limit.
func (s *Schedule) EndAged(ctx context.Context, age time.Duration, limit int) ([]Aged, error) {
	rows, err := s.pool.Query(ctx, endAged, age, agedLook, limit, tooOld, causeOf(nil, tooOld))
	if err != nil {
		return nil, fmt.Errorf("outbox: aged: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Aged])
	if err != nil {
		return nil, fmt.Errorf("outbox: aged: %w", err)
	}
	return list, nil
}

var giveUp = `
WITH chosen AS (
  SELECT o.event_id FROM unnest($1::text[]) AS u(event_id) JOIN event o ON o.event_id = ANY (ARRAY[u.event_id])
  WHERE o.next_attempt_at IS NOT NULL FOR UPDATE OF o SKIP LOCKED),` + deadUndecided("$2::text", "$3::text") + `
SELECT event_id FROM gone`

// GiveUp makes dead letters of `retry` and `unknown` rows, as part of a transaction, for what words say: `exhausted`,
// or `unknown_outcome` where a record may exist. It returns the ids of those that it did so with, sorted: what is in a
// call, or in another status, is left alone.
func GiveUp(ctx context.Context, tx pgx.Tx, eventIDs []string, words string) (ended []string, err error) {
	words = text(words)
	rows, err := tx.Query(ctx, giveUp, eventIDs, words, causeOf(nil, words))
	if err == nil {
		ended, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: give up: %w", err)
	}
	slices.Sort(ended)
	return ended, nil
}
