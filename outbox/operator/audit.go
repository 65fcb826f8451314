package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Action is something that a person did.
type Action struct {
	ID       int64           `json:"id"` // given by Record
	Operator string          `json:"operator"`
	Action   string          `json:"action"` // edit, discard, restore, replay, give-up, retry-now, doubt…
	Reason   string          `json:"reason,omitempty"`
	Filter   *Filter         `json:"filter,omitempty"` // which events were meant; nil if it is not about events
	Detail   json.RawMessage `json:"detail,omitempty"` // what else belongs to it, such as what an edit set; JSON or nil
	Events   int64           `json:"events"`           // to how many events it was done
	// how many of those meant had changed meanwhile, and were left alone
	Skipped int64     `json:"skipped"`
	At      time.Time `json:"at"` // by the database's clock; given by Record
}

// Record adds an action to the audit, in the transaction that does it, so that there is neither without the other. It
// returns the action's id, under which RecordEvents says which events it was done to.
func Record(ctx context.Context, tx pgx.Tx, a Action) (id int64, err error) {
	var filter []byte
	if a.Filter != nil {
		if filter, err = json.Marshal(a.Filter); err != nil {
			return 0, fmt.Errorf("operator: audit: %w", err)
		}
	}
	err = tx.QueryRow(ctx, `
INSERT INTO operator_action (operator, action, reason, filter, detail, events, skipped)
VALUES ($1, $2, nullif($3, ''), $4::text::jsonb, $5::text::jsonb, $6, $7) RETURNING id`,
		a.Operator, a.Action, a.Reason, nullText(filter), nullText(a.Detail), a.Events, a.Skipped).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("operator: audit: %w", err)
	}
	return id, nil
}

func nullText(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

// RecordEvents says which events an action was done to, some more if it is called again.
func RecordEvents(ctx context.Context, tx pgx.Tx, action int64, eventIDs []string) error {
	_, err := tx.Exec(ctx, `
INSERT INTO operator_action_event (event_id, action_id) SELECT id, $1 FROM unnest($2::text[]) AS id
  ON CONFLICT DO NOTHING`, action, eventIDs)
	if err != nil {
		return fmt.Errorf("operator: audit: %w", err)
	}
	return nil
}

// Actions chooses lines of the audit. The zero value chooses all.
type Actions struct {
	Operator, Action string
	EventID          string // done to this event
	Before           int64  // with a smaller id
	Limit            int    // how many at most, at least 1
}

// Audit lists what was done, the last first.
func (o *Operator) Audit(ctx context.Context, f Actions) ([]Action, error) {
	rows, err := o.pool.Query(ctx, `
SELECT id, operator, action, coalesce(reason, ''), filter, detail, events, skipped, at FROM operator_action
WHERE ($1 = '' OR operator = $1) AND ($2 = '' OR action = $2) AND ($3 = 0 OR id < $3)
  AND ($4 = '' OR id IN (SELECT action_id FROM operator_action_event WHERE event_id = $4))
ORDER BY id DESC LIMIT $5`, f.Operator, f.Action, f.Before, f.EventID, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("operator: audit: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Action])
	if err != nil {
		return nil, fmt.Errorf("operator: audit: %w", err)
	}
	return list, nil
}
