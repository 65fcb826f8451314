package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Records is whose a record of the CRM is, or may be.
type Records struct{ pool *Pool }

// Asked is a row in doubt that is asked about by a value which other events may have, too.
type Asked struct {
	EventID, Value string
	RecordID       string // the record that has it, if that is known
}

// Rival is another event that may have made the record with a value.
type Rival struct {
	EventID string
	Value   string // by which it is asked about, of the values and record ids that were asked for
	Payload []byte
	Calling bool // it is in a call right now: what comes of that is not known yet
}

// Those in doubt have told their values, where these are not their ids, or the record that they may have made; of those
// that are in a call for the first time, or once more, only the bytes tell, which may have a value's characters
// escaped.
const rivals = `
WITH asked AS MATERIALIZED (
  SELECT event_id, value, convert_to(value, 'UTF8') AS bytes, value ~ '[^A-Za-z0-9_.:@ -]' AS escaped
  FROM unnest($3::text[], $4::text[]) AS a(event_id, value)),
told AS (
  UPDATE event o SET id_value = a.value FROM asked a WHERE o.event_id = ANY (ARRAY[a.event_id]) AND o.id_value IS NULL),
open AS MATERIALIZED (
  SELECT u.event_id, u.payload FROM attempt a, unnest(a.event_ids, a.payloads) AS u(event_id, payload)
  WHERE a.closed_at IS NULL AND a.kind = 'create' AND a.object_type = $1 AND a.payloads IS NOT NULL
  UNION ALL
  SELECT e.event_id, e.payload FROM attempt a, unnest(a.event_ids) AS u(event_id) JOIN event e ON e.event_id = ANY (ARRAY[u.event_id])
  WHERE a.closed_at IS NULL AND a.kind = 'create' AND a.object_type = $1 AND a.payloads IS NULL)
SELECT e.event_id, e.id_value, e.payload, false FROM event e
WHERE e.object_type = $1 AND e.id_value = ANY($4::text[] || $6::text[]) AND e.event_id <> ALL($3::text[]) AND e.in_doubt
  AND (e.id_property = $2 AND (e.status IN ('retry', 'unknown') OR e.status = 'dead' AND e.reason = 'unknown_outcome')
    OR e.id_property = '` + ByRecordID + `' AND e.status IN ('retry', 'unknown'))
UNION ALL
SELECT e.event_id, e.event_id, e.payload, false FROM event e
WHERE e.event_id = ANY($4::text[]) AND e.event_id <> ALL($3::text[]) AND e.object_type = $1 AND e.in_doubt AND e.id_value IS NULL
  AND e.id_property = $2 AND (e.status IN ('retry', 'unknown') OR e.status = 'dead' AND e.reason = 'unknown_outcome')
UNION ALL
SELECT DISTINCT o.event_id, a.value, o.payload, true FROM open o, asked a
WHERE o.event_id <> ALL($3::text[]) AND (position(a.bytes in o.payload) > 0
  OR a.escaped AND position('\x5c'::bytea in o.payload) > 0)
LIMIT $5`

// maxRivals bounds what one look brings.
const maxRivals = 1000

