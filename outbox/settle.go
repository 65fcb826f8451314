package outbox

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// closeAttempts closes attempts and settles those of their created rows that have nothing but a record id and a url, which is
// nearly all rows. Rows are touched only if their attempt was closed right here: those that Expire made `unknown` still carry its
// id. It returns the attempts that it closed.
//
// The bare rows of an attempt are settled by what is written to the attempt itself; those of them that have no record id here
// are made whole, for the statements that follow. Their payloads come from the attempt as it was when the statement began: it may
// have waited for a Renew since, which leaves them alone. Unfold does not; rows that it made whole meanwhile still look bare then, and
// are settled as the whole ones that they are.
//
// A closed attempt that still holds rows, because the settlements are not of just these, in the order of their ids, breaks a
// constraint. A read is no attempt to create: only a call that was under way, 'sending', counts.
const closeAttempts = `
WITH closed AS (
  UPDATE attempt a SET state = 'settled', closed_at = now(),
    event_ids = CASE WHEN a.event_ids <> ($11::text[])[c.first:c.last] THEN a.event_ids END, payloads = NULL,
    bare = CASE WHEN a.payloads IS NOT NULL THEN a.event_ids END,
    record_ids = CASE WHEN a.payloads IS NOT NULL THEN ($12::text[])[c.first:c.last] END,
    record_urls = CASE WHEN a.payloads IS NOT NULL AND array_remove(($13::text[])[c.first:c.last], NULL) <> '{}' THEN ($13::text[])[c.first:c.last] END,
    followed = ` + ifFollowed + ` a.event_ids END, created = c.created, rejected = c.rejected,
    not_applied = c.not_applied, unknown = c.unknown, http_status = c.status, correlation_id = c.correlation, detail = c.detail
  FROM unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int[], $9::text[], $10::text[])
    AS c(id, first, last, created, rejected, not_applied, unknown, status, correlation, detail)
  WHERE a.id = ANY (ARRAY[c.id]) AND a.state = 'open'
  RETURNING a.id, c.first, c.last, a.bare IS NOT NULL AS bare, array_position(a.record_ids, NULL) IS NOT NULL AS partly),
whole AS (
  UPDATE event o SET status = 'sending', payload = u.payload, nth = NULL
  FROM closed c JOIN attempt a ON a.id = ANY (ARRAY[c.id]),
    unnest(($11::text[])[c.first:c.last], ($12::text[])[c.first:c.last], a.payloads) AS u(event_id, record_id, payload)
  WHERE c.partly AND u.record_id IS NULL AND o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = c.id AND o.status IS NULL),
created AS (
  UPDATE event o SET status = 'created', record_id = u.record_id, record_url = u.url, payload = NULL, nth = NULL,
    attempts = o.attempts + (coalesce(o.status, 'sending') = 'sending')::int, next_attempt_at = NULL, misses = NULL, reason = NULL, error = NULL,
    updated_at = now()
  FROM closed c, unnest(($11::text[])[c.first:c.last], ($12::text[])[c.first:c.last], ($13::text[])[c.first:c.last]) AS u(event_id, record_id, url)
  WHERE NOT c.bare AND u.record_id IS NOT NULL AND o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = c.id
    AND coalesce(o.status, 'sending') IN ('sending', 'unknown'))
SELECT id FROM closed`

// Each statement after it is guarded by the attempt's having been closed in this very transaction (now() is its start).
const closedHere = ` AND EXISTS (SELECT FROM attempt a WHERE a.id = $1 AND a.state = 'settled' AND a.closed_at = now())`

const settleErrors = `
INSERT INTO outbox_error (event_id, attempt_id, category, message, property, rule, raw)
SELECT u.event_id, $1, u.category, u.message, nullif(u.property, ''), nullif(u.rule, ''), u.raw
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[]) WITH ORDINALITY
  AS u(event_id, category, message, property, rule, raw, n)
JOIN event o ON o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown', 'created')
WHERE true` + closedHere + ` ORDER BY u.n`

