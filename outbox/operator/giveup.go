package operator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Undecided chooses events that are to be sent again (`retry`) or asked about (`unknown`), and are in no call. What is
// set must all hold. The zero value chooses all of them, which GiveUp refuses unless All is set.
type Undecided struct {
	Filter // of it EventIDs, ObjectType, Category, Text, All and AsOf; the others are about dead events

	Status outbox.Status `json:"status,omitempty"`         // outbox.Retry or outbox.Unknown; "" for both
	Before time.Time     `json:"received_before,omitzero"` // that came, or were last replayed, before then
}

// Validate returns a *FilterError if the filter can't be meant.
func (u Undecided) Validate() error {
	switch {
	case u.Status != "" && u.Status != outbox.Retry && u.Status != outbox.Unknown:
		return &FilterError{fmt.Sprintf("nobody gives up on events that are %s: want retry or unknown", u.Status)}
	case len(u.Groups) > 0 || u.Reason != "" || !u.Since.IsZero() || !u.Until.IsZero():
		return &FilterError{"only dead events have a group, a reason and a time of death"}
	case u.All && (u.Status != "" || !u.Before.IsZero()):
		return &FilterError{"all events and a filter were asked for: leave one out"}
	}
	return u.Filter.Validate()
}

func (u Undecided) destructive() error {
	if err := u.Validate(); err != nil {
		return err
	}
	if u.everything() && u.Status == "" && u.Before.IsZero() && !u.All {
		return ErrEverything
	}
	return nil
}

// and is the condition for a row of event AS o, beside another.
func (u Undecided) and(args pgx.NamedArgs, another string) string {
	b := []string{another}
	switch u.Status {
	case outbox.Retry:
		b = append(b, "o.misses IS NULL")
	case outbox.Unknown:
		b = append(b, "o.misses IS NOT NULL")
	}
	if !u.Before.IsZero() {
		args["filter_before"] = u.Before
		b = append(b, "coalesce(o.replayed_at, o.received_at) < @filter_before")
	}
	return u.Filter.and(args, b...)
}

// where chooses what is due or waits.
func (u Undecided) where(args pgx.NamedArgs) string {
	return u.and(args, "o.next_attempt_at IS NOT NULL")
}

// UndecidedGroup is the undecided events of an object type that are in the same status and would be dead for the same
// reason.
type UndecidedGroup struct {
	ObjectType string        `json:"object_type"`
	Status     outbox.Status `json:"status"`
	Becomes    outbox.Reason `json:"becomes"`
	Events     int64         `json:"events"`
	Oldest     time.Time     `json:"oldest"`  // when the first of them came, or was last replayed
	Example    string        `json:"example"` // the id of one
	Error      string        `json:"error"`   // what its last call said
}

// GiveUpPlan is what GiveUp is about to do.
type GiveUpPlan struct {
	Filter      Undecided        `json:"filter"` // with AsOf
	List        []UndecidedGroup `json:"groups"` // those with the most events first
	TotalGroups int64            `json:"total_groups"`
	TotalEvents int64            `json:"total_events"`
	InCall      int64            `json:"in_call"` // that are in a call right now: what it comes to is waited for
	// NotUndecided are those of Filter.EventIDs that are neither to be sent again nor in doubt: nothing is to be done
	// to them.
	NotUndecided int64 `json:"not_undecided"`
}

func undecidedSQL(where string) string {
	return `
WITH g AS (
  SELECT o.object_type, CASE WHEN o.misses IS NULL THEN 'retry' ELSE 'unknown' END AS status,
    ` + outbox.UndecidedReason + ` AS becomes, count(*) AS events,
    min(coalesce(o.replayed_at, o.received_at)) AS oldest, min(o.event_id) AS example
  FROM event o WHERE ` + where + ` GROUP BY 1, 2, 3),
top AS (
  SELECT *, count(*) OVER () AS total_groups, (sum(events) OVER ())::int8 AS total_events FROM g
  ORDER BY events DESC, object_type, status, becomes LIMIT @limit)
SELECT top.total_groups, top.total_events, top.object_type, top.status, top.becomes, top.events, top.oldest,
  top.example, coalesce(o.error, '')
FROM top JOIN event o ON o.event_id = ANY (ARRAY[top.example])
ORDER BY top.events DESC, top.object_type, top.status, top.becomes`
}

