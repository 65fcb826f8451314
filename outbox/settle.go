package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"crmintake/outbox/internal/pgwire"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
)

// closeAttempts closes attempts and settles those of their created rows that have nothing but a record id and a url,
// which is nearly all rows. Rows are touched only if their attempt was closed right here: those that Expire made
// `unknown` still carry its id. It returns the attempts that it closed.
//
// The compact rows of an attempt are settled by what is written to the attempt itself; those of them that have no
// record id here are expanded, for the statements that follow. Their payloads come from the attempt as it was when the
// statement began: it may have waited for a Renew since, which leaves them alone. Expand does not; rows that it
// expanded meanwhile still look compact then, and are settled as the expanded ones that they are.
//
// A closed attempt that still holds rows, because the settlements are not of just these, in the order of their ids,
// breaks a constraint. A read is no attempt to create: only a call that was under way, 'sending', counts.
const closeAttempts = `
WITH closed AS (
  UPDATE attempt a SET state = 'settled', closed_at = now(),
    event_ids = CASE WHEN a.event_ids <> ($11::text[])[c.first:c.last] THEN a.event_ids END, payloads = NULL,
    compact_ids = CASE WHEN a.payloads IS NOT NULL THEN a.event_ids END,
    record_ids = CASE WHEN a.payloads IS NOT NULL THEN ($12::text[])[c.first:c.last] END,
    record_urls = CASE WHEN a.payloads IS NOT NULL AND array_remove(($13::text[])[c.first:c.last], NULL) <> '{}' THEN ($13::text[])[c.first:c.last] END,
    followed = ` + ifFollowed + ` a.event_ids END, created = c.created, rejected = c.rejected,
    not_applied = c.not_applied, unknown = c.unknown, http_status = c.status, correlation_id = c.correlation, detail = c.detail,
    success = c.success
  FROM unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int[], $9::text[], $10::text[], $14::bool[])
    AS c(id, first, last, created, rejected, not_applied, unknown, status, correlation, detail, success)
  WHERE a.id = ANY (ARRAY[c.id]) AND a.state = 'open'
  RETURNING a.id, c.first, c.last, a.compact_ids IS NOT NULL AS compact, array_position(a.record_ids, NULL) IS NOT NULL AS partly),
expanded AS (
  UPDATE event o SET status = 'sending', payload = u.payload, nth = NULL
  FROM closed c JOIN attempt a ON a.id = ANY (ARRAY[c.id]),
    unnest(($11::text[])[c.first:c.last], ($12::text[])[c.first:c.last], a.payloads) AS u(event_id, record_id, payload)
  WHERE c.partly AND u.record_id IS NULL AND o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = c.id AND o.status IS NULL),
created AS (
  UPDATE event o SET status = 'created', record_id = u.record_id, record_url = u.url, payload = NULL, nth = NULL,
    attempts = o.attempts + (coalesce(o.status, 'sending') = 'sending')::int, next_attempt_at = NULL, misses = NULL, untold = NULL,
    reason = NULL, error = NULL, fingerprint = NULL, updated_at = now()
  FROM closed c, unnest(($11::text[])[c.first:c.last], ($12::text[])[c.first:c.last], ($13::text[])[c.first:c.last]) AS u(event_id, record_id, url)
  WHERE NOT c.compact AND u.record_id IS NOT NULL AND o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = c.id
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
  next_attempt_at = NULL, misses = NULL, untold = NULL, reason = NULL, error = NULL, fingerprint = NULL, in_doubt = o.in_doubt OR u.in_doubt,
  possible_duplicate = o.possible_duplicate OR u.duplicate, updated_at = now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bool[], $8::bool[], $9::bool[])
  AS u(event_id, record_id, url, warnings, result, keep, in_doubt, duplicate)
WHERE o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')` + closedHere

