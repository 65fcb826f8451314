package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Account is the pause of everything, in the place of an object type.
const Account = "*"

// Pause is something that the fleet does not call.
type Pause struct {
	ObjectType string // or Account
	Reason     string
	Since      time.Time
	TrialIn    time.Duration // until one worker may try again; zero or less: now; a person's pause has no trial: noTrial
}

// noTrial is longer than any worker lives.
const noTrial = 100 * 365 * 24 * time.Hour

// Pauses lists what is paused.
func (s *Store) Pauses(ctx context.Context) ([]Pause, error) {
	rows, err := s.pool.Query(ctx, `SELECT object_type, reason, since, coalesce(trial_at - now(), $1::interval) FROM pause`, noTrial)
	if err != nil {
		return nil, fmt.Errorf("outbox: pauses: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Pause])
	if err != nil {
		return nil, fmt.Errorf("outbox: pauses: %w", err)
	}
	return list, nil
}

// Pause pauses an object type, or the Account, until a trial after wait. It reports whether that is new. A person's pause
// stays as it is.
func (s *Store) Pause(ctx context.Context, objectType, reason string, wait time.Duration) (fresh bool, err error) {
	err = s.pool.QueryRow(ctx, `
INSERT INTO pause (object_type, reason, trial_at) VALUES ($1, $2, now() + $3::interval)
ON CONFLICT (object_type) DO UPDATE SET reason = excluded.reason, trial_at = excluded.trial_at WHERE pause.trial_at IS NOT NULL
RETURNING xmax = 0`, objectType, text(reason), wait).Scan(&fresh)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("outbox: pause: %w", err)
	}
	return fresh, nil
}

// Try asks to make the one trial call of a pause whose time has come; the next will be after interval. It is true too
// when there is no such pause any more.
func (s *Store) Try(ctx context.Context, objectType string, interval time.Duration) (ok bool, err error) {
	err = s.pool.QueryRow(ctx, `
WITH mine AS (UPDATE pause SET trial_at = now() + $2::interval WHERE object_type = $1 AND trial_at <= now() RETURNING 1)
SELECT EXISTS (SELECT FROM mine) OR NOT EXISTS (SELECT FROM pause WHERE object_type = $1)`, objectType, interval).Scan(&ok)
	if err != nil {
		return false, fmt.Errorf("outbox: pause: %w", err)
	}
	return ok, nil
}

// TryNow brings the trials of all pauses that have one forward.
func (s *Store) TryNow(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `UPDATE pause SET trial_at = now() WHERE trial_at IS NOT NULL`); err != nil {
		return fmt.Errorf("outbox: pause: %w", err)
	}
	return nil
}

// Resume ends a pause whose trial succeeded. It reports whether there was one. A person's pause is not ended by it.
func (s *Store) Resume(ctx context.Context, objectType string) (was bool, err error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM pause WHERE object_type = $1 AND trial_at IS NOT NULL`, objectType)
	if err != nil {
		return false, fmt.Errorf("outbox: pause: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}
