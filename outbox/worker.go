package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Worker is one of the fleet.
type Worker struct {
	Name      string
	StartedAt time.Time
	Silent    time.Duration // since it was last heard of, by the database's clock
	Capacity
}

// Capacity is what a worker could do if there were no quota, and enough to do.
type Capacity struct {
	Batch int     // events that a call takes
	Rate  float64 // events a second; 0 while that is not known
}

// forgotten is after how long a silent worker is not listed any more.
const forgotten = 24 * time.Hour

const beat = `
WITH gone AS (DELETE FROM worker WHERE seen_at < now() - $2::interval AND name <> $1)
INSERT INTO worker (name, batch_size, events_per_second) VALUES ($1, $3, $4)
ON CONFLICT (name) DO UPDATE SET seen_at = now(), batch_size = excluded.batch_size, events_per_second = excluded.events_per_second`

// Beat says that a worker is there, and what it could do. No lease hangs on it: it is for people and for counting.
func (s *Store) Beat(ctx context.Context, name string, c Capacity) error {
	if _, err := s.pool.Exec(ctx, beat, text(name), forgotten, c.Batch, c.Rate); err != nil {
		return fmt.Errorf("outbox: heartbeat: %w", err)
	}
	return nil
}

// Leave takes a worker that ends out of the list.
func (s *Store) Leave(ctx context.Context, name string) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM worker WHERE name = $1`, text(name)); err != nil {
		return fmt.Errorf("outbox: heartbeat: %w", err)
	}
	return nil
}

// Workers lists the fleet, by name. Those that were killed are in it, silent, for a day.
func (s *Store) Workers(ctx context.Context) ([]Worker, error) {
	rows, err := s.pool.Query(ctx, `SELECT name, started_at, now() - seen_at, batch_size, events_per_second FROM worker ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("outbox: workers: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Worker])
	if err != nil {
		return nil, fmt.Errorf("outbox: workers: %w", err)
	}
	return list, nil
}
