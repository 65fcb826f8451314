package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Snapshot is how things stand, all of it at one moment. Times are by the database's clock.
type Snapshot struct {
	At      time.Time    `json:"at"`
	Events  []EventCount `json:"events"` // sorted by object type and status; none of Look
	Calls   OpenCalls    `json:"calls_in_flight"`
	Quota   *QuotaState  `json:"quota,omitempty"` // of QuotaAccount; nil while no call was ever made under a quota
	Pauses  []Pause      `json:"pauses"`
	Workers []Worker     `json:"workers"`

	ReadOnly bool         `json:"read_only,omitempty"`  // the database takes no writes
	Locks    []Lock       `json:"locks,omitempty"`      // on tables of the outbox, that others have waited for
	Lost     []LostCalls  `json:"lost_calls,omitempty"` // of Calls, those of workers that are not alive
	Replays  []OpenReplay `json:"replays,omitempty"`    // that have not ended
	Left     string       `json:"left_out,omitempty"`   // why some of all this is not there: Locked, or ""
}

// EventCount is how many rows of an object type are in a status.
type EventCount struct {
	ObjectType string `json:"object_type"`
	Status     Status `json:"status"`
	Events     int64  `json:"events"`
	// Estimated: Events comes from what the database believes of a table larger than CountedBytes. Rows that were
	// discarded count as created then, and an object type may be missing whose rows are few.
	Estimated bool `json:"estimated,omitempty"`
	// Oldest is for `sending` when the first of its calls began, for `retry` and `unknown` when the first of the events
	// came, for `dead` since when the first is dead, and else zero.
	Oldest time.Time `json:"oldest,omitzero"`
	// Next is for `retry` and `unknown` when the first of them is due.
	Next time.Time `json:"next,omitzero"`
}

// OpenCalls are the calls under way, with those of workers that died and whose lease has not run out.
type OpenCalls struct {
	Create int       `json:"create"`
	Read   int       `json:"read"`
	Oldest time.Time `json:"oldest,omitzero"`
}

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
	ID       int64  `json:"id"`
	State    string `json:"state"` // running or paused
	Events   int64  `json:"events"`
	Left     int64  `json:"left"`
	Failures int    `json:"failures,omitempty"` // steps in a row that failed
	Failure  string `json:"failure,omitempty"`
}

// querier is a transaction or the Pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// SnapshotPart reads one more part of a Snapshot, in its transaction.
type SnapshotPart func(ctx context.Context, tx pgx.Tx, s *Snapshot) error

// Snapshot reads how things stand, and after it what the caller adds. Rows that are not done are counted through
// indexes that hold little else; created ones while the table is small (CountedBytes), and estimated from then on, so
// that the cost does not grow with it. What a lock of somebody's keeps from it for a second, and what comes after it,
// is left out.
func (s *Reader) Snapshot(ctx context.Context, more ...SnapshotPart) (Snapshot, error) {
	return s.snapshot(ctx, append([]SnapshotPart{readUnfinished, readFinished}, more...))
}

// Look is Snapshot without Events: some statements that take a millisecond each.
func (s *Reader) Look(ctx context.Context) (Snapshot, error) { return s.snapshot(ctx, nil) }

func (s *Reader) snapshot(ctx context.Context, more []SnapshotPart) (Snapshot, error) {
	v := Snapshot{Events: []EventCount{}, Pauses: []Pause{}, Workers: []Worker{}} // not null, in JSON
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, selectServer).Scan(&v.At, &v.ReadOnly); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, boundLocks); err != nil {
			return err
		}
		for _, part := range append([]SnapshotPart{readLocks, readFleet, readReplays, readLost}, more...) {
			if err := part(ctx, tx, &v); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
	case FaultOf(err) == Locked && !v.At.IsZero():
		v.Left = string(Locked)
	default:
		return Snapshot{}, fmt.Errorf("outbox: snapshot: %w", err)
	}
	slices.SortFunc(v.Events, func(a, b EventCount) int {
		return strings.Compare(a.ObjectType+"\x00"+string(a.Status), b.ObjectType+"\x00"+string(b.Status))
	})
	return v, nil
}

// ObjectTypes are those that it names, sorted.
func (v *Snapshot) ObjectTypes() (list []string) {
	for _, e := range v.Events {
		list = append(list, e.ObjectType)
	}
	for _, p := range v.Pauses {
		list = append(list, p.ObjectType)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(t string) bool { return t == "" || t == Account })
}

// boundLocks bounds how long a lock is waited for. lockLasts is how long others have waited for one that is shown.
const (
	boundLocks = `SET LOCAL lock_timeout = '1s'`
	lockLasts  = time.Second
)

const (
	// Of a transaction that only reads transaction_read_only would say nothing. It takes no lock on a table of ours.
	selectServer = `SELECT now(), pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool`
	// Who is in nobody's way but holds up others, and holds a lock on a table of ours. waitstart is null for a moment,
	// and before PostgreSQL 14 there is none.
	selectLocks = `
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
	selectOpenByWorker = `
SELECT worker, count(*), coalesce(sum(cardinality(event_ids)), 0)::bigint, max(lease_until)
FROM attempt WHERE closed_at IS NULL
GROUP BY worker ORDER BY worker`
	selectReplays = `
SELECT id, state, events, events - replayed - skipped - held, failures, coalesce(failure, '') FROM replay_job
WHERE state IN ('running', 'paused') ORDER BY id`
)

func readLocks(ctx context.Context, tx pgx.Tx, s *Snapshot) error {
	rows, err := tx.Query(ctx, selectLocks, lockLasts)
	if err != nil {
		return err
	}
	s.Locks, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Lock])
	return err
}

func readFleet(ctx context.Context, tx pgx.Tx, s *Snapshot) (err error) {
	if s.Workers, err = readWorkers(ctx, tx); err != nil {
		return err
	}
	if s.Pauses, err = readPauses(ctx, tx); err != nil {
		return err
	}
	quota, ok, err := quotaState(ctx, tx, QuotaAccount)
	if ok && quota.Calls > 0 {
		s.Quota = &quota
	}
	return err
}

func readReplays(ctx context.Context, tx pgx.Tx, s *Snapshot) error {
	rows, err := tx.Query(ctx, selectReplays)
	if err != nil {
		return err
	}
	s.Replays, err = pgx.CollectRows(rows, pgx.RowToStructByPos[OpenReplay])
	return err
}

func readLost(ctx context.Context, tx pgx.Tx, s *Snapshot) error {
	rows, err := tx.Query(ctx, selectOpenByWorker)
	if err != nil {
		return err
	}
	open, err := pgx.CollectRows(rows, pgx.RowToStructByPos[LostCalls])
	for _, calls := range open {
		if !slices.ContainsFunc(s.Workers, func(w Worker) bool { return w.Alive && w.Name == calls.Worker }) {
			s.Lost = append(s.Lost, calls)
		}
	}
	return err
}
