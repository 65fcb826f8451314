package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pauses are what the fleet does not call.
type Pauses struct{ pool *Pool }

// Account is the pause of everything, in the place of an object type.
const Account = "*"

// Cause says who or what made a pause, and so what ends it: a trial call of one worker, or a person, who can end each.
// What persons do is in package operator.
type Cause string

const (
	ByCredential Cause = "credential" // it was refused, or there is none; tried at once when it has changed
	ByAnswer     Cause = "answer"     // of another kind; tried when the answer said
	ByBreaker    Cause = "breaker"    // most inputs were rejected; tried less and less often
	ByOperator   Cause = "operator"   // a person; never tried
)

// Pause is something that the fleet does not call.
type Pause struct {
	ObjectType string        `json:"object_type"` // or Account
	Cause      Cause         `json:"cause"`
	Reason     string        `json:"reason"`
	By         string        `json:"by,omitempty"`      // the worker that met it, or the person who wants it; "" if nobody knows
	Since      time.Time     `json:"since,omitzero"`    // by the database's clock; set by Pauses
	Trials     int           `json:"trials,omitempty"`  // of a breaker's: how many have failed; set by Pauses
	TrialAt    time.Time     `json:"trial_at,omitzero"` // as Since: when a call tries whether it can end; zero: a person ends it
	TrialIn    time.Duration `json:"-"`                 // until TrialAt; zero or less: now. Without meaning for a person's
}

const listPauses = `
SELECT object_type, cause, reason, coalesce(paused_by, ''), since, trials, trial_at, coalesce(trial_at - now(), interval '0')
FROM pause ORDER BY object_type COLLATE "C"`

// List lists what is paused, by object type, the Account first.
func (s *Pauses) List(ctx context.Context) ([]Pause, error) {
	list, err := readPauses(ctx, s.pool)
	if err != nil {
		return nil, fmt.Errorf("outbox: pauses: %w", err)
	}
	return list, nil
}

func readPauses(ctx context.Context, q querier) ([]Pause, error) {
	rows, err := q.Query(ctx, listPauses)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (p Pause, err error) {
		var trialAt *time.Time
		err = r.Scan(&p.ObjectType, &p.Cause, &p.Reason, &p.By, &p.Since, &p.Trials, &trialAt, &p.TrialIn)
		if trialAt != nil {
			p.TrialAt = *trialAt
		}
		return p, err
	})
}

// None takes the place of a person's, and a breaker's of no other: it would only make longer what is paused.
const pause = `
INSERT INTO pause AS p (object_type, cause, reason, paused_by, trial_at)
VALUES ($1, $2, $3, $4, now() + $5::interval)
ON CONFLICT (object_type) DO UPDATE SET cause = excluded.cause, reason = excluded.reason, paused_by = excluded.paused_by,
  trial_at = excluded.trial_at, trials = 0
WHERE p.cause <> 'operator' AND excluded.cause <> 'breaker'
RETURNING xmax = 0`

// Pause pauses an object type, or the Account, until a trial after TrialIn succeeds. It reports whether it was not
// paused before. What a person has paused stays as it is, whatever workers meet.
func (s *Pauses) Begin(ctx context.Context, p Pause) (fresh bool, err error) {
	err = s.pool.QueryRow(ctx, pause, p.ObjectType, p.Cause, text(p.Reason), text(p.By), p.TrialIn).Scan(&fresh)
	if err != nil && err != pgx.ErrNoRows {
		return false, fmt.Errorf("outbox: pause: %w", err)
	}
	return fresh, nil
}

// Prolong is for a breaker's pause whose trial failed: the next is twice as long after this one as this one was after
// the one before, which begins with wait, and at most so long. Any other pause stays as it is.
func (s *Pauses) Prolong(ctx context.Context, objectType, reason string, wait, most time.Duration) error {
	_, err := s.pool.Exec(ctx, `
UPDATE pause SET reason = $2, trials = trials + 1, trial_at = now() + least($3::interval * power(2, least(trials + 1, 20)), $4::interval)
WHERE object_type = $1 AND cause = 'breaker'`, objectType, text(reason), wait, most)
	if err != nil {
		return fmt.Errorf("outbox: pause: %w", err)
	}
	return nil
}

// Try asks to make the one trial call of a pause whose time has come; the next will be after interval. It is true too
// when there is no such pause any more.
func (s *Pauses) Try(ctx context.Context, objectType string, interval time.Duration) (ok bool, err error) {
	err = s.pool.QueryRow(ctx, `
WITH mine AS (UPDATE pause SET trial_at = now() + $2::interval WHERE object_type = $1 AND trial_at <= now() RETURNING 1)
SELECT EXISTS (SELECT FROM mine) OR NOT EXISTS (SELECT FROM pause WHERE object_type = $1)`, objectType, interval).Scan(&ok)
	if err != nil {
		return false, fmt.Errorf("outbox: pause: %w", err)
	}
	return ok, nil
}

// TryNow brings forward the trials of all pauses that another credential may end: those ByCredential, and those of
// object types ByAnswer, which may be for want of a scope.
func (s *Pauses) TryNow(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `
UPDATE pause SET trial_at = now() WHERE trial_at > now() AND (cause = 'credential' OR cause = 'answer' AND object_type <> $1)`, Account); err != nil {
		return fmt.Errorf("outbox: pause: %w", err)
	}
	return nil
}

// Unpause begins each statement that ends a pause, $1, a person's too only if $2 is true; gone is its row. What was
// rejected before says nothing about what comes now.
const Unpause = `
WITH gone AS (DELETE FROM pause WHERE object_type = $1 AND ($2 OR cause <> 'operator') RETURNING *),
forgotten AS (DELETE FROM breaker f USING gone WHERE f.object_type = ANY (ARRAY[gone.object_type]))
`

// Resume ends a pause whose trial succeeded. It reports whether there was one. A person's pause is not ended by it.
func (s *Pauses) Resume(ctx context.Context, objectType string) (was bool, err error) {
	if err := s.pool.QueryRow(ctx, Unpause+`SELECT count(*) > 0 FROM gone`, objectType, false).Scan(&was); err != nil {
		return false, fmt.Errorf("outbox: pause: %w", err)
	}
	return was, nil
}
