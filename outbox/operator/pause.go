package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Ended is a pause that Resume has ended.
type Ended struct {
	outbox.Pause
	BlockedUntil time.Time `json:"blocked_until,omitzero"` // until when the CRM had asked for no call; zero if it had not
}

const (
	// The time of a person's first word stays; what the fleet paused by itself is taken over.
	pause = `
INSERT INTO pause AS p (object_type, reason, cause, paused_by) VALUES ($1, $2, 'operator', $3)
ON CONFLICT (object_type) DO UPDATE SET reason = excluded.reason,
  cause = 'operator', paused_by = excluded.paused_by, trial_at = NULL,
  since = CASE WHEN p.cause = 'operator' THEN p.since ELSE now() END
RETURNING xmax = 0`
	resume = outbox.Unpause + `SELECT object_type, cause, reason, coalesce(paused_by, ''), since, trial_at FROM gone`
	// The CTEs see the row as it was before.
	unblock = `
WITH lifted AS (
  INSERT INTO quota (account, resumed_at) VALUES ($1, clock_timestamp())
  ON CONFLICT (account) DO UPDATE SET resumed_at = excluded.resumed_at, blocked_until = '-infinity', blocked_why = NULL)
SELECT blocked_until, coalesce(blocked_why, '') FROM quota WHERE account = $1 AND blocked_until > clock_timestamp()`
)

// Pause stops the fleet's calls that create records of an object type, or, with outbox.Account, all of its calls, until
// Resume. Workers see it within two seconds; calls under way end as they would. Events wait, and age. No trial and no
// answer of the CRM ends it. It reports whether that was paused already; then the reason and the person are replaced.
func (o *Pauses) Pause(ctx context.Context, objectType, reason string) (already bool, err error) {
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error {
		var fresh bool
		if err := tx.QueryRow(ctx, pause, objectType, reason, o.cfg.Name).Scan(&fresh); err != nil {
			return err
		}
		already = !fresh
		return o.record(ctx, tx, "pause", reason, objectType, nil)
	})
	if err != nil {
		return false, fmt.Errorf("operator: pause: %w", err)
	}
	return already, nil
}

// isKnown: the calls of an object type are kept for as long as compact rows stand by them; other rows have an index.
const isKnown = `
SELECT EXISTS (SELECT FROM event WHERE object_type = $1 AND next_attempt_at IS NOT NULL AND misses IS NULL)
  OR EXISTS (SELECT FROM event WHERE object_type = $1 AND next_attempt_at IS NOT NULL AND misses IS NOT NULL)
  OR EXISTS (SELECT FROM event WHERE object_type = $1 AND dead_at IS NOT NULL)
  OR EXISTS (SELECT FROM event WHERE object_type = $1 AND record_id IS NOT NULL)
  OR EXISTS (SELECT FROM attempt WHERE object_type = $1)`

// Known reports whether there is a call for an object type, or an event of it that waits, is dead or has its record.
// What is only in the stream, or was discarded and never sent, does not count.
func (o *Pauses) Known(ctx context.Context, objectType string) (met bool, err error) {
	err = pgx.BeginTxFunc(ctx, o.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Attempts have no index for it.
		if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = on`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, isKnown, objectType).Scan(&met)
	})
	if err != nil {
		return false, fmt.Errorf("operator: pause: %w", err)
	}
	return met, nil
}

// Resume ends a pause, whoever or whatever began it, and returns it; nil if there was none, which is not recorded
// either. That of the account ends with it, or by itself, a wait that the CRM asked for; workers see it within two
// seconds. What the CRM still refuses will pause again by itself.
func (o *Pauses) Resume(ctx context.Context, objectType string) (ended *Ended, err error) {
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, resume, objectType, true)
		if err != nil {
			return err
		}
		p, err := pgx.CollectExactlyOneRow(rows, scanEnded)
		switch {
		case err == nil:
			ended = &p
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		if objectType == outbox.Account {
			var until time.Time
			var why string
			err := tx.QueryRow(ctx, unblock, outbox.QuotaAccount).Scan(&until, &why)
			switch {
			case err == nil && ended == nil:
				ended = &Ended{
					Pause:        outbox.Pause{ObjectType: objectType, Cause: outbox.ByAnswer, Reason: why},
					BlockedUntil: until,
				}
			case err == nil:
				ended.BlockedUntil = until
			case !errors.Is(err, pgx.ErrNoRows):
				return err
			}
		}
		if ended == nil {
			return nil
		}
		return o.record(ctx, tx, "resume", "", objectType, ended)
	})
	if err != nil {
		return nil, fmt.Errorf("operator: resume: %w", err)
	}
	return ended, nil
}

func scanEnded(r pgx.CollectableRow) (e Ended, err error) {
	var trial *time.Time
	err = r.Scan(&e.ObjectType, &e.Cause, &e.Reason, &e.By, &e.Since, &trial)
	if trial != nil {
		e.TrialAt = *trial
	}
	return e, err
}

func (o *Pauses) record(ctx context.Context, tx pgx.Tx, action, reason, objectType string, ended *Ended) error {
	detail, err := json.Marshal(struct {
		ObjectType string `json:"object_type"`
		Ended      *Ended `json:"ended,omitempty"`
	}{objectType, ended})
	if err != nil {
		return err
	}
	_, err = Record(ctx, tx, Action{Operator: o.cfg.Name, Action: action, Reason: reason, Detail: detail})
	return err
}