// What was claimed has its payloads in its rows; a fresh event's are in the attempt, and nobody meant it.
func inCallSQL(condition string) string {
	return `
SELECT count(*) FROM attempt a CROSS JOIN LATERAL unnest(a.event_ids) AS held
JOIN event o ON o.event_id = ANY (ARRAY[held]) AND o.attempt_id = a.id
WHERE a.closed_at IS NULL AND a.payloads IS NULL AND o.next_attempt_at IS NULL AND ` + condition
}

// PlanGiveUp says what giving up on these events would be done to. Its errors are those of Plan. It changes nothing.
func (o *Waiting) PlanGiveUp(ctx context.Context, u Undecided) (GiveUpPlan, error) {
	if err := u.destructive(); err != nil {
		return GiveUpPlan{}, err
	}
	p := GiveUpPlan{Filter: u, List: []UndecidedGroup{}}
	err := o.asOf(ctx, "give up", &p.Filter.Filter, func(tx pgx.Tx) (err error) {
		if p.NotUndecided, p.InCall, err = notWaiting(ctx, tx, p.Filter); err != nil {
			return err
		}
		args := pgx.NamedArgs{"limit": planGroups}
		rows, err := tx.Query(ctx, undecidedSQL(p.Filter.where(args)), args)
		if err != nil {
			return err
		}
		var g UndecidedGroup
		_, err = pgx.ForEachRow(rows, []any{&p.TotalGroups, &p.TotalEvents, &g.ObjectType, &g.Status, &g.Becomes,
			&g.Events, &g.Oldest, &g.Example, &g.Error}, func() error { p.List = append(p.List, g); return nil })
		return err
	})
	if err != nil {
		return GiveUpPlan{}, err
	}
	return p, nil
}

// notWaiting counts of the chosen what has nothing to wait for, and what is in a call.
func notWaiting(ctx context.Context, tx pgx.Tx, u Undecided) (notUndecided, inCall int64, err error) {
	if err := tx.QueryRow(ctx, `
SELECT count(*) FROM event WHERE event_id = ANY($1::text[]) AND next_attempt_at IS NULL
  AND coalesce(status NOT IN ('sending', 'unknown'), true)`, u.EventIDs).Scan(&notUndecided); err != nil {
		return 0, 0, err
	}
	args := pgx.NamedArgs{}
	err = tx.QueryRow(ctx, inCallSQL(u.and(args, "true")), args).Scan(&inCall)
	return notUndecided, inCall, err
}

// GiveUp makes dead letters of the plan's events, which are edited, replayed or discarded from there: exhausted, or
// unknown_outcome where a record may exist. What is in a call by now, or locked by somebody else, counts as skipped. No
// worker waits for it. It is one transaction, of some ten seconds for 100,000 events; progress is told how many are
// done, and nothing is until it returns.
func (o *Waiting) GiveUp(ctx context.Context, p GiveUpPlan, reason string, progress func(done int64)) (Result, error) {
	if p.Filter.AsOf.IsZero() {
		return Result{}, ErrNoPlan
	}
	if err := p.Filter.destructive(); err != nil {
		return Result{}, err
	}
	if strings.TrimSpace(reason) == "" {
		return Result{}, ErrNoReason
	}
	detail, err := p.Filter.detail()
	if err != nil {
		return Result{}, err
	}
	a := Action{Action: "give-up", Reason: reason, Detail: detail}
	plan := Plan{Filter: p.Filter.Filter, Groups: Groups{TotalEvents: p.TotalEvents}}
	return o.change(ctx, plan, a, func(tx pgx.Tx, action int64) (r Result, err error) {
		args := pgx.NamedArgs{}
		rows, err := tx.Query(ctx, `SELECT o.event_id FROM event o WHERE `+p.Filter.where(args)+`
ORDER BY o.event_id FOR UPDATE SKIP LOCKED`, args)
		if err != nil {
			return Result{}, fmt.Errorf("operator: give up: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return Result{}, fmt.Errorf("operator: give up: %w", err)
		}
		return inSteps(ctx, tx, action, ids, progress, func(step []string) ([]string, error) {
			return outbox.GiveUp(ctx, tx, step, "given up by hand: "+reason)
		})
	})
}
