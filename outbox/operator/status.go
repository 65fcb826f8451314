package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Status is how things stand, all of it at one moment.
type Status struct {
	At      time.Time     `json:"at"` // by the database's clock, as all times are
	Events  []Events      `json:"events"`
	Calls   Calls         `json:"calls_in_flight"`
	Quota   *QuotaUse     `json:"quota,omitempty"` // nil while no call was ever made under a quota, or without one
	Pauses  []Pause       `json:"pauses"`
	Workers []WorkerState `json:"workers"`
}

// Events is how many rows of an object type are in a status.
type Events struct {
	ObjectType string        `json:"object_type"`
	Status     outbox.Status `json:"status"`
	Events     int64         `json:"events"`
	// Estimated says that Events comes from what the database believes of a large table. Rows that were discarded count as
	// created then, and an object type may be missing whose rows are few.
	Estimated bool `json:"estimated,omitempty"`
	// Oldest is for `sending` when the first of its calls began, for `retry` and `unknown` when the first of the events came,
	// for `dead` since when the first is dead, and else zero.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Calls are those under way, those of workers that died and whose lease has not run out included.
type Calls struct {
	Create int       `json:"create"`
	Read   int       `json:"read"`
	Oldest time.Time `json:"oldest,omitzero"`
}

// QuotaUse is the quota of the fleet at this moment.
type QuotaUse struct {
	Calls        int       `json:"calls"`  // allowed in any Window
	Window       string    `json:"window"` // as Go writes durations: 10s
	Used         int       `json:"used"`
	Left         int       `json:"left"`                   // for the fleet: others may use the account, too
	BlockedUntil time.Time `json:"blocked_until,omitzero"` // the CRM asked for no call before
}

// WorkerState is one of the fleet.
type WorkerState struct {
	Name      string    `json:"name"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	Alive     bool      `json:"alive"`
}

// silentFor is after how long a worker, which says once a second that it is there, is not taken for alive.
const silentFor = 15 * time.Second

// countMost is how large the table may be, in bytes, for its rows to be counted one by one: some tens of milliseconds.
const countMost = 64 << 20

const (
	statusAttempts = `
SELECT object_type, kind, count(*), coalesce(sum(cardinality(event_ids)), 0)::bigint, min(started_at)
FROM attempt WHERE closed_at IS NULL GROUP BY object_type, kind`
	statusRetry = `
SELECT object_type, count(*), min(received_at) FROM outbox WHERE next_attempt_at IS NOT NULL AND misses IS NULL GROUP BY object_type`
	statusUnknown = `
SELECT object_type, count(*), min(received_at) FROM outbox WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL GROUP BY object_type`
	statusDead = `
SELECT object_type, count(*), min(dead_at) FROM outbox WHERE dead_at IS NOT NULL GROUP BY object_type`
	statusSize = `SELECT pg_relation_size('outbox')`
	// By a scan, which no connection of the outbox does by itself.
	statusDone = `
SELECT object_type, status, count(*) FROM outbox WHERE status IN ('created', 'discarded') GROUP BY object_type, status`
	// The live rows as the database counts them along, or as they were when it last looked; and the share of each object type
	// in the sample that it keeps.
	statusEstimate = `
SELECT t.object_type, round(t.share * n.rows)::bigint
FROM (SELECT greatest(c.reltuples::float8, coalesce(pg_stat_get_live_tuples(c.oid), 0)::float8, 0) AS rows
      FROM pg_class c WHERE c.oid = 'outbox'::regclass) n,
  (SELECT unnest(most_common_vals::text::text[]) AS object_type, unnest(most_common_freqs) AS share
   FROM pg_stats WHERE schemaname = current_schema() AND tablename = 'outbox' AND attname = 'object_type') t`
	statusAnyType = `
SELECT '', greatest(reltuples::float8, coalesce(pg_stat_get_live_tuples(oid), 0)::float8, 0)::bigint FROM pg_class WHERE oid = 'outbox'::regclass`
	statusQuota   = `SELECT calls, nullif(blocked_until, '-infinity'), effective, clock_timestamp() FROM quota WHERE account = $1`
	statusWorkers = `SELECT name, started_at, seen_at, seen_at > now() - $1::interval FROM worker ORDER BY name`
)

// Status tells how things stand. It counts what is not done through indexes that hold little else; what is created is
// counted while the table is small and estimated from then on, so that the cost does not grow with it. The
// quota is what the workers were told; with 0 calls there is none.
func (o *Operator) Status(ctx context.Context, quota outbox.Quota) (s Status, err error) {
	s.Events = []Events{} // not null, in JSON
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, o.pool, options, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&s.At); err != nil {
			return err
		}
		for _, part := range []func(context.Context, pgx.Tx, *Status) error{unfinished, finished, whoWorks} {
			if err := part(ctx, tx, &s); err != nil {
				return err
			}
		}
		if err := s.useOf(ctx, tx, quota); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, pauses)
		if err != nil {
			return err
		}
		s.Pauses, err = pgx.CollectRows(rows, scanPause)
		return err
	})
	if err != nil {
		return Status{}, fmt.Errorf("operator: status: %w", err)
	}
	slices.SortFunc(s.Events, func(a, b Events) int {
		return strings.Compare(a.ObjectType+"\x00"+string(a.Status), b.ObjectType+"\x00"+string(b.Status))
	})
	return s, nil
}

// add counts rows, some of which may be counted already.
func (s *Status) add(e Events) {
	i := slices.IndexFunc(s.Events, func(x Events) bool { return x.ObjectType == e.ObjectType && x.Status == e.Status })
	if i < 0 {
		s.Events = append(s.Events, e)
		return
	}
	x := &s.Events[i]
	x.Events += e.Events
	if x.Oldest.IsZero() || !e.Oldest.IsZero() && e.Oldest.Before(x.Oldest) {
		x.Oldest = e.Oldest
	}
}

func unfinished(ctx context.Context, tx pgx.Tx, s *Status) error {
	var objectType, kind string
	var calls int
	var n int64
	var oldest time.Time
	rows, err := tx.Query(ctx, statusAttempts)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&objectType, &kind, &calls, &n, &oldest}, func() error {
		e := Events{ObjectType: objectType, Status: outbox.Sending, Events: n, Oldest: oldest}
		if kind == "read" {
			s.Calls.Read += calls
			e.Status, e.Oldest = outbox.Unknown, time.Time{} // its rows are not due, and so not in the count of those below
		} else {
			s.Calls.Create += calls
		}
		if s.Calls.Oldest.IsZero() || oldest.Before(s.Calls.Oldest) {
			s.Calls.Oldest = oldest
		}
		if n > 0 { // the refused parent of a bisection may have none left
			s.add(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, q := range []struct {
		status outbox.Status
		sql    string
	}{{outbox.Retry, statusRetry}, {outbox.Unknown, statusUnknown}, {outbox.Dead, statusDead}} {
		rows, err := tx.Query(ctx, q.sql)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, []any{&objectType, &n, &oldest}, func() error {
			s.add(Events{ObjectType: objectType, Status: q.status, Events: n, Oldest: oldest})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func finished(ctx context.Context, tx pgx.Tx, s *Status) error {
	var size int64
	if err := tx.QueryRow(ctx, statusSize).Scan(&size); err != nil {
		return err
	}
	if size > countMost {
		return estimate(ctx, tx, s)
	}
	if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = on`); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, statusDone)
	if err != nil {
		return err
	}
	var e Events
	_, err = pgx.ForEachRow(rows, []any{&e.ObjectType, &e.Status, &e.Events}, func() error {
		s.add(e)
		return nil
	})
	return err
}

