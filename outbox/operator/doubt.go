package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Lost chooses the events that calls of which the outbox knows nothing may have created, because it lost what was
// committed since a moment: a backup was restored, or a standby took over that was behind. It is all that waits in
// `retry` or `unknown` and is in no call.
type Lost struct {
	Filter // of it EventIDs, ObjectType and AsOf; the others are about dead events

	From   time.Time `json:"from"`                     // the moment
	Before time.Time `json:"received_before,omitzero"` // only what came, or was last replayed, before then; zero for all
	// Dead takes dead letters, too, that were sent and died since From: what was sent again without asking, before
	// this, and was in the way of itself.
	Dead bool `json:"dead,omitempty"`
	// Property is today's id property of each object type, which the lost calls were made with.
	Property map[string]string `json:"id_property,omitempty"`
}

// Validate returns a *FilterError if the filter can't be meant.
func (l Lost) Validate() error {
	switch {
	case l.From.IsZero():
		return &FilterError{"since when commits were lost is wanted"}
	case len(l.Groups) > 0 || l.Reason != "" || l.Category != "" || l.Text != "" || !l.Since.IsZero() ||
		!l.Until.IsZero() || l.All:
		return &FilterError{"what was lost has no group, reason or words"}
	}
	return l.Filter.Validate()
}

// where is the condition for a row of event AS o.
func (l Lost) where(args pgx.NamedArgs) string {
	chosen := "o.next_attempt_at IS NOT NULL"
	if l.Dead {
		args["filter_from"] = l.From
		chosen = "(o.next_attempt_at IS NOT NULL OR o.dead_at >= @filter_from AND o.attempt_id IS NOT NULL AND " +
			"o.object_type <> '')"
	}
	return l.and(args, chosen)
}

func (l Lost) and(args pgx.NamedArgs, b ...string) string {
	if !l.Before.IsZero() {
		args["filter_before"] = l.Before
		b = append(b, "coalesce(o.replayed_at, o.received_at) < @filter_before")
	}
	return l.Filter.and(args, b...)
}

// LostGroup is the events of an object type in one status that are asked about by the same.
type LostGroup struct {
	ObjectType string        `json:"object_type"`
	Status     outbox.Status `json:"status"`
	// AskBy is "" for nothing: workers park them, or send them again, as they are told to.
	AskBy   string `json:"ask_by,omitempty"`
	Events  int64  `json:"events"`
	Example string `json:"example"` // the id of one
}

// DoubtPlan is what Doubt is about to do.
type DoubtPlan struct {
	Filter      Lost        `json:"filter"` // with AsOf
	List        []LostGroup `json:"groups"` // those with the most events first
	TotalGroups int64       `json:"total_groups"`
	TotalEvents int64       `json:"total_events"`
	// InCall are those that an open attempt has: when its lease has run out, they are in doubt without this.
	InCall int64 `json:"in_call"`
	// Newest is when the newest call that the outbox knows of began; zero if it knows none. Calls since From are those
	// of workers that ran on what was restored.
	Newest time.Time `json:"newest_call,omitzero"`
}

func lostSQL(where string) string {
	return `
WITH g AS (
  SELECT o.object_type,
    CASE WHEN o.dead_at IS NOT NULL THEN 'dead' WHEN o.misses IS NULL THEN 'retry' ELSE 'unknown' END AS status,
    coalesce(` + outbox.AskBy("@property::jsonb ->> o.object_type") + `, '') AS ask_by,
    count(*) AS events, min(o.event_id) AS example
  FROM event o LEFT JOIN attempt a ON a.id = o.attempt_id AND a.kind = 'create'
  WHERE ` + where + ` GROUP BY 1, 2, 3)
SELECT count(*) OVER (), (sum(events) OVER ())::int8, object_type, status, ask_by, events, example FROM g
ORDER BY events DESC, object_type, status, ask_by LIMIT @limit`
}

