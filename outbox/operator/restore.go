package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Discarded chooses discarded events: by their ids, or all that one discard of the audit was done to. Exactly one must
// be set.
type Discarded struct {
	EventIDs []string `json:"event_ids,omitempty"`
	Action   int64    `json:"action,omitempty"`
}

// ErrNoChoice says that discarded events were chosen neither by id nor by action, or by both.
var ErrNoChoice = errors.New("operator: name events, or the action that discarded them")

// RestorePlan is what Restore is about to do.
type RestorePlan struct {
	Discarded   Discarded `json:"filter"`
	TotalEvents int64     `json:"total_events"`
	NotSo       int64     `json:"not_discarded"` // of the chosen, that are not discarded, or not any more
	Example     string    `json:"example,omitempty"`
}

// restorable: a discarded row keeps what it was dead for, and its payload; and where it does not, it stays.
const restorable = `o.status = 'discarded' AND o.payload IS NOT NULL AND o.reason IS NOT NULL`

func (d Discarded) where(args pgx.NamedArgs) string {
	args["ids"], args["chosen"] = d.EventIDs, d.Action
	return `o.event_id = ANY (CASE WHEN @chosen::bigint = 0 THEN @ids::text[]
    ELSE ARRAY(SELECT e.event_id FROM operator_action_event e WHERE e.action_id = @chosen) END)`
}

// PlanRestore says what would be restored. It returns ErrNoChoice, an *UnknownEventError, or a *FilterError for an
// action that discarded nothing. It changes nothing.
func (o *DeadLetters) PlanRestore(ctx context.Context, d Discarded) (RestorePlan, error) {
	p := RestorePlan{Discarded: d}
	if (len(d.EventIDs) > 0) == (d.Action != 0) {
		return p, ErrNoChoice
	}
	if _, err := missing(ctx, o.pool, d.EventIDs); err != nil {
		return p, err
	}
	if d.Action != 0 {
		var action string
		err := o.pool.QueryRow(ctx, `SELECT action FROM operator_action WHERE id = $1`, d.Action).Scan(&action)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return p, fmt.Errorf("operator: restore: %w", err)
		}
		if action != "discard" {
			return p, &FilterError{fmt.Sprintf("action %d is no discard; 'crmintake audit --action discard' lists those",
				d.Action)}
		}
	}
	args := pgx.NamedArgs{}
	err := o.pool.QueryRow(ctx, `
SELECT count(*) FILTER (WHERE `+restorable+`), count(*) FILTER (WHERE (`+restorable+`) IS NOT TRUE),
  coalesce(min(o.event_id) FILTER (WHERE `+restorable+`), '') FROM event o WHERE `+d.where(args), args).
		Scan(&p.TotalEvents, &p.NotSo, &p.Example)
	if err != nil {
		return p, fmt.Errorf("operator: restore: %w", err)
	}
	return p, nil
}

// Restore takes back a discard: the plan's events are dead again, for what they were, from now on. What is not
// discarded by then counts as skipped.
func (o *DeadLetters) Restore(ctx context.Context, p RestorePlan, reason string) (Result, error) {
	if (len(p.Discarded.EventIDs) > 0) == (p.Discarded.Action != 0) {
		return Result{}, ErrNoChoice
	}
	a := Action{Action: "restore", Reason: reason}
	if p.Discarded.Action != 0 {
		a.Detail = fmt.Appendf(nil, `{"discard": %d}`, p.Discarded.Action)
	}
	plan := Plan{Filter: Filter{EventIDs: p.Discarded.EventIDs}, Groups: Groups{TotalEvents: p.TotalEvents}}
	return o.change(ctx, plan, a, func(tx pgx.Tx, action int64) (Result, error) {
		args := pgx.NamedArgs{"action": action}
		tag, err := tx.Exec(ctx, `
WITH chosen AS MATERIALIZED (
  SELECT o.event_id FROM event o WHERE `+p.Discarded.where(args)+` AND `+restorable+` ORDER BY o.event_id FOR UPDATE),
restored AS (
  UPDATE event o SET status = 'dead', dead_at = now(), updated_at = now()
  FROM chosen WHERE o.event_id = ANY (ARRAY[chosen.event_id]) RETURNING o.event_id)
INSERT INTO operator_action_event (event_id, action_id) SELECT event_id, @action FROM restored`, args)
		if err != nil {
			return Result{}, fmt.Errorf("operator: restore: %w", err)
		}
		return Result{Done: tag.RowsAffected()}, nil
	})
}
