package main

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// The database's clock steps, so its times tell of no row when it was written. Its transactions have numbers, which
// only grow: ticks tell which number was next at which time.
type tick struct {
	next uint32 // the first transaction that had no number yet
	at   time.Time
}

// tickEach is how exactly times are known.
const tickEach = 50 * time.Millisecond

// keepTicks takes ticks until ctx ends. While the database is away there are none, nor any transactions.
func (c *chaos) keepTicks(ctx context.Context) {
	for ctx.Err() == nil {
		c.keepTicksWhile(ctx)
		pause(ctx, tickEach)
	}
}

// keepTicksWhile takes ticks for as long as a connection lasts.
func (c *chaos) keepTicksWhile(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	conn, err := pgx.Connect(limited, c.stack.DatabaseURL())
	cancel()
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var next int64
		if conn.QueryRow(ctx, `SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint`).Scan(&next) != nil {
			return
		}
		c.ticks = append(c.ticks, tick{uint32(next), time.Now()})
		if !pause(ctx, tickEach) {
			return
		}
	}
}

// timeOf is when a transaction had its number, or up to two ticks later.
func timeOf(ticks []tick, number uint32) time.Time {
	after, _ := slices.BinarySearchFunc(ticks, number, func(t tick, number uint32) int {
		if t.next <= number {
			return -1
		}
		return 1
	})
	return ticks[min(after, len(ticks)-1)].at
}

// creations are the events whose rows are created, each with the transaction that made it so. A row may have its
// outcome from its attempt's.
const creations = `
SELECT e.event_id, (CASE WHEN e.status IS NULL THEN a.xmin ELSE e.xmin END)::text::bigint
FROM event e LEFT JOIN attempt a ON e.status IS NULL AND a.id = e.attempt_id
WHERE e.object_type = $1 AND (e.status = 'created' OR e.status IS NULL AND a.state = 'settled')`

// created lists when the rows of the ordinary events became so, and how long each event had waited for it since it
// was published; both in order.
func (c *chaos) created(ctx context.Context) (at []time.Time, waits []time.Duration, err error) {
	events := ordinary(len(c.sent))
	err = c.query(ctx, creations, func(rows pgx.Rows) error {
		var id string
		var number int64
		if err := rows.Scan(&id, &number); err != nil {
			return err
		}
		when := timeOf(c.ticks, uint32(number))
		at = append(at, when)
		if n, ours := events.number(id); ours {
			waits = append(waits, when.Sub(c.sent[n]))
		}
		return nil
	}, events.objectType)
	slices.SortFunc(at, time.Time.Compare)
	slices.Sort(waits)
	return at, waits, err
}
