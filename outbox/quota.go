package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Quota is what one account allows the fleet: Calls in any Window.
type Quota struct {
	Account string
	Calls   int
	Window  time.Duration
}

// quotaJitter is added to the window: calls that leave a window apart arrive closer together when the first is late by this much.
const quotaJitter = 100 * time.Millisecond

// Take takes one call out of the quota for the whole fleet, or tells how long to wait before asking again. By the database's clock.
func (s *Store) Take(ctx context.Context, q Quota) (wait time.Duration, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var calls []time.Time
		var blocked *time.Time
		const read = `SELECT calls, nullif(blocked_until, '-infinity') FROM quota WHERE account = $1 FOR UPDATE`
		err := tx.QueryRow(ctx, read, q.Account).Scan(&calls, &blocked)
		if err == pgx.ErrNoRows {
			if _, err = tx.Exec(ctx, `INSERT INTO quota (account) VALUES ($1) ON CONFLICT DO NOTHING`, q.Account); err == nil {
				err = tx.QueryRow(ctx, read, q.Account).Scan(&calls, &blocked)
			}
		}
		if err != nil {
			return err
		}
		var now time.Time // after the lock, not when the transaction began
		if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
			return err
		}
		window := q.Window + quotaJitter
		live := calls[:0]
		for _, at := range calls {
			if now.Sub(at) < window {
				live = append(live, at)
			}
		}
		switch {
		case blocked != nil && blocked.After(now):
			wait = blocked.Sub(now)
			return nil
		case len(live) >= q.Calls:
			wait = live[len(live)-q.Calls].Add(window).Sub(now)
			return nil
		}
		wait = 0
		_, err = tx.Exec(ctx, `UPDATE quota SET calls = $2 WHERE account = $1`, q.Account, append(live, now))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("outbox: quota: %w", err)
	}
	return wait, nil
}

// Block lets the fleet make no call of this account for a while.
func (s *Store) Block(ctx context.Context, account string, wait time.Duration) error {
	_, err := s.pool.Exec(ctx, `
INSERT INTO quota (account, blocked_until) VALUES ($1, clock_timestamp() + $2::interval)
ON CONFLICT (account) DO UPDATE SET blocked_until = greatest(quota.blocked_until, excluded.blocked_until)`, account, wait)
	if err != nil {
		return fmt.Errorf("outbox: quota: %w", err)
	}
	return nil
}
