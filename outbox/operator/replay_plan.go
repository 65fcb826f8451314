package operator

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// ReplayPlan is what a replay would do, as things stood At.
type ReplayPlan struct {
	At     time.Time     `json:"at"` // by the database's clock; the AsOf of what is planned
	Events int64         `json:"events"`
	Groups []ReplayGroup `json:"groups"` // the largest first
	// Ask is how many of the events are asked about first.
	Ask int64 `json:"ask"`
	// Risk is how many may have a record already, with nothing to ask by: they are held unless a duplicate is allowed.
	Risk int64 `json:"risk"`
	// Never is how many can't be sent at all, because they have no object type.
	Never int64 `json:"never"`
	// Calls are by object type what it takes to send them, in full batches.
	Calls map[string]int64 `json:"calls"`
}

// ReplayGroup is what the events of a plan have in common.
type ReplayGroup struct {
	Fingerprint string        `json:"fingerprint"` // "" if they have none
	ObjectType  string        `json:"object_type"`
	Reason      outbox.Reason `json:"reason"`
	Events      int64         `json:"events"`
	Error       string        `json:"error"` // one of theirs
}

// callInputs is how many events a call takes.
const callInputs = 100

// TotalCalls is how many calls the plan takes, those that ask not counted.
func (p *ReplayPlan) TotalCalls() (n int64) {
	for _, calls := range p.Calls {
		n += calls
	}
	return n
}

// PlanReplay says what a replay of these events would do. It changes nothing.
func (o *Operator) PlanReplay(ctx context.Context, f Filter, allowDuplicate bool) (ReplayPlan, error) {
	if err := f.destructive(); err != nil {
		return ReplayPlan{}, err
	}
	p := ReplayPlan{Groups: []ReplayGroup{}, Calls: map[string]int64{}}
	// One snapshot: what is counted twice must be the same.
	err := pgx.BeginTxFunc(ctx, o.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&p.At); err != nil {
			return err
		}
		args := pgx.NamedArgs{}
		where := f.where(args)
		rows, err := tx.Query(ctx, `
SELECT coalesce(o.fingerprint, ''), o.object_type, o.reason, count(*), coalesce(min(o.error), '')
FROM outbox o WHERE `+where+` GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3`, args)
		if err != nil {
			return err
		}
		if p.Groups, err = pgx.AppendRows(p.Groups, rows, pgx.RowToStructByPos[ReplayGroup]); err != nil {
			return err
		}
		sent := map[string]int64{}
		for _, g := range p.Groups {
			p.Events += g.Events
			if g.ObjectType == "" {
				p.Never += g.Events
			} else {
				sent[g.ObjectType] += g.Events
			}
		}
		rows, err = tx.Query(ctx, `SELECT `+candidateColumns+` FROM outbox o WHERE `+where+`
  AND (o.in_doubt OR o.reason = 'unknown_outcome') AND o.object_type <> ''`, args)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c, err := scanCandidate(rows)
			if err != nil {
				return err
			}
			switch o.cfg.Records.judge(&c) {
			case ask:
				p.Ask++
			case risk:
				p.Risk++
				if !allowDuplicate {
					sent[c.objectType]--
				}
			}
		}
		for objectType, n := range sent {
			if n > 0 {
				p.Calls[objectType] = (n + callInputs - 1) / callInputs
			}
		}
		return rows.Err()
	})
	if err != nil {
		return ReplayPlan{}, replayError(err)
	}
	return p, nil
}
