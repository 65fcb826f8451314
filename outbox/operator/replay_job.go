package operator

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// ReplayState is where a replay job stands. The words are the database's.
type ReplayState string

const (
	ReplayRunning   ReplayState = "running"
	ReplayPaused    ReplayState = "paused"
	ReplayCancelled ReplayState = "cancelled"
	ReplayFinished  ReplayState = "done" // all its events are seen to; what became of them is another matter
)

// ReplayJob is a bulk replay, which the fleet's workers do.
type ReplayJob struct {
	ID             int64       `json:"id"`
	State          ReplayState `json:"state"`
	Operator       string      `json:"operator"`
	Reason         string      `json:"reason,omitempty"`
	Filter         Filter      `json:"filter"`
	AllowDuplicate bool        `json:"allow_duplicate"`
	Rate           float64     `json:"rate,omitempty"` // events a second; 0: as the fleet takes them
	Events         int64       `json:"events"`         // how many it began with
	ReplayDone
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`

	Failures int       `json:"failures,omitempty"` // steps in a row that failed
	Failure  string    `json:"failure,omitempty"`  // why the last of them did
	RetryAt  time.Time `json:"retry_at,omitzero"`  // when the next is tried

	// Now is how many of those that it sent again have which status by now. Only Replays.Get sets it.
	Now map[outbox.Status]int64 `json:"now,omitempty"`
}

// Left is how many events the job has still to see to, or had when it was cancelled.
func (j *ReplayJob) Left() int64 { return j.Events - j.Replayed - j.Skipped - j.Held }

// Ended tells whether the job does no more.
func (j *ReplayJob) Ended() bool { return j.State == ReplayCancelled || j.State == ReplayFinished }

// Answered is how many of the events that the job sent again are not under way any more.
func (j *ReplayJob) Answered() int64 {
	return j.Replayed - j.Now[outbox.Retry] - j.Now[outbox.Sending] - j.Now[outbox.Unknown]
}

// ErrNoReplay says that there is no such replay job.
var ErrNoReplay = errors.New("operator: no such replay job")

// Start makes a job of a replay: which events it is about is fixed with it. The fleet's workers do it from then
// on. ErrNothing means that none of the events is left as it was. When ctx ends, there is no job, or it is returned.
func (o *Replays) Start(ctx context.Context, r Replay) (job ReplayJob, err error) {
	if err := r.validate(); err != nil {
		return ReplayJob{}, err
	}
	err = beginFunc(ctx, o.pool, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, `
INSERT INTO replay_job (allow_duplicate, rate, events) VALUES ($1, nullif($2, 0.0::float8), 0)
  RETURNING id`, r.Plan.AllowDuplicate, r.Rate).Scan(&id); err != nil {
			return err
		}
		args := pgx.NamedArgs{"job": id}
		events, err := tx.Exec(ctx, `
INSERT INTO replay_event (job_id, object_type, event_id, seen)
SELECT @job, o.object_type, o.event_id, o.updated_at FROM event o WHERE `+r.Plan.Filter.where(args), args)
		if err != nil {
			return err
		}
		n := events.RowsAffected()
		if n == 0 {
			return ErrNothing
		}
		changed := max(r.Plan.TotalEvents-n, 0)
		action, err := Record(ctx, tx, Action{
			Operator: o.cfg.Name, Action: "replay", Reason: r.Reason, Filter: &r.Plan.Filter, Detail: r.detail(id),
			Events: n, Skipped: changed,
		})
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE replay_job SET action_id = $2, events = $3, skipped = $4 WHERE id = $1`, id,
			action, n+changed, changed); err != nil {
			return err
		}
		job, err = o.read(ctx, tx, id, "")
		return err
	})
	if err != nil {
		return ReplayJob{}, replayError(err)
	}
	return job, nil
}

// lastWait is how long a transaction's end is waited for when ctx has ended.
const lastWait = 10 * time.Second

// beginFunc is pgx.BeginFunc, but a commit that has begun is not given up when ctx ends: it would be done all the same,
// and nobody told.
func beginFunc(ctx context.Context, pool *outbox.Pool, do func(pgx.Tx) error) error {
	ending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWait, cancel) })()
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ending) }() // nothing after the commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit(ending)
}

const selectReplays = `
SELECT j.id, j.state, a.operator, coalesce(a.reason, ''), a.filter, j.allow_duplicate, coalesce(j.rate, 0), j.events,
  j.replayed, j.skipped, j.held, j.started_at, j.ended_at,
  j.failures, coalesce(j.failure, ''), CASE WHEN j.failures > 0 AND j.state = 'running' THEN j.next_at END
FROM replay_job j JOIN operator_action a ON a.id = ANY (ARRAY[j.action_id]) `

