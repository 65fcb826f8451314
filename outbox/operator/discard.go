package operator

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrNoReason says that a change needs a reason, which a person will look for later.
var ErrNoReason = fmt.Errorf("operator: a reason is wanted")

// Discard gives up on the plan's events. Their rows stay, as `discarded`, and are nobody's work any more.
func (o *DeadLetters) Discard(ctx context.Context, p Plan, reason string) (Result, error) {
	if err := p.check(); err != nil {
		return Result{}, err
	}
	if strings.TrimSpace(reason) == "" {
		return Result{}, ErrNoReason
	}
	return o.change(ctx, p, Action{Action: "discard", Reason: reason}, func(tx pgx.Tx, action int64) (Result, error) {
		args := pgx.NamedArgs{"action": action}
		tag, err := tx.Exec(ctx, `
WITH chosen AS MATERIALIZED (
  SELECT o.event_id FROM event o WHERE `+p.Filter.where(args)+` ORDER BY o.event_id FOR UPDATE),
discarded AS (
  UPDATE event o SET status = 'discarded', dead_at = NULL, updated_at = now()
  FROM chosen WHERE o.event_id = ANY (ARRAY[chosen.event_id]) RETURNING o.event_id)
INSERT INTO operator_action_event (event_id, action_id) SELECT event_id, @action FROM discarded`, args)
		if err != nil {
			return Result{}, fmt.Errorf("operator: discard: %w", err)
		}
		return Result{Done: tag.RowsAffected()}, nil
	})
}
