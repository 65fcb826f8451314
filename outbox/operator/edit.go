package operator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// ErrNotDead says that an event is not dead (any more), and so is not changed by hand.
var ErrNotDead = errors.New("operator: the event is not dead")

// ErrEdited says that somebody else edited the event after it was read.
var ErrEdited = errors.New("operator: the event was edited by somebody else meanwhile")

// UnfitError says that an edit would make something of an event that could not be sent.
type UnfitError struct{ Err error }

func (e *UnfitError) Error() string { return e.Err.Error() }
func (e *UnfitError) Unwrap() error { return e.Err }

// Edit puts a new payload in the place of the revision that was read, and returns the new revision's number. If the
// payload is that of the event already, nothing is done. The errors that say what was wrong are *UnknownEventError,
// ErrNotDead, ErrEdited and *UnfitError.
func (o *DeadLetters) Edit(ctx context.Context, eventID string, revision int, payload []byte, reason string) (int,
	error) {
	tx, err := o.pool.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("operator: edit: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // nothing, once it is committed
	var objectType string
	var status outbox.Status
	var before []byte
	var current int
	err = tx.QueryRow(ctx,
		`SELECT object_type, coalesce(status, ''), payload, coalesce(revision, 0) FROM event
  WHERE event_id = $1 FOR UPDATE`, eventID).
		Scan(&objectType, &status, &before, &current)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, &UnknownEventError{eventID}
	case err != nil:
		return 0, fmt.Errorf("operator: edit: %w", err)
	case status != outbox.Dead:
		return 0, ErrNotDead
	case bytes.Equal(before, payload):
		return current, nil
	case current != revision:
		return 0, ErrEdited
	}
	if err := o.cfg.Check(eventID, objectType, payload); err != nil {
		return 0, &UnfitError{err}
	}
	action, err := Record(ctx, tx, Action{Operator: o.cfg.Name, Action: "edit", Reason: reason,
		Filter: &Filter{EventIDs: []string{eventID}}, Events: 1})
	if err != nil {
		return 0, err
	}
	if err := revise(ctx, tx, action, []string{eventID}, [][]byte{payload}); err != nil {
		return 0, err
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, fmt.Errorf("operator: edit: %w", err)
	}
	return current + 1, nil
}

// revise gives dead rows, which the transaction has locked, new payloads.
func revise(ctx context.Context, tx pgx.Tx, action int64, ids []string, payloads [][]byte) error {
	var b pgx.Batch
	b.Queue(`
INSERT INTO outbox_revision (event_id, revision, payload)
SELECT event_id, 0, payload FROM event WHERE event_id = ANY($1::text[]) AND revision IS NULL`, ids)
	b.Queue(`
WITH revised AS (
  UPDATE event o SET payload = u.payload, revision = coalesce(o.revision, 0) + 1, updated_at = now()
  FROM unnest($2::text[], $3::bytea[]) AS u(event_id, payload) WHERE o.event_id = ANY (ARRAY[u.event_id])
  RETURNING o.event_id, o.revision, o.payload)
INSERT INTO outbox_revision (event_id, revision, payload, action_id) SELECT event_id, revision, payload, $1
  FROM revised`, action, ids, payloads)
	b.Queue(`INSERT INTO operator_action_event (event_id, action_id) SELECT id, $1 FROM unnest($2::text[]) AS id`,
		action, ids)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("operator: edit: %w", err)
	}
	return nil
}

// editBatch is how many events an edit of many holds in memory at once; each may have a MiB, twice.
const editBatch = 50

// EditAll makes the same change to all events of the plan. Events that would be no valid events by it are left as they
// are, and counted as unfit.
func (o *DeadLetters) EditAll(ctx context.Context, p Plan, c Change, reason string) (Result, error) {
	if err := cmp.Or(p.check(), c.Validate()); err != nil {
		return Result{}, err
	}
	detail, err := json.Marshal(c)
	if err != nil {
		return Result{}, fmt.Errorf("operator: edit: %w", err)
	}
	return o.change(ctx, p, Action{Action: "edit", Reason: reason, Detail: detail}, func(tx pgx.Tx,
		action int64) (Result, error) {
		return o.editAll(ctx, tx, p.Filter, c, "FOR UPDATE", func(ids []string, payloads [][]byte) error {
			return revise(ctx, tx, action, ids, payloads)
		})
	})
}

// TryEdit says what EditAll would come to, and changes nothing.
func (o *DeadLetters) TryEdit(ctx context.Context, p Plan, c Change) (r Result, err error) {
	if err := cmp.Or(p.check(), c.Validate()); err != nil {
		return Result{}, err
	}
	err = pgx.BeginTxFunc(ctx, o.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		r, err = o.editAll(ctx, tx, p.Filter, c, "", func([]string, [][]byte) error { return nil })
		return err
	})
	r.Skipped = max(0, p.TotalEvents-r.Done-r.Unchanged-r.Unfit)
	return r, err
}

// editAll goes through the events with a cursor, because all of them together may be more than the memory holds.
func (o *DeadLetters) editAll(ctx context.Context, tx pgx.Tx, f Filter, c Change, lock string, revise func(ids []string,
	payloads [][]byte) error) (r Result, err error) {
	args := pgx.NamedArgs{}
	_, err = tx.Exec(ctx,
		`DECLARE edited NO SCROLL CURSOR FOR SELECT o.event_id, o.object_type, o.payload FROM event o WHERE `+
			f.where(args)+` ORDER BY o.event_id `+lock, args)
	for err == nil {
		var rows pgx.Rows
		if rows, err = tx.Query(ctx, fmt.Sprintf(`FETCH %d FROM edited`, editBatch)); err != nil {
			break
		}
		var id, objectType string
		var before []byte
		var ids []string
		var payloads [][]byte
		n := int64(0)
		_, err = pgx.ForEachRow(rows, []any{&id, &objectType, &before}, func() error {
			n++
			after, why := c.Apply(before)
			switch {
			case why == nil && bytes.Equal(after, before):
				r.Unchanged++
				return nil
			case why == nil:
				why = o.cfg.Check(id, objectType, after)
			}
			if why != nil {
				r.Unfit++
				if r.Why == "" {
					r.Why = fmt.Sprintf("event %s: %v", id, why)
				}
				return nil
			}
			ids, payloads = append(ids, id), append(payloads, after)
			return nil
		})
		if err != nil || n == 0 {
			break
		}
		r.Done += int64(len(ids))
		if len(ids) > 0 {
			err = revise(ids, payloads)
		}
	}
	if err != nil {
		return Result{}, fmt.Errorf("operator: edit: %w", err)
	}
	return r, nil
}