// Rivals keeps by which values rows in doubt are asked about, and lists the other events of the object type that may
// have made a record with one of them: those in doubt themselves, and those whose call is under way and whose bytes
// may hold the value somewhere. Whose record exists already, Claimed tells.
func (s *Records) Rivals(ctx context.Context, objectType, idProperty string, asked []Asked) ([]Rival, error) {
	ids, values, records := make([]string, len(asked)), make([]string, len(asked)), []string{}
	for i, a := range asked {
		ids[i], values[i] = a.EventID, text(a.Value)
		if a.RecordID != "" {
			records = append(records, a.RecordID)
		}
	}
	rows, err := s.pool.Query(ctx, rivals, objectType, idProperty, ids, values, maxRivals, records)
	if err != nil {
		return nil, fmt.Errorf("outbox: rivals: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Rival])
	if err != nil {
		return nil, fmt.Errorf("outbox: rivals: %w", err)
	}
	return list, nil
}

// Contested tells which of these event ids another event in doubt of the object type is asked about by.
func (s *Records) Contested(ctx context.Context, objectType string, eventIDs []string) (map[string]bool, error) {
	rows, err := s.pool.Query(ctx, `
SELECT DISTINCT id_value FROM event WHERE object_type = $1 AND id_value = ANY($2::text[]) AND event_id <> id_value AND in_doubt
  AND (status IN ('retry', 'unknown') OR status = 'dead' AND reason = 'unknown_outcome')`, objectType, eventIDs)
	if err != nil {
		return nil, fmt.Errorf("outbox: contested: %w", err)
	}
	contested := map[string]bool{}
	var id string
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error {
		contested[id] = true
		return nil
	}); err != nil {
		return nil, fmt.Errorf("outbox: contested: %w", err)
	}
	return contested, nil
}

// Claim is a record that an event would have, and between which times the call may have been named (NewAttemptID) that
// made it for another; zero times are any.
type Claim struct {
	RecordID string
	From, To time.Time
}

// Compact rows are found by the time of their call, for attempts are named by the time. IN stands where it can't be
// made a join: so its list is hashed, and a record costs one look-up whatever the planner believes.
const claimed = `
WITH named AS MATERIALIZED (
  SELECT a.id, k.record_id, k.event_id FROM unnest($3::uuid[], $4::uuid[]) AS r(first, last), attempt a,
    unnest(a.record_ids, a.compact_ids) AS k(record_id, event_id)
  WHERE a.id BETWEEN r.first AND r.last AND a.object_type = $1 AND coalesce(k.record_id IN (SELECT unnest($2::text[])), false))
SELECT record_id, event_id FROM event WHERE object_type = $1 AND record_id = ANY($2::text[])
UNION ALL
SELECT n.record_id, n.event_id FROM named n
WHERE EXISTS (SELECT FROM event e WHERE e.event_id = ANY (ARRAY[n.event_id]) AND e.status IS NULL AND e.attempt_id = n.id)`

// Claimed tells which of the records are an event's already: event ids by record ids. It reads all attempts of the
// claims' times: it is for what is adopted or was in doubt, and not for each call.
func (s *Records) Claimed(ctx context.Context, objectType string, claims []Claim) (eventIDs map[string]string, err error) {
	ids := make([]string, len(claims))
	for i, c := range claims {
		ids[i] = c.RecordID
	}
	from, to := spans(claims)
	rows, err := s.pool.Query(ctx, claimed, objectType, ids, from, to)
	if err != nil {
		return nil, fmt.Errorf("outbox: claimed: %w", err)
	}
	eventIDs = map[string]string{}
	var record, event string
	if _, err := pgx.ForEachRow(rows, []any{&record, &event}, func() error {
		eventIDs[record] = event
		return nil
	}); err != nil {
		return nil, fmt.Errorf("outbox: claimed: %w", err)
	}
	return eventIDs, nil
}

// spans are the times of claims as ranges of attempt ids that do not overlap.
func spans(claims []Claim) (from, to []uuid.UUID) {
	claims = slices.SortedFunc(slices.Values(claims), func(a, b Claim) int { return a.From.Compare(b.From) })
	var last time.Time
	for _, c := range claims {
		switch {
		case c.From.IsZero():
			return []uuid.UUID{uuid.Nil}, []uuid.UUID{uuid.Max}
		case len(from) > 0 && !c.From.After(last):
			if c.To.After(last) {
				last, to[len(to)-1] = c.To, attemptIDAt(c.To, 0xff)
			}
		default:
			last = c.To
			from, to = append(from, attemptIDAt(c.From, 0)), append(to, attemptIDAt(c.To, 0xff))
		}
	}
	return from, to
}

// attemptIDAt is the first or the last id that NewAttemptID could make in a millisecond, by what fills the rest.
func attemptIDAt(at time.Time, rest byte) (id uuid.UUID) {
	for i := range id {
		id[i] = rest
	}
	ms := max(at.UnixMilli(), 0)
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	return id
}