var settleOthers = `
UPDATE event o SET status = u.status, reason = u.reason, error = coalesce(u.error, o.error),
  next_attempt_at = CASE WHEN u.status IN ('retry', 'unknown') THEN now() + u.wait END,
  dead_at = CASE WHEN u.status = 'dead' THEN now() END,
  fingerprint = CASE WHEN u.reason IS NULL THEN NULL WHEN u.cause IS NULL AND o.reason = u.reason THEN o.fingerprint
    ELSE ` + fingerprint("o.object_type", "u.reason", "coalesce(u.cause, '')") + ` END,
  attempts = o.attempts + u.counted::int, in_doubt = o.in_doubt OR u.in_doubt,
  misses = CASE WHEN u.status = 'unknown' THEN coalesce(o.misses + u.missed::int, 0) END,
  untold = CASE WHEN u.status = 'unknown' THEN CASE WHEN u.untold THEN coalesce(o.untold, 0) + 1 ELSE o.untold END END,
  id_property = CASE WHEN o.status = 'sending' AND u.status = 'unknown' THEN u.id_property ELSE o.id_property END,
  id_value = CASE WHEN o.status = 'sending' AND u.status = 'unknown' THEN u.id_value ELSE o.id_value END,
  possible_duplicate = o.possible_duplicate OR u.duplicate, updated_at = now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::interval[], $7::bool[], $8::bool[], $9::bool[], $10::bool[],
  $11::text[], $12::bool[], $13::text[], $14::text[])
  AS u(event_id, status, reason, error, wait, counted, in_doubt, missed, duplicate, cause, untold, id_property, id_value)
WHERE o.event_id = ANY (ARRAY[u.event_id]) AND o.attempt_id = $1 AND o.status IN ('sending', 'unknown')` + closedHere

// Settle commits what became of the rows of an attempt, and closes it. It must name every row that the attempt holds,
// once, and no other, and the call's counts must add up to the rows that the attempt began with; else, as with any
// other error, nothing is changed. ErrLeaseLost and ErrRecordTaken too mean that nothing was changed.
func (s *Batches) Settle(ctx context.Context, attempt uuid.UUID, call Call, settlements []Settlement) error {
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
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.ConstraintName == "event_record" {
		return ErrRecordTaken
	}
	if err != nil {
		return fmt.Errorf("outbox: outcome: %w", err)
	}
	return nil
}

// ErrRecordTaken says that a record id of a settlement is another event's already; Claimed tells whose. Nothing was
// changed.
var ErrRecordTaken = errors.New("outbox: outcome: a record is another event's already")

