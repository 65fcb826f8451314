package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// session is a person's access to the database.
type session struct {
	store *outbox.Store
	pool  *outbox.Pool
	cfg   Config
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// plan is DeadLetters.Plan, which a replay begins with, too.
func (s *session) plan(ctx context.Context, f Filter) (Plan, error) {
	if err := f.destructive(); err != nil {
		return Plan{}, err
	}
	plan := Plan{Filter: f}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly},
		func(tx pgx.Tx) (err error) {
			if err := tx.QueryRow(ctx, `SELECT now(), pg_current_snapshot()::text`).Scan(&plan.Filter.AsOf,
				&plan.Filter.Seen); err != nil {
				return fmt.Errorf("operator: plan: %w", err)
			}
			if plan.NotDead, err = missing(ctx, tx, f.EventIDs); err != nil {
				return err
			}
			plan.Groups, err = groups(ctx, tx, plan.Filter, planGroups)
			return err
		})
	if err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// asOf looks at what a filter chooses as it is at one moment, which becomes the filter's. An id that the outbox has not
// is an *UnknownEventError.
func (s *session) asOf(ctx context.Context, what string, f *Filter, look func(pgx.Tx) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&f.AsOf); err != nil {
			return err
		}
		if _, err := missing(ctx, tx, f.EventIDs); err != nil {
			return err
		}
		return look(tx)
	})
	if unknown := (*UnknownEventError)(nil); err != nil && !errors.As(err, &unknown) {
		err = fmt.Errorf("operator: %s: %w", what, err)
	}
	return err
}

// missing finds an id that the outbox does not have, and counts those that are not dead.
func missing(ctx context.Context, db querier, ids []string) (notDead int64, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	var unknown string
	err = db.QueryRow(ctx,
		`SELECT id FROM unnest($1::text[]) AS id WHERE NOT EXISTS (SELECT FROM event WHERE event_id = id) LIMIT 1`,
		ids).Scan(&unknown)
	if err == nil {
		return 0, &UnknownEventError{unknown}
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = db.QueryRow(ctx, `SELECT count(*) FROM event WHERE event_id = ANY($1::text[]) AND dead_at IS NULL`,
			ids).Scan(&notDead)
	}
	if err != nil {
		return 0, fmt.Errorf("operator: plan: %w", err)
	}
	return notDead, nil
}

// change does something to the events of a plan and records it, in one transaction. If there was nothing to do, nothing
// is recorded.
func (s *session) change(ctx context.Context, p Plan, a Action, do func(tx pgx.Tx, action int64) (Result,
	error)) (r Result, err error) {
	a.Operator, a.Filter = s.cfg.Name, &p.Filter
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("operator: %s: %w", a.Action, err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // nothing, once it is committed
	id, err := Record(ctx, tx, a)
	if err != nil {
		return Result{}, err
	}
	if r, err = do(tx, id); err != nil {
		return Result{}, err
	}
	r.Skipped = max(0, p.TotalEvents-r.Done-r.Unchanged-r.Unfit)
	if r.Done == 0 {
		return r, nil
	}
	if _, err = tx.Exec(ctx, `UPDATE operator_action SET events = $2, skipped = $3 WHERE id = $1`, id, r.Done,
		r.Skipped); err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return Result{}, fmt.Errorf("operator: %s: %w", a.Action, err)
	}
	r.Action = id
	return r, nil
}

// eventsAtOnce is how many events one statement changes: half a second.
const eventsAtOnce = 5000

// inSteps does something to many events of an action, and records to which it was done.
func inSteps[T any](ctx context.Context, tx pgx.Tx, action int64, list []T, progress func(done int64),
	do func([]T) (eventIDs []string, err error)) (r Result, err error) {
	for step := range slices.Chunk(list, eventsAtOnce) {
		ids, err := do(step)
		if err != nil {
			return Result{}, err
		}
		if err := RecordEvents(ctx, tx, action, ids); err != nil {
			return Result{}, err
		}
		r.Done += int64(len(ids))
		progress(r.Done)
	}
	return r, nil
}
