package outbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Fleet is the list of the workers.
type Fleet struct{ pool *Pool }

// Worker is one of the fleet. Times are by the database's clock.
type Worker struct {
	Name      string        `json:"name"`
	StartedAt time.Time     `json:"started_at"`
	SeenAt    time.Time     `json:"seen_at"` // its last heartbeat
	Silent    time.Duration `json:"-"`       // since then
	Alive     bool          `json:"alive"`   // silent for less than SilentAfter
	Capacity
	Told `json:"told"` // with its last heartbeat
}

// SilentAfter is without how many heartbeats, of one a second, a worker is not counted on any more: ten.
const SilentAfter = 10 * time.Second

// Capacity is what a worker could do if there were no quota, and enough to do.
type Capacity struct {
	Batch int     `json:"batch_size"`        // events that a call takes
	Rate  float64 `json:"events_per_second"` // 0 while that is not known
}

// Told is what a worker says of itself with each beat: its settings, and what is in its way. Times are by its own
// clock when it is told, and by the database's when it is read.
type Told struct {
	At       time.Time           `json:"at,omitzero"`        // now
	Settings map[string]string   `json:"settings,omitempty"` // alike for all workers; by their flags' names
	Done     time.Time           `json:"done,omitzero"`      // when it last committed what a call came to
	CRM      *Trouble            `json:"crm,omitempty"`
	Database *Trouble            `json:"database,omitempty"` // of some statements: this one went well
	Stream   *Trouble            `json:"stream,omitempty"`
	Reads    map[string]*Trouble `json:"reads,omitempty"` // by object type: its reads are refused
}

// Trouble is what keeps a worker from its work.
type Trouble struct {
	Kind  string    `json:"kind,omitempty"` // of the CRM one of those below, of the database a Fault
	Why   string    `json:"why,omitempty"`  // what the last error or answer said, without values of events
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`  // when it is tried again
	Times int       `json:"times,omitempty"` // calls in a row that came to nothing
}

// Kinds of trouble with the CRM.
const (
	Unreachable = "unreachable" // no call gets there
	Silent      = "silent"      // calls get there, and no answer comes back
	Broken      = "broken"      // it answers with faults of its own
	Throttling  = "throttling"  // it wants fewer calls
)

// By takes the times of what was told for those of another clock, which showed at then.
func (t *Told) By(at time.Time) {
	shift := at.Sub(t.At)
	troubles := append(slices.Collect(maps.Values(t.Reads)), t.CRM, t.Database, t.Stream)
	times := []*time.Time{&t.Done}
	for _, one := range troubles {
		if one != nil {
			times = append(times, &one.Since, &one.Until)
		}
	}
	for _, one := range times {
		if !one.IsZero() {
			*one = one.Add(shift)
		}
	}
	t.At = at
}

// forgotten is after how long a silent worker is not listed any more.
const forgotten = 24 * time.Hour

const beat = `
WITH gone AS (DELETE FROM worker WHERE seen_at < now() - $2::interval AND name <> $1)
INSERT INTO worker (name, batch_size, events_per_second, told) VALUES ($1, $3, $4, $5)
ON CONFLICT (name) DO UPDATE SET seen_at = now(), batch_size = excluded.batch_size,
  events_per_second = excluded.events_per_second, told = excluded.told`

// Heartbeat says that a worker is there, what it could do, and what is in its way. No lease hangs on it: it is for
// people and for counting.
func (s *Fleet) Heartbeat(ctx context.Context, name string, c Capacity, told Told) error {
	if _, err := s.pool.Exec(ctx, beat, text(name), forgotten, c.Batch, c.Rate, told); err != nil {
		return fmt.Errorf("outbox: heartbeat: %w", err)
	}
	return nil
}

// Deregister takes a worker that ends out of the list.
func (s *Fleet) Deregister(ctx context.Context, name string) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM worker WHERE name = $1`, text(name)); err != nil {
		return fmt.Errorf("outbox: heartbeat: %w", err)
	}
	return nil
}

// ListWorkers is what ScanWorker reads: the fleet, by name.
const ListWorkers = `
SELECT name, started_at, seen_at, now() - seen_at, batch_size, events_per_second, told FROM worker ORDER BY name`

// List lists the fleet, by name. Those that were killed are in it, silent, for a day.
func (s *Fleet) List(ctx context.Context) ([]Worker, error) {
	list, err := readWorkers(ctx, s.pool)
	if err != nil {
		return nil, fmt.Errorf("outbox: workers: %w", err)
	}
	return list, nil
}

func readWorkers(ctx context.Context, q querier) ([]Worker, error) {
	rows, err := q.Query(ctx, ListWorkers)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, ScanWorker)
}

// ScanWorker reads a row of ListWorkers.
func ScanWorker(r pgx.CollectableRow) (w Worker, err error) {
	err = r.Scan(&w.Name, &w.StartedAt, &w.SeenAt, &w.Silent, &w.Batch, &w.Rate, &w.Told)
	w.Alive = w.Silent < SilentAfter
	w.Told.By(w.SeenAt)
	return w, err
}
