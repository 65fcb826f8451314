package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const closeAttempt = `
UPDATE attempt SET state = 'settled', closed_at = now(), event_ids = NULL, inputs = $2::int + $3 + $4 + $5,
  created = $2, rejected = $3, not_applied = $4, unknown = $5, http_status = $6, correlation_id = $7, detail = $8
WHERE id = $1 AND closed_at IS NULL`

// Each statement after it is guarded by closeAttempt's having closed the attempt in this very transaction (now() is its
// start): rows that Expire made `unknown` still carry the attempt's id.
const closedHere = ` AND EXISTS (SELECT FROM attempt a WHERE a.id = $1 AND a.state = 'settled' AND a.closed_at = now())`

const settleCreated = `
UPDATE outbox o SET status = 'created', record_id = u.record_id, record_url = u.url, warnings = u.warnings, result = u.result,
  payload = CASE WHEN $7 THEN o.payload END, attempts = o.attempts + 1, next_attempt_at = NULL, error = NULL, updated_at = now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[]) AS u(event_id, record_id, url, warnings, result)
WHERE o.event_id = u.event_id AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')` + closedHere

const settleErrors = `
INSERT INTO outbox_error (event_id, attempt_id, category, message, raw)
SELECT u.event_id, $1, u.category, u.message, u.raw
FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) WITH ORDINALITY AS u(event_id, category, message, raw, n)
JOIN outbox o ON o.event_id = u.event_id AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')
WHERE true` + closedHere + ` ORDER BY u.n`

const settleOthers = `
UPDATE outbox o SET status = u.status, reason = u.reason, error = u.error,
  next_attempt_at = CASE WHEN u.status IN ('retry', 'unknown') THEN now() + u.wait END,
  dead_at = CASE WHEN u.status = 'dead' THEN now() END,
  attempts = o.attempts + u.counted::int, in_doubt = o.in_doubt OR u.in_doubt,
  misses = CASE WHEN u.missed THEN o.misses + 1 ELSE o.misses END,
  possible_duplicate = o.possible_duplicate OR u.duplicate, updated_at = now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::interval[], $7::bool[], $8::bool[], $9::bool[], $10::bool[])
  AS u(event_id, status, reason, error, wait, counted, in_doubt, missed, duplicate)
WHERE o.event_id = u.event_id AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')` + closedHere

// Settle commits what became of the rows of an attempt, and closes it. It must name every row that the attempt holds.
// ErrLeaseLost means that nothing was changed.
func (s *Store) Settle(ctx context.Context, attempt uuid.UUID, call Call, settlements []Settlement) error {
	var b pgx.Batch // one implicit transaction; the attempt is locked first
	b.Queue(closeAttempt, attempt, call.Created, call.Rejected, call.NotApplied, call.Unknown,
		call.Status, text(call.CorrelationID), text(call.Detail))
	queueSettlements(&b, attempt, settlements)
	r := s.pool.SendBatch(ctx, &b)
	tag, err := r.Exec()
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("outbox: outcome: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	var settled bool // by an earlier try of ours whose answer was lost?
	err = s.pool.QueryRow(ctx, `SELECT coalesce((SELECT state = 'settled' FROM attempt WHERE id = $1), false)`, attempt).Scan(&settled)
	if err != nil {
		return fmt.Errorf("outbox: outcome: %w", err)
	}
	if !settled {
		return ErrLeaseLost
	}
	return nil
}

func queueSettlements(b *pgx.Batch, attempt uuid.UUID, settlements []Settlement) {
	created := map[bool][]Settlement{} // by whether the payload is kept
	var others []Settlement
	var ids, categories, messages []string
	var raws [][]byte
	for _, st := range settlements {
		if st.Status == Created {
			created[st.Keep] = append(created[st.Keep], st)
			continue
		}
		others = append(others, st)
		for _, e := range st.Errors {
			ids, categories = append(ids, st.EventID), append(categories, text(e.Category))
			messages, raws = append(messages, text(e.Message)), append(raws, e.Raw)
		}
	}
	for keep, list := range created {
		eventIDs, recordIDs, results := make([]string, len(list)), make([]string, len(list)), make([][]byte, len(list))
		for i, st := range list {
			eventIDs[i], recordIDs[i], results[i] = st.EventID, text(st.RecordID), st.Result
		}
		b.Queue(settleCreated, attempt, eventIDs, recordIDs,
			texts(list, func(st Settlement) string { return st.URL }),
			texts(list, func(st Settlement) string { return string(st.Warnings) }), results, keep)
	}
	if len(ids) > 0 {
		b.Queue(settleErrors, attempt, ids, categories, messages, raws)
	}
	if n := len(others); n > 0 {
		eventIDs, statuses, waits := make([]string, n), make([]string, n), make([]time.Duration, n)
		counted, doubt, missed, dup := make([]bool, n), make([]bool, n), make([]bool, n), make([]bool, n)
		for i, st := range others {
			eventIDs[i], statuses[i], waits[i] = st.EventID, string(st.Status), st.Wait
			counted[i], doubt[i], missed[i], dup[i] = st.Counted, st.InDoubt, st.Missed, st.PossibleDuplicate
		}
		b.Queue(settleOthers, attempt, eventIDs, statuses,
			texts(others, func(st Settlement) string { return string(st.Reason) }),
			texts(others, func(st Settlement) string { return st.Error }), waits, counted, doubt, missed, dup)
	}
}