// Forget removes a settled attempt that came to nothing, as the trial of a pause does, whose reason tells all. One
// that any error names stays, and one whose rows somebody who follows is still to be told.
func (s *Batches) Forget(ctx context.Context, attempt uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `
DELETE FROM attempt WHERE id = $1 AND state = 'settled' AND not_applied = inputs AND followed IS NULL
  AND NOT EXISTS (SELECT FROM outbox_error WHERE attempt_id = $1)`, attempt)
	if err != nil {
		return fmt.Errorf("outbox: forget: %w", err)
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

func (s *Batches) settleTogether(ctx context.Context, wait lockWait, group []*outcome) error {
	// Attempts are locked in the order of their ids, as RenewAll does.
	slices.SortFunc(group, func(a, b *outcome) int { return bytes.Compare(a.attempt[:], b.attempt[:]) })
	closed := make(map[uuid.UUID]bool, len(group))
	closing := closingOf(group)
	closing.Row = func(values [][]byte) error {
		id, err := uuid.FromBytes(values[0])
		closed[id] = true
		return err
	}
	statements := []pgwire.Statement{wait.statement(), closing}
	for _, o := range group {
		statements = append(statements, o.others()...)
	}
	err := s.pipeline(ctx, statements...)
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

// closingOf is closeAttempts.
func closingOf(group []*outcome) pgwire.Statement {
	n := len(group)
	ints := func(of func(*Call) int) pgwire.Param {
		return pgwire.Int4Array(n, func(i int) int { return of(&group[i].call) })
	}
	first, last := make([]int, n), make([]int, n) // of each outcome's rows, from 1
	total := 0
	for _, o := range group {
		total += len(o.settlements)
	}
	rows, plain := make([]*Settlement, 0, total), make([]*Settlement, 0, total)
	urls := 0 // all of them, or none where no row has one
	for i, o := range group {
		first[i], last[i] = len(rows)+1, len(rows)+len(o.settlements)
		for k := range o.settlements {
			st := &o.settlements[k]
			rows = append(rows, st)
			if !st.plain() {
				st = &Settlement{}
			}
			plain = append(plain, st)
			if st.URL != "" {
				urls = total
			}
		}
	}
	return pgwire.Statement{SQL: closeAttempts, Params: []pgwire.Param{
		pgwire.UUIDArray(n, func(i int) uuid.UUID { return group[i].attempt }),
		pgwire.Int4Array(n, func(i int) int { return first[i] }),
		pgwire.Int4Array(n, func(i int) int { return last[i] }),
		ints(func(c *Call) int { return c.Created }),
		ints(func(c *Call) int { return c.Rejected }),
		ints(func(c *Call) int { return c.NotApplied }),
		ints(func(c *Call) int { return c.Unknown }),
		ints(func(c *Call) int { return c.Status }),
		pgwire.TextArray(n, func(i int) string { return text(group[i].call.CorrelationID) }),
		pgwire.TextArray(n, func(i int) string { return text(group[i].call.Detail) }),
		pgwire.TextArray(len(rows), func(i int) string { return rows[i].EventID }),
		pgwire.NullableTextArray(len(rows), func(i int) string { return text(plain[i].RecordID) }),
		pgwire.NullableTextArray(urls, func(i int) string { return text(plain[i].URL) }),
		pgwire.BoolArray(n, func(i int) bool { return group[i].call.Success }),
	}}
}

// others are the statements for what is not plain: its errors, created rows that have more than that, and those that
// were not created.
func (o *outcome) others() (list []pgwire.Statement) {
	var errs []*Error
	var ids []string // of their events
	var created, others []*Settlement
	for i := range o.settlements {
		st := &o.settlements[i]
		for k := range st.Errors {
			errs, ids = append(errs, &st.Errors[k]), append(ids, st.EventID)
		}
		switch {
		case st.Status != Created:
			others = append(others, st)
		case !st.plain():
			created = append(created, st)
		}
	}
	if len(errs) > 0 {
		texts := func(of func(*Error) string) pgwire.Param {
			return pgwire.TextArray(len(errs), func(i int) string { return text(of(errs[i])) })
		}
		list = append(list, pgwire.Statement{SQL: settleErrors, Params: []pgwire.Param{
			pgwire.UUID(o.attempt),
			pgwire.TextArray(len(ids), func(i int) string { return ids[i] }),
			texts(func(e *Error) string { return e.Category }),
			texts(func(e *Error) string { return e.Message }),
			texts(func(e *Error) string { return e.Property }),
			texts(func(e *Error) string { return e.Rule }),
			pgwire.NullableByteaArray(len(errs), func(i int) []byte { return errs[i].Raw }),
		}})
	}
	if n := len(created); n > 0 {
		list = append(list, pgwire.Statement{SQL: settleCreated, Params: []pgwire.Param{
			pgwire.UUID(o.attempt),
			pgwire.TextArray(n, func(i int) string { return created[i].EventID }),
			pgwire.TextArray(n, func(i int) string { return text(created[i].RecordID) }),
			pgwire.NullableTextArray(n, func(i int) string { return text(created[i].URL) }),
			pgwire.NullableTextArray(n, func(i int) string { return text(string(created[i].Warnings)) }),
			pgwire.NullableByteaArray(n, func(i int) []byte { return created[i].Result }),
			pgwire.BoolArray(n, func(i int) bool { return created[i].Keep }),
			pgwire.BoolArray(n, func(i int) bool { return created[i].InDoubt }),
			pgwire.BoolArray(n, func(i int) bool { return created[i].PossibleDuplicate }),
		}})
	}
	if n := len(others); n > 0 {
		list = append(list, pgwire.Statement{SQL: settleOthers, Params: []pgwire.Param{
			pgwire.UUID(o.attempt),
			pgwire.TextArray(n, func(i int) string { return others[i].EventID }),
			pgwire.TextArray(n, func(i int) string { return string(others[i].Status) }),
			pgwire.NullableTextArray(n, func(i int) string { return string(others[i].Reason) }),
			pgwire.NullableTextArray(n, func(i int) string { return text(others[i].Error) }),
			pgwire.IntervalArray(n, func(i int) time.Duration { return others[i].Wait }),
			pgwire.BoolArray(n, func(i int) bool { return others[i].Counted }),
			pgwire.BoolArray(n, func(i int) bool { return others[i].InDoubt }),
			pgwire.BoolArray(n, func(i int) bool { return others[i].Missed }),
			pgwire.BoolArray(n, func(i int) bool { return others[i].PossibleDuplicate }),
			pgwire.NullableTextArray(n, func(i int) string { return text(others[i].cause()) }),
			pgwire.BoolArray(n, func(i int) bool { return others[i].Untold }),
			pgwire.NullableTextArray(n, func(i int) string { return others[i].IDProperty }),
			pgwire.NullableTextArray(n, func(i int) string { return text(others[i].IDValue) }),
		}})
	}
	return list
}

// cause is what the fingerprint of a row with a reason is of; "" for none, or for what it is of already.
func (st *Settlement) cause() string {
	if st.Reason == "" || len(st.Errors) == 0 && st.Error == "" {
		return ""
	}
	return causeOf(st.Errors, st.Error)
}
