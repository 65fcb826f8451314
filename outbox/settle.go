package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A closed attempt that still holds rows, because the settlements are more or fewer than they, breaks a constraint.
const closeAttempt = `
UPDATE attempt SET state = 'settled', closed_at = now(), event_ids = CASE WHEN cardinality(event_ids) <> $2 THEN event_ids END,
  created = $3, rejected = $4, not_applied = $5, unknown = $6, http_status = $7, correlation_id = $8, detail = $9
WHERE id = $1 AND state = 'open'`

// Each statement after it is guarded by closeAttempt's having closed the attempt in this very transaction (now() is its
// start): rows that Expire made `unknown` still carry the attempt's id.
const closedHere = ` AND EXISTS (SELECT FROM attempt a WHERE a.id = $1 AND a.state = 'settled' AND a.closed_at = now())`

const settleErrors = `
INSERT INTO outbox_error (event_id, attempt_id, category, message, property, rule, raw)
SELECT u.event_id, $1, u.category, u.message, nullif(u.property, ''), nullif(u.rule, ''), u.raw
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[]) WITH ORDINALITY
  AS u(event_id, category, message, property, rule, raw, n)
JOIN outbox o ON o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')
WHERE true` + closedHere + ` ORDER BY u.n`

// A read is no attempt to create: only a call that was under way, 'sending', counts.
const settleCreated = `
UPDATE outbox o SET status = 'created', record_id = u.record_id, record_url = u.url, warnings = u.warnings, result = u.result,
  payload = CASE WHEN u.keep THEN o.payload END, attempts = o.attempts + (o.status = 'sending')::int,
  next_attempt_at = NULL, misses = NULL, reason = NULL, error = NULL, in_doubt = o.in_doubt OR u.in_doubt,
  possible_duplicate = o.possible_duplicate OR u.duplicate, updated_at = now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bool[], $8::bool[], $9::bool[])
  AS u(event_id, record_id, url, warnings, result, keep, in_doubt, duplicate)
WHERE o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')` + closedHere

var settleOthers = `
UPDATE outbox o SET status = u.status, reason = u.reason, error = u.error,
  next_attempt_at = CASE WHEN u.status IN ('retry', 'unknown') THEN now() + u.wait END,
  dead_at = CASE WHEN u.status = 'dead' THEN now() END,
  fingerprint = CASE WHEN u.status = 'dead' THEN ` + fingerprint("o.object_type", "u.reason", "u.cause") + ` END,
  attempts = o.attempts + u.counted::int, in_doubt = o.in_doubt OR u.in_doubt,
  misses = CASE WHEN u.status = 'unknown' THEN coalesce(o.misses + u.missed::int, 0) END,
  possible_duplicate = o.possible_duplicate OR u.duplicate, updated_at = now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::interval[], $7::bool[], $8::bool[], $9::bool[], $10::bool[],
  $11::text[]) AS u(event_id, status, reason, error, wait, counted, in_doubt, missed, duplicate, cause)
WHERE o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')` + closedHere

// Settle commits what became of the rows of an attempt, and closes it. It must name every row that the attempt holds,
// once, and no other, and the call's counts must add up to the rows that the attempt began with; else, as with any other
// error, nothing is changed. ErrLeaseLost too means that nothing was changed.
func (s *Store) Settle(ctx context.Context, attempt uuid.UUID, call Call, settlements []Settlement) error {
	var b pgx.Batch // one implicit transaction; the attempt is locked first
	b.Queue(closeAttempt, attempt, len(settlements), call.Created, call.Rejected, call.NotApplied, call.Unknown,
		call.Status, text(call.CorrelationID), text(call.Detail))
	if err := queueSettlements(&b, attempt, settlements); err != nil {
		return fmt.Errorf("outbox: outcome: %w", err)
	}
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
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM attempt WHERE id = $1 AND state = 'settled')`, attempt).Scan(&settled)
	if err != nil {
		return fmt.Errorf("outbox: outcome: %w", err)
	}
	if !settled {
		return ErrLeaseLost
	}
	return nil
}

func queueSettlements(b *pgx.Batch, attempt uuid.UUID, settlements []Settlement) error {
	var created, others []Settlement
	var ids, categories, messages, properties, rules []string
	var raws [][]byte
	for _, st := range settlements {
		switch st.Status {
		case Created:
			if st.RecordID == "" {
				return fmt.Errorf("event %q, created, has no record id", st.EventID)
			}
			created = append(created, st)
		case Retry, Unknown, Dead:
			others = append(others, st)
		default:
			return fmt.Errorf("event %q can't be settled as %q", st.EventID, st.Status)
		}
		for _, e := range st.Errors {
			ids, categories = append(ids, st.EventID), append(categories, text(e.Category))
			messages, raws = append(messages, text(e.Message)), append(raws, e.Raw)
			properties, rules = append(properties, text(e.Property)), append(rules, text(e.Rule))
		}
	}
	if len(ids) > 0 {
		b.Queue(settleErrors, attempt, ids, categories, messages, properties, rules, raws)
	}
	if n := len(created); n > 0 {
		eventIDs, recordIDs, results := make([]string, n), make([]string, n), make([][]byte, n)
		keep, doubt, dup := make([]bool, n), make([]bool, n), make([]bool, n)
		for i := range created {
			st := &created[i]
			eventIDs[i], recordIDs[i], results[i] = st.EventID, text(st.RecordID), st.Result
			keep[i], doubt[i], dup[i] = st.Keep, st.InDoubt, st.PossibleDuplicate
		}
		b.Queue(settleCreated, attempt, eventIDs, recordIDs,
			texts(created, func(st *Settlement) string { return st.URL }),
			texts(created, func(st *Settlement) string { return string(st.Warnings) }), results, keep, doubt, dup)
	}
	if n := len(others); n > 0 {
		eventIDs, statuses, waits := make([]string, n), make([]string, n), make([]time.Duration, n)
		counted, doubt, missed, dup := make([]bool, n), make([]bool, n), make([]bool, n), make([]bool, n)
		for i := range others {
			st := &others[i]
			eventIDs[i], statuses[i], waits[i] = st.EventID, string(st.Status), st.Wait
			counted[i], doubt[i], missed[i], dup[i] = st.Counted, st.InDoubt, st.Missed, st.PossibleDuplicate
		}
		b.Queue(settleOthers, attempt, eventIDs, statuses,
			texts(others, func(st *Settlement) string { return string(st.Reason) }),
			texts(others, func(st *Settlement) string { return st.Error }), waits, counted, doubt, missed, dup,
			texts(others, func(st *Settlement) string {
				if st.Status != Dead {
					return ""
				}
				return causeOf(st.Errors, st.Error)
			}))
	}
	return nil
}
