package operator

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// ReplayPlan is what a replay is about to do.
type ReplayPlan struct {
	Plan
	// AllowDuplicate sends events, too, that may have a record already and can't be asked about. They are marked as
	// possible duplicates.
	AllowDuplicate bool `json:"allow_duplicate"`

	Ask int64 `json:"ask"` // how many of the events are asked about before they are sent
	// how many may have a record already, with nothing to ask by: held unless a duplicate is allowed
	Risk  int64 `json:"risk"`
	Never int64 `json:"never"` // how many can't be sent at all: their messages' subjects named no object type
	Sent  int64 `json:"sent"`  // how many are sent, or asked about
	// Calls is how many calls it takes to send them, in full batches of an object type each.
	Calls int64 `json:"calls"`

	records Records
}

// callInputs is how many events a call takes.
const callInputs = 100

// Plan says what a replay of these events would do. It changes nothing. Its errors are those of Plan.
// For a job, it is the workers' Records that decide in the end.
func (o *Replays) Plan(ctx context.Context, f Filter, records Records, allowDuplicate bool) (p ReplayPlan, err error) {
	p.records, p.AllowDuplicate = records, allowDuplicate
	if p.Plan, err = o.plan(ctx, f); err != nil {
		return ReplayPlan{}, err
	}
	args := pgx.NamedArgs{}
	where := p.Filter.where(args)
	sent := map[string]int64{} // by object type
	rows, err := o.pool.Query(ctx, `SELECT o.object_type, count(*) FROM event o WHERE `+where+` GROUP BY 1`, args)
	if err != nil {
		return ReplayPlan{}, replayError(err)
	}
	var objectType string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&objectType, &n},
		func() error { sent[objectType] = n; return nil }); err != nil {
		return ReplayPlan{}, replayError(err)
	}
	p.Never = sent[""]
	delete(sent, "")
	rows, err = o.pool.Query(ctx, `SELECT `+candidateColumns+` FROM event o
WHERE `+where+` AND o.object_type <> '' AND (o.in_doubt OR o.reason = 'unknown_outcome')`, args)
	if err != nil {
		return ReplayPlan{}, replayError(err)
	}
	defer rows.Close()
	for rows.Next() {
		c, err := scanCandidate(rows)
		if err != nil {
			return ReplayPlan{}, replayError(err)
		}
		switch do, _ := records.judge(&c); do {
		case ask:
			p.Ask++
		case risk:
			p.Risk++
			if !allowDuplicate {
				sent[c.objectType]--
			}
		}
	}
	if err := rows.Err(); err != nil {
		return ReplayPlan{}, replayError(err)
	}
	for _, n := range sent {
		p.Sent += n
		p.Calls += (n + callInputs - 1) / callInputs
	}
	return p, nil
}