func scanReplay(r pgx.CollectableRow) (j ReplayJob, err error) {
	var ended, retry *time.Time
	err = r.Scan(&j.ID, &j.State, &j.Operator, &j.Reason, &j.Filter, &j.AllowDuplicate, &j.Rate, &j.Events,
		&j.Replayed, &j.Skipped, &j.Held, &j.StartedAt, &ended,
		&j.Failures, &j.Failure, &retry)
	if ended != nil {
		j.EndedAt = *ended
	}
	if retry != nil {
		j.RetryAt = *retry
	}
	return j, err
}

// replayOf reads one job. The lock is "" or a clause.
func (o *Replays) read(ctx context.Context, q querier, id int64, lock string) (ReplayJob, error) {
	rows, err := q.Query(ctx, selectReplays+`WHERE j.id = $1 `+lock, id)
	if err != nil {
		return ReplayJob{}, err
	}
	job, err := pgx.CollectExactlyOneRow(rows, scanReplay)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNoReplay
	}
	return job, err
}

// Replays lists the replay jobs, up to limit, the newest first.
func (o *Replays) List(ctx context.Context, limit int) ([]ReplayJob, error) {
	rows, err := o.pool.Query(ctx, selectReplays+`ORDER BY j.id DESC LIMIT $1`, limit)
	if err == nil {
		var list []ReplayJob
		if list, err = pgx.CollectRows(rows, scanReplay); err == nil {
			return list, nil
		}
	}
	return nil, replayError(err)
}

// Progress returns how far a replay job is, or ErrNoReplay.
func (o *Replays) Progress(ctx context.Context, id int64) (ReplayJob, error) {
	job, err := o.read(ctx, o.pool, id, "")
	if err != nil {
		return ReplayJob{}, replayError(err)
	}
	return job, nil
}

// Get returns a replay job with what became of its events, or ErrNoReplay. Its cost grows with their number:
// 100,000 take about a second.
func (o *Replays) Get(ctx context.Context, id int64) (ReplayJob, error) {
	job, err := o.read(ctx, o.pool, id, "")
	if err != nil {
		return ReplayJob{}, replayError(err)
	}
	rows, err := o.pool.Query(ctx, `
SELECT o.status, count(*) FROM replay_job j
JOIN operator_action_event e ON e.action_id = ANY (ARRAY[j.action_id]) JOIN event o ON o.event_id = ANY (ARRAY[e.event_id])
WHERE j.id = $1 AND o.status IS NOT NULL GROUP BY 1`, id) // a compact row is of an event that came anew since
	if err != nil {
		return ReplayJob{}, replayError(err)
	}
	job.Now = map[outbox.Status]int64{}
	var status outbox.Status
	var n int64
	if _, err = pgx.ForEachRow(rows, []any{&status, &n}, func() error { job.Now[status] = n; return nil }); err != nil {
		return ReplayJob{}, replayError(err)
	}
	return job, nil
}

// Pause holds a running job. It reports whether that changes anything: a paused job stays so, and one that has
// ended, too.
func (o *Replays) Pause(ctx context.Context, id int64, reason string) (job ReplayJob, changed bool, err error) {
	return o.steer(ctx, id, reason, "replay pause", ReplayPaused, ReplayRunning)
}

// Resume lets a paused job go on. It reports whether that changes anything.
func (o *Replays) Resume(ctx context.Context, id int64, reason string) (job ReplayJob, changed bool, err error) {
	return o.steer(ctx, id, reason, "replay resume", ReplayRunning, ReplayPaused)
}

// Cancel ends a job. What it has not sent again stays dead as it is. It reports whether that changes anything.
func (o *Replays) Cancel(ctx context.Context, id int64, reason string) (job ReplayJob, changed bool, err error) {
	return o.steer(ctx, id, reason, "replay cancel", ReplayCancelled, ReplayRunning, ReplayPaused)
}

// steer waits for a step of the job that is under way, so that nothing is sent again once it has returned.
func (o *Replays) steer(ctx context.Context, id int64, reason, action string, to ReplayState,
	from ...ReplayState) (job ReplayJob, changed bool, err error) {
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error {
		job, err = o.read(ctx, tx, id, "FOR UPDATE OF j")
		if err != nil {
			return err
		}
		for _, state := range from {
			changed = changed || job.State == state
		}
		if !changed {
			return nil
		}
		if _, err := tx.Exec(ctx, `
UPDATE replay_job SET state = $2, next_at = CASE WHEN failures > 0 THEN now()
  ELSE greatest(next_at, now()) END, ended_at = CASE WHEN $2 = 'cancelled' THEN now() END
WHERE id = $1`, id, string(to)); err != nil {
			return err
		}
		if to == ReplayCancelled {
			if _, err := tx.Exec(ctx, `DELETE FROM replay_event WHERE job_id = $1`, id); err != nil {
				return err
			}
		}
		if _, err := Record(ctx, tx, Action{
			Operator: o.cfg.Name, Action: action, Reason: reason, Detail: Replay{}.detail(id), Events: job.Left(),
		}); err != nil {
			return err
		}
		job, err = o.read(ctx, tx, id, "")
		return err
	})
	if err != nil {
		return ReplayJob{}, false, replayError(err)
	}
	return job, changed, nil
}
