package operator

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Lock is one that somebody holds in the database, and others have waited for.
type Lock struct {
	PID     int       `json:"pid"`
	User    string    `json:"user,omitempty"`
	Program string    `json:"program,omitempty"` // as it calls itself
	Waiting int       `json:"waiting"`           // sessions
	Since   time.Time `json:"since"`             // when the first of them began to wait
}

// LostCalls are under way by a worker that is not heard of any more. Once their lease is over it is found out what
// became of them.
type LostCalls struct {
	Worker string    `json:"worker"`
	Calls  int       `json:"calls"`
	Events int64     `json:"events"`
	Lease  time.Time `json:"lease_until"` // of the last of them
}

// OpenReplay is a bulk replay that has not ended.
type OpenReplay struct {
	ID       int64       `json:"id"`
	State    ReplayState `json:"state"`
	Events   int64       `json:"events"`
	Left     int64       `json:"left"`
	Failures int         `json:"failures,omitempty"` // steps in a row that failed
	Failure  string      `json:"failure,omitempty"`
}

// lockWait is how long a lock is waited for. lockLasts is how long others have waited for one that is told of.
const (
	lockWait  = `SET LOCAL lock_timeout = '1s'`
	lockLasts = time.Second
)

const (
	// Of a transaction that only reads transaction_read_only would say nothing. It takes no lock on a table of ours.
	statusServer = `SELECT now(), pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool`
	// Who is in nobody's way but holds up others, and holds a lock on a table of ours. waitstart is null for a moment,
	// and before PostgreSQL 14 there is none.
	statusLocks = `
WITH waiting AS MATERIALIZED (
  SELECT pid, min((to_jsonb(l) ->> 'waitstart')::timestamptz) AS since FROM pg_locks l WHERE NOT granted GROUP BY pid),
blocked AS MATERIALIZED (
  SELECT w.pid AS waits, w.since, unnest(pg_blocking_pids(w.pid)) AS pid FROM waiting w
  WHERE w.since < clock_timestamp() - $1::interval)
SELECT b.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), count(DISTINCT b.waits), min(b.since)
FROM blocked b JOIN pg_stat_activity a ON a.pid = b.pid
WHERE a.datname = current_database() AND b.pid NOT IN (SELECT pid FROM waiting) AND EXISTS (
  SELECT FROM pg_locks h JOIN pg_class c ON c.oid = h.relation
  WHERE h.pid = b.pid AND h.granted AND h.database = a.datid AND c.relnamespace = current_schema()::regnamespace
    AND c.relname IN ('event', 'attempt', 'outbox_error', 'pause', 'quota', 'breaker', 'worker',
      'replay_job', 'replay_event', 'operator_action', 'credential'))
GROUP BY b.pid, a.usename, a.application_name ORDER BY min(b.since)`
	statusLost = `
SELECT worker, count(*), coalesce(sum(cardinality(event_ids)), 0)::bigint, max(lease_until)
FROM attempt WHERE closed_at IS NULL
GROUP BY worker ORDER BY worker`
	statusReplays = `
SELECT id, state, events, events - replayed - skipped - held, failures, coalesce(failure, '') FROM replay_job
WHERE state IN ('running', 'paused') ORDER BY id`
)

func whoLocks(ctx context.Context, tx pgx.Tx, s *Status) error {
	rows, err := tx.Query(ctx, statusLocks, lockLasts)
	if err != nil {
		return err
	}
	s.Locks, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Lock])
	return err
}

func whoWorks(ctx context.Context, tx pgx.Tx, s *Status) error {
	rows, err := tx.Query(ctx, outbox.ListWorkers)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, outbox.ScanWorker)
	for _, w := range list {
		s.Workers = append(s.Workers, WorkerState{Name: w.Name, StartedAt: w.StartedAt, SeenAt: s.At.Add(-w.Silent),
			Alive:     w.Alive,
			BatchSize: w.Batch, Rate: w.Rate, Told: w.Told})
	}
	return err
}

func whatPauses(ctx context.Context, tx pgx.Tx, s *Status) error {
	rows, err := tx.Query(ctx, pauses)
	if err != nil {
		return err
	}
	s.Pauses, err = pgx.CollectRows(rows, scanPause)
	return err
}

func whatReplays(ctx context.Context, tx pgx.Tx, s *Status) error {
	rows, err := tx.Query(ctx, statusReplays)
	if err != nil {
		return err
	}
	s.Replays, err = pgx.CollectRows(rows, pgx.RowToStructByPos[OpenReplay])
	return err
}

func whatIsLost(ctx context.Context, tx pgx.Tx, s *Status) error {
	rows, err := tx.Query(ctx, statusLost)
	if err != nil {
		return err
	}
	open, err := pgx.CollectRows(rows, pgx.RowToStructByPos[LostCalls])
	for _, calls := range open {
		if !slices.ContainsFunc(s.Workers, func(w WorkerState) bool { return w.Alive && w.Name == calls.Worker }) {
			s.Lost = append(s.Lost, calls)
		}
	}
	return err
}

// why tells what most of the dead are dead for.
func why(ctx context.Context, tx pgx.Tx, s *Status) error {
	if !slices.ContainsFunc(s.Events, func(e Events) bool { return e.Status == outbox.Dead }) {
		return nil
	}
	top, err := groups(ctx, tx, Filter{}, 1)
	s.Groups = top.List
	return err
}
