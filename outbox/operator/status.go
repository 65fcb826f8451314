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
	Quota   *QuotaUse     `json:"quota,omitempty"` // nil while no call was ever made under a quota
	Pauses  []Pause       `json:"pauses"`
	Workers []WorkerState `json:"workers"`

	ReadOnly bool         `json:"read_only,omitempty"`   // the database takes no writes
	Locks    []Lock       `json:"locks,omitempty"`       // on tables of the outbox, that others have waited for
	Lost     []LostCalls  `json:"lost_calls,omitempty"`  // of Calls, those of workers that are not alive
	Replays  []OpenReplay `json:"replays,omitempty"`     // that have not ended
	Groups   []Group      `json:"dead_groups,omitempty"` // of the dead, the largest one
	Left     string       `json:"left_out,omitempty"`    // why some of all this is not there: a lock was in the way
}

// Events is how many rows of an object type are in a status.
type Events struct {
	ObjectType string        `json:"object_type"`
	Status     outbox.Status `json:"status"`
	Events     int64         `json:"events"`
	// Estimated says that Events comes from what the database believes of a large table. Rows that were discarded count
	// as created then, and an object type may be missing whose rows are few.
	Estimated bool `json:"estimated,omitempty"`
	// Oldest is for `sending` when the first of its calls began, for `retry` and `unknown` when the first of the events
	// came, for `dead` since when the first is dead, and else zero.
	Oldest time.Time `json:"oldest,omitzero"`
	// Next is for `retry` and `unknown` when the first of them is due.
	Next time.Time `json:"next,omitzero"`
}

// Calls are those under way, those of workers that died and whose lease has not run out included.
type Calls struct {
	Create int       `json:"create"`
	Read   int       `json:"read"`
	Oldest time.Time `json:"oldest,omitzero"`
}

// QuotaUse is the quota of the fleet at this moment, as the last worker that asked for it was told.
type QuotaUse struct {
	Calls  int    `json:"calls"`  // allowed in any Window
	Window string `json:"window"` // as Go writes durations: 10s
	// of these, what the fleet makes: less what is reserved, what others use, and what caution takes
	Effective    int       `json:"effective"`
	Used         int       `json:"used"`
	Others       int       `json:"others"` // calls that other apps made in the window, as far as the CRM tells
	Left         int       `json:"left"`
	BlockedUntil time.Time `json:"blocked_until,omitzero"` // the CRM asked for no call before
	BlockedWhy   string    `json:"blocked_why,omitempty"`
	UsedToday    int       `json:"used_today"`          // by the fleet, since midnight in the account's zone
	DayLimit     int       `json:"day_limit,omitempty"` // what the fleet may use of a day; 0 for any number
	DayMax       *int      `json:"day_max,omitempty"`   // the account's day and what is left of it, as the CRM told last
	DayLeft      *int      `json:"day_left,omitempty"`
}