// settleCreated is for created rows that have more than that.
const settleCreated = `
UPDATE event o SET status = 'created', record_id = u.record_id, record_url = u.url, warnings = u.warnings, result = u.result,
  payload = CASE WHEN u.keep THEN o.payload END, attempts = o.attempts + (o.status = 'sending')::int,
  next_attempt_at = NULL, misses = NULL, reason = NULL, error = NULL, in_doubt = o.in_doubt OR u.in_doubt,
  possible_duplicate = o.possible_duplicate OR u.duplicate, updated_at = now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bool[], $8::bool[], $9::bool[])
  AS u(event_id, record_id, url, warnings, result, keep, in_doubt, duplicate)
WHERE o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')` + closedHere

var settleOthers = `
UPDATE event o SET status = u.status, reason = u.reason, error = u.error,
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
	for i := range settlements {
		switch st := &settlements[i]; st.Status {
		case Created:
			if st.RecordID == "" {
				return fmt.Errorf("outbox: outcome: event %q, created, has no record id", st.EventID)
			}
		case Retry, Unknown, Dead:
		default:
			return fmt.Errorf("outbox: outcome: event %q can't be settled as %q", st.EventID, st.Status)
		}
	}
	byID := func(a, b Settlement) int { return cmp.Compare(a.EventID, b.EventID) }
	if !slices.IsSortedFunc(settlements, byID) { // as the attempt holds them
		settlements = slices.SortedFunc(slices.Values(settlements), byID)
	}
	out := &outcome{attempt: attempt, call: call, settlements: settlements}
	err := s.outcomes.do(ctx, out)
	if err == nil && !out.closed {
		// Was it settled by an earlier try of ours whose answer was lost?
		err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM attempt WHERE id = $1 AND state = 'settled')`, attempt).Scan(&out.closed)
		if err == nil && !out.closed {
			return ErrLeaseLost
		}
	}
	if err != nil {
		return fmt.Errorf("outbox: outcome: %w", err)
	}
	return nil
}

// outcome is a call of Settle.
type outcome struct {
	attempt     uuid.UUID
	call        Call
	settlements []Settlement
	closed      bool // the attempt was open, and is closed now
}

// bytes is about what an outcome adds to a transaction.
func (o *outcome) bytes() (n int) {
	for i := range o.settlements {
		st := &o.settlements[i]
		n += len(st.Result) + len(st.Warnings)
		for k := range st.Errors {
			n += len(st.Errors[k].Raw) + len(st.Errors[k].Message)
		}
	}
	return n
}

func (s *Store) settleAlone(ctx context.Context, o *outcome) error {
	return s.settleTogether(ctx, []*outcome{o})
}

func (s *Store) settleTogether(ctx context.Context, group []*outcome) error {
	// Attempts are locked in the order of their ids, as RenewAll does.
	slices.SortFunc(group, func(a, b *outcome) int { return bytes.Compare(a.attempt[:], b.attempt[:]) })
	var b pgx.Batch // one implicit transaction
	queueClose(&b, group)
	for _, o := range group {
		queueErrors(&b, o)
		queueCreated(&b, o)
		queueOthers(&b, o)
	}
	r := s.pool.SendBatch(ctx, &b)
	rows, err := r.Query()
	closed := make(map[uuid.UUID]bool, len(group))
	if err == nil {
		var id uuid.UUID
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error { closed[id] = true; return nil })
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		for _, o := range group {
			o.closed = closed[o.attempt]
		}
	}
	return err
}

// plain tells whether a settlement says nothing but that a record was created, and where.
func (st *Settlement) plain() bool {
	return st.Status == Created && st.Warnings == nil && st.Result == nil && len(st.Errors) == 0 && !st.Keep && !st.InDoubt && !st.PossibleDuplicate
}

// count counts the settlements of an outcome that are such.
func (o *outcome) count(such func(*Settlement) bool) (n int) {
	for i := range o.settlements {
		if such(&o.settlements[i]) {
			n++
		}
	}
	return n
}