// estimate takes what is known off what there is.
func estimate(ctx context.Context, tx pgx.Tx, s *Status) error {
	known := map[string]int64{}
	for _, e := range s.Events {
		known[e.ObjectType] += e.Events
		known[""] += e.Events
	}
	var objectType string
	var all int64
	for _, sql := range []string{statusEstimate, statusAnyType} {
		rows, err := tx.Query(ctx, sql)
		if err != nil {
			return err
		}
		tag, err := pgx.ForEachRow(rows, []any{&objectType, &all}, func() error {
			if n := all - known[objectType]; n > 0 {
				s.add(Events{ObjectType: objectType, Status: outbox.Created, Events: n, Estimated: true})
			}
			return nil
		})
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
	}
	return nil
}

func whoWorks(ctx context.Context, tx pgx.Tx, s *Status) error {
	rows, err := tx.Query(ctx, statusWorkers, silentFor)
	if err != nil {
		return err
	}
	s.Workers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[WorkerState])
	return err
}

// useOf is where the state of the quota comes from.
func (s *Status) useOf(ctx context.Context, tx pgx.Tx, q outbox.Quota) error {
	if q.Calls == 0 {
		return nil
	}
	var calls []time.Time
	var blocked *time.Time
	var effective int
	var now time.Time
	err := tx.QueryRow(ctx, statusQuota, q.Account).Scan(&calls, &blocked, &effective, &now)
	if err == pgx.ErrNoRows {
		err = nil
	}
	if err != nil {
		return err
	}
	u := &QuotaUse{Calls: q.Calls, Window: q.Window.String()}
	for _, at := range calls {
		if age := now.Sub(at); age >= 0 && age < q.Window { // some are still to be made
			u.Used++
		}
	}
	u.Left = max(q.Calls-u.Used, 0)
	if effective > 0 { // the rest is others'
		u.Left = max(min(q.Calls, effective)-u.Used, 0)
	}
	if blocked != nil && blocked.After(now) {
		u.BlockedUntil, u.Left = *blocked, 0
	}
	s.Quota = u
	return nil
}