// PlanDoubt says what putting these events in doubt would be done to. Its errors are those of Plan. It changes nothing.
func (o *Waiting) PlanDoubt(ctx context.Context, l Lost) (DoubtPlan, error) {
	if err := l.Validate(); err != nil {
		return DoubtPlan{}, err
	}
	p := DoubtPlan{Filter: l, List: []LostGroup{}}
	err := o.asOf(ctx, "doubt", &p.Filter.Filter, func(tx pgx.Tx) error {
		// Attempts are named by the time.
		err := tx.QueryRow(ctx, `SELECT started_at FROM attempt ORDER BY id DESC LIMIT 1`).Scan(&p.Newest)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		args := pgx.NamedArgs{}
		if err := tx.QueryRow(ctx, `
SELECT count(*) FROM attempt a CROSS JOIN LATERAL unnest(a.event_ids) AS held
JOIN event o ON o.event_id = ANY (ARRAY[held]) AND o.attempt_id = a.id
WHERE a.closed_at IS NULL AND o.next_attempt_at IS NULL AND `+p.Filter.and(args, "true"), args).
			Scan(&p.InCall); err != nil {
			return err
		}
		args = pgx.NamedArgs{"limit": planGroups, "property": l.Property}
		rows, err := tx.Query(ctx, lostSQL(p.Filter.where(args)), args)
		if err != nil {
			return err
		}
		var g LostGroup
		_, err = pgx.ForEachRow(rows, []any{&p.TotalGroups, &p.TotalEvents, &g.ObjectType, &g.Status, &g.AskBy, &g.Events,
			&g.Example},
			func() error { p.List = append(p.List, g); return nil })
		return err
	})
	if err != nil {
		return DoubtPlan{}, err
	}
	return p, nil
}

// Doubt has the plan's events asked about before anything is sent: see outbox.Doubt. What is in a call by now, locked
// by somebody else, or changed since the plan counts as skipped. No worker waits for it. It is one transaction, as
// GiveUp is, and done again it asks again.
func (o *Waiting) Doubt(ctx context.Context, p DoubtPlan, reason string, progress func(done int64)) (Result, error) {
	if p.Filter.AsOf.IsZero() {
		return Result{}, ErrNoPlan
	}
	if err := p.Filter.Validate(); err != nil {
		return Result{}, err
	}
	if strings.TrimSpace(reason) == "" {
		return Result{}, ErrNoReason
	}
	detail, err := json.Marshal(struct {
		From     time.Time         `json:"from"`
		Before   time.Time         `json:"received_before,omitzero"`
		Dead     bool              `json:"dead,omitempty"`
		Property map[string]string `json:"id_property,omitempty"`
	}{p.Filter.From, p.Filter.Before, p.Filter.Dead, p.Filter.Property})
	if err != nil {
		return Result{}, fmt.Errorf("operator: doubt: %w", err)
	}
	plan := Plan{Filter: p.Filter.Filter, Groups: Groups{TotalEvents: p.TotalEvents}}
	return o.change(ctx, plan, Action{Action: "doubt", Reason: reason, Detail: detail}, func(tx pgx.Tx,
		action int64) (r Result, err error) {
		args := pgx.NamedArgs{"property": p.Filter.Property}
		rows, err := tx.Query(ctx, `
SELECT o.event_id, coalesce(@property::jsonb ->> o.object_type, '') FROM event o WHERE `+p.Filter.where(args)+`
ORDER BY o.event_id FOR UPDATE SKIP LOCKED`, args)
		if err != nil {
			return Result{}, fmt.Errorf("operator: doubt: %w", err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[outbox.Doubted])
		if err != nil {
			return Result{}, fmt.Errorf("operator: doubt: %w", err)
		}
		return inSteps(ctx, tx, action, list, progress, func(step []outbox.Doubted) ([]string, error) {
			return outbox.Doubt(ctx, tx, step, "put in doubt by hand: "+reason)
		})
	})
}

// DoubtNew has workers ask first, too, about events that are new to the outbox and were published before a moment:
// those whose rows were lost, as they come again from the stream or their publishers. Workers that run know it within
// two seconds. A moment that is past ends it.
func (o *Waiting) DoubtNew(ctx context.Context, until time.Time, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return ErrNoReason
	}
	detail, err := json.Marshal(struct {
		New time.Time `json:"new_until"`
	}{until})
	if err == nil {
		err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error {
			if err := outbox.DoubtNewUntil(ctx, tx, until); err != nil {
				return err
			}
			_, err := Record(ctx, tx, Action{Operator: o.cfg.Name, Action: "doubt", Reason: reason, Detail: detail})
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("operator: doubt: %w", err)
	}
	return nil
}