// queueClose queues closeAttempts.
func queueClose(b *pgx.Batch, group []*outcome) {
	var rows []*Settlement
	first, last := make([]int, len(group)), make([]int, len(group)) // of each outcome's rows, from 1
	for i, o := range group {
		first[i], last[i] = len(rows)+1, len(rows)+len(o.settlements)
		rows = slices.Grow(rows, len(o.settlements))
		for k := range o.settlements {
			rows = append(rows, &o.settlements[k])
		}
	}
	ints := func(of func(*Call) int) array {
		return int4Array(len(group), func(i int) int { return of(&group[i].call) })
	}
	texts := func(of func(*Settlement) string) array {
		return nullableTextArray(len(rows), func(i int) string {
			if !rows[i].plain() {
				return ""
			}
			return text(of(rows[i]))
		})
	}
	b.Queue(closeAttempts, uuidArray(len(group), func(i int) uuid.UUID { return group[i].attempt }),
		int4Array(len(first), func(i int) int { return first[i] }), int4Array(len(last), func(i int) int { return last[i] }),
		ints(func(c *Call) int { return c.Created }), ints(func(c *Call) int { return c.Rejected }),
		ints(func(c *Call) int { return c.NotApplied }), ints(func(c *Call) int { return c.Unknown }), ints(func(c *Call) int { return c.Status }),
		textArray(len(group), func(i int) string { return text(group[i].call.CorrelationID) }),
		textArray(len(group), func(i int) string { return text(group[i].call.Detail) }),
		textArray(len(rows), func(i int) string { return rows[i].EventID }),
		texts(func(st *Settlement) string { return st.RecordID }), texts(func(st *Settlement) string { return st.URL }))
}

// queueCreated queues the created rows of an outcome that are not plain.
func queueCreated(b *pgx.Batch, o *outcome) {
	n := o.count(func(st *Settlement) bool { return st.Status == Created && !st.plain() })
	if n == 0 {
		return
	}
	eventIDs, recordIDs, results := make([]string, 0, n), make([]string, 0, n), make([][]byte, 0, n)
	urls, warnings := make([]*string, 0, n), make([]*string, 0, n)
	keep, doubt, dup := make([]bool, 0, n), make([]bool, 0, n), make([]bool, 0, n)
	for i := range o.settlements {
		st := &o.settlements[i]
		if st.Status != Created || st.plain() {
			continue
		}
		eventIDs, recordIDs, results = append(eventIDs, st.EventID), append(recordIDs, text(st.RecordID)), append(results, st.Result)
		urls, warnings = append(urls, nullable(st.URL)), append(warnings, nullable(string(st.Warnings)))
		keep, doubt, dup = append(keep, st.Keep), append(doubt, st.InDoubt), append(dup, st.PossibleDuplicate)
	}
	b.Queue(settleCreated, o.attempt, eventIDs, recordIDs, urls, warnings, results, keep, doubt, dup)
}

// queueErrors queues the errors of an outcome.
func queueErrors(b *pgx.Batch, o *outcome) {
	var ids, categories, messages, properties, rules []string
	var raws [][]byte
	for i := range o.settlements {
		for _, e := range o.settlements[i].Errors {
			ids, categories = append(ids, o.settlements[i].EventID), append(categories, text(e.Category))
			messages, raws = append(messages, text(e.Message)), append(raws, e.Raw)
			properties, rules = append(properties, text(e.Property)), append(rules, text(e.Rule))
		}
	}
	if len(ids) > 0 {
		b.Queue(settleErrors, o.attempt, ids, categories, messages, properties, rules, raws)
	}
}

// queueOthers queues the rows of an outcome that were not created.
func queueOthers(b *pgx.Batch, o *outcome) {
	n := o.count(func(st *Settlement) bool { return st.Status != Created })
	if n == 0 {
		return
	}
	eventIDs, statuses, waits := make([]string, 0, n), make([]string, 0, n), make([]time.Duration, 0, n)
	reasons, errors, causes := make([]*string, 0, n), make([]*string, 0, n), make([]*string, 0, n)
	counted, doubt, missed, dup := make([]bool, 0, n), make([]bool, 0, n), make([]bool, 0, n), make([]bool, 0, n)
	for i := range o.settlements {
		st := &o.settlements[i]
		if st.Status == Created {
			continue
		}
		eventIDs, statuses, waits = append(eventIDs, st.EventID), append(statuses, string(st.Status)), append(waits, st.Wait)
		reasons, errors = append(reasons, nullable(string(st.Reason))), append(errors, nullable(st.Error))
		counted, doubt = append(counted, st.Counted), append(doubt, st.InDoubt)
		missed, dup = append(missed, st.Missed), append(dup, st.PossibleDuplicate)
		cause := ""
		if st.Status == Dead {
			cause = causeOf(st.Errors, st.Error)
		}
		causes = append(causes, nullable(cause))
	}
	b.Queue(settleOthers, o.attempt, eventIDs, statuses, reasons, errors, waits, counted, doubt, missed, dup, causes)
}
