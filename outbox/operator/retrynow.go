package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// RetryNowPlan is what RetryNow is about to do.
type RetryNowPlan struct {
	Filter      Undecided `json:"filter"`       // with AsOf
	TotalEvents int64     `json:"total_events"` // that wait longer than until now
	Due         int64     `json:"due"`          // that are due already
	Asked       int64     `json:"asked_soon"`   // in doubt, and asked about a settle time after a call or a proof: left so
	InCall      int64     `json:"in_call"`
	// NotUndecided are those of Filter.EventIDs that are neither to be sent again nor in doubt.
	NotUndecided int64 `json:"not_undecided"`
}

// Of what is in doubt only that may be asked about at once which was asked about in vain. Whoever asks before a settle
// time has passed since a call, or since the first proof that there is no record, may be told that there is none while
// the call is still at work.
const askedInVain = `(o.misses IS NULL OR o.misses = 0 AND EXISTS (
    SELECT FROM attempt a WHERE a.id = ANY (ARRAY[o.attempt_id]) AND a.kind = 'read'))`

// PlanRetryNow says which events RetryNow would be done to. Its errors are those of Plan. It changes nothing.
func (o *Waiting) PlanRetryNow(ctx context.Context, u Undecided) (RetryNowPlan, error) {
	if err := u.destructive(); err != nil {
		return RetryNowPlan{}, err
	}
	p := RetryNowPlan{Filter: u}
	err := o.asOf(ctx, "retry now", &p.Filter.Filter, func(tx pgx.Tx) (err error) {
		if p.NotUndecided, p.InCall, err = notWaiting(ctx, tx, p.Filter); err != nil {
			return err
		}
		args := pgx.NamedArgs{}
		return tx.QueryRow(ctx, `
SELECT count(*) FILTER (WHERE o.next_attempt_at > now() AND `+askedInVain+`),
  count(*) FILTER (WHERE o.next_attempt_at <= now()),
  count(*) FILTER (WHERE o.next_attempt_at > now() AND NOT `+askedInVain+`)
FROM event o WHERE `+p.Filter.where(args), args).Scan(&p.TotalEvents, &p.Due, &p.Asked)
	})
	if err != nil {
		return RetryNowPlan{}, err
	}
	return p, nil
}

// RetryNow makes the plan's events due at once: the workers send those in `retry`, and ask about those in `unknown`, as
// soon as pauses and the quota let them. No attempt is given or taken. What is in a call by now, or locked by somebody
// else, counts as skipped.
func (o *Waiting) RetryNow(ctx context.Context, p RetryNowPlan, reason string) (Result, error) {
	if p.Filter.AsOf.IsZero() {
		return Result{}, ErrNoPlan
	}
	if err := p.Filter.destructive(); err != nil {
		return Result{}, err
	}
	detail, err := p.Filter.detail()
	if err != nil {
		return Result{}, err
	}
	a := Action{Action: "retry-now", Reason: reason, Detail: detail}
	plan := Plan{Filter: p.Filter.Filter, Groups: Groups{TotalEvents: p.TotalEvents}}
	return o.change(ctx, plan, a, func(tx pgx.Tx, action int64) (Result, error) {
		args := pgx.NamedArgs{"action": action}
		tag, err := tx.Exec(ctx, `
WITH chosen AS MATERIALIZED (
  SELECT o.event_id FROM event o WHERE `+p.Filter.where(args)+` AND o.next_attempt_at > now() AND `+askedInVain+`
  ORDER BY o.event_id FOR UPDATE SKIP LOCKED),
due AS (
  UPDATE event o SET next_attempt_at = now(), updated_at = now()
  FROM chosen WHERE o.event_id = ANY (ARRAY[chosen.event_id]) RETURNING o.event_id)
INSERT INTO operator_action_event (event_id, action_id) SELECT event_id, @action FROM due`, args)
		if err != nil {
			return Result{}, fmt.Errorf("operator: retry now: %w", err)
		}
		return Result{Done: tag.RowsAffected()}, nil
	})
}

// detail is what the audit keeps of the filter beside Filter; nil for nothing.
func (u Undecided) detail() ([]byte, error) {
	if u.Status == "" && u.Before.IsZero() {
		return nil, nil
	}
	b, err := json.Marshal(struct {
		Status outbox.Status `json:"status,omitempty"`
		Before time.Time     `json:"received_before,omitzero"`
	}{u.Status, u.Before})
	if err != nil {
		return nil, fmt.Errorf("operator: audit: %w", err)
	}
	return b, nil
}