// WorkerState is one of the fleet.
type WorkerState struct {
	Name      string    `json:"name"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	Alive     bool      `json:"alive"`
	BatchSize int       `json:"batch_size"`
	Rate      float64   `json:"events_per_second"` // what it could create with no quota; 0 while that is not known

	Told outbox.Told `json:"told"` // by itself; it may be silent since
}

const (
	statusAttempts = `
SELECT object_type, kind, count(*), coalesce(sum(cardinality(event_ids)), 0)::bigint, min(started_at)
FROM attempt WHERE closed_at IS NULL GROUP BY object_type, kind`
	statusRetry = `
SELECT object_type, count(*), min(received_at), min(next_attempt_at) FROM event
WHERE next_attempt_at IS NOT NULL AND misses IS NULL GROUP BY object_type`
	statusUnknown = `
SELECT object_type, count(*), min(received_at), min(next_attempt_at) FROM event
WHERE next_attempt_at IS NOT NULL AND misses IS NOT NULL GROUP BY object_type`
	statusDead = `
SELECT object_type, count(*), min(dead_at), NULL::timestamptz FROM event WHERE dead_at IS NOT NULL GROUP BY object_type`
	statusSize = `SELECT pg_relation_size('event')`
	// By a scan, which no connection of the outbox does by itself.
	statusDone = `
SELECT object_type, status, sum(n)::bigint FROM (
  SELECT object_type, coalesce(status, 'created') AS status, count(*) AS n FROM event
  WHERE status IS NULL OR status IN ('created', 'discarded') GROUP BY object_type, status
  UNION ALL -- compact rows that are still in a call
  SELECT object_type, 'created', -sum(cardinality(event_ids)) FROM attempt WHERE closed_at IS NULL
    AND payloads IS NOT NULL GROUP BY object_type) c
GROUP BY object_type, status HAVING sum(n) > 0`
	// The live rows as the database counts them along, or as they were when it last looked; and the share of each
	// object type in the sample that it keeps.
	statusEstimate = `
SELECT t.object_type, round(t.share * n.rows)::bigint
FROM (SELECT greatest(c.reltuples::float8, coalesce(pg_stat_get_live_tuples(c.oid), 0)::float8, 0) AS rows
      FROM pg_class c WHERE c.oid = 'event'::regclass) n,
  (SELECT unnest(most_common_vals::text::text[]) AS object_type, unnest(most_common_freqs) AS share
   FROM pg_stats WHERE schemaname = current_schema() AND tablename = 'event' AND attname = 'object_type') t`
	statusAnyType = `
SELECT '', greatest(reltuples::float8, coalesce(pg_stat_get_live_tuples(oid), 0)::float8, 0)::bigint FROM pg_class
  WHERE oid = 'event'::regclass`
)

// Status tells how things stand. It counts what is not done through indexes that hold little else; what is created is
// counted while the table is small and estimated from then on, so that the cost does not grow with it. What somebody's
// lock keeps from it for a second it leaves out.
func (o *Operator) Status(ctx context.Context) (Status, error) {
	return o.status(ctx, unfinished, finished, why)
}

// Look is Status without Events and Groups: some statements that take a millisecond each.
func (o *Operator) Look(ctx context.Context) (Status, error) { return o.status(ctx) }

func (o *Operator) status(ctx context.Context, count ...func(context.Context, pgx.Tx, *Status) error) (s Status,
	err error) {
	s.Events, s.Pauses, s.Workers = []Events{}, []Pause{}, []WorkerState{} // not null, in JSON
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, o.pool, options, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, statusServer).Scan(&s.At, &s.ReadOnly); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, lockWait); err != nil {
			return err
		}
		for _, part := range append([]func(context.Context, pgx.Tx, *Status) error{whoLocks, whoWorks, whatPauses,
			whatReplays, whatIsLost}, count...) {
			if err := part(ctx, tx, &s); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.Quota, err = o.quotaUse(ctx, s.At)
	}
	switch {
	case err == nil:
	case outbox.FaultOf(err) == outbox.Locked && !s.At.IsZero():
		s.Left = string(outbox.Locked)
	default:
		return Status{}, fmt.Errorf("operator: status: %w", err)
	}
	slices.SortFunc(s.Events, func(a, b Events) int {
		return strings.Compare(a.ObjectType+"\x00"+string(a.Status), b.ObjectType+"\x00"+string(b.Status))
	})
	return s, nil
}

// ObjectTypes are those that it names.
func (s *Status) ObjectTypes() (list []string) {
	for _, e := range s.Events {
		list = append(list, e.ObjectType)
	}
	for _, p := range s.Pauses {
		list = append(list, p.ObjectType)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(t string) bool { return t == "" || t == outbox.Account })
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
	if x.Next.IsZero() {
		x.Next = e.Next
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
		var next *time.Time
		_, err = pgx.ForEachRow(rows, []any{&objectType, &n, &oldest, &next}, func() error {
			e := Events{ObjectType: objectType, Status: q.status, Events: n, Oldest: oldest}
			if next != nil {
				e.Next = *next
			}
			s.add(e)
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
	if size > outbox.CountedBytes {
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

// quotaUse is how the quota stands, at about that time.
func (o *Operator) quotaUse(ctx context.Context, at time.Time) (*QuotaUse, error) {
	q, known, err := o.store.Quota.State(ctx, outbox.QuotaAccount)
	if err != nil || !known || q.Calls == 0 {
		return nil, err
	}
	u := &QuotaUse{
		Calls: q.Calls, Window: q.Window.String(), Effective: q.Effective, Used: q.Used, Others: q.Others,
		Left:      max(q.Effective-q.Used, 0),
		UsedToday: q.UsedToday, DayLimit: q.DayLimit, DayMax: q.DayMax, DayLeft: q.DayLeft,
	}
	if q.BlockedFor > 0 {
		u.BlockedUntil, u.BlockedWhy, u.Left = at.Add(q.BlockedFor), q.BlockedWhy, 0
	}
	return u, nil
}
