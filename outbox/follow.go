package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ifFollowed begins the expression for attempt.followed of an attempt that is being closed.
const ifFollowed = `CASE WHEN EXISTS (SELECT FROM follow WHERE one AND until > now()) THEN`

const (
	// followPace is how often somebody who follows looks.
	followPace = 300 * time.Millisecond
	// followFor is how long attempts go on telling their rows after the last word of somebody who follows.
	followFor = 2 * time.Minute
)

const (
	follow = `
INSERT INTO follow AS f (one, until) VALUES (true, now() + $1::interval)
ON CONFLICT (one) DO UPDATE SET until = greatest(f.until, excluded.until) RETURNING now()`

	// What is visible once this was asked holds all that was committed under an earlier now(): whoever has such a now()
	// and is not in the list of the active has ended. Where another role hides what it does, and against a transaction
	// that is left open for hours, a bound that is far above what a worker's transaction takes has to do. The second is
	// for those that have their now() and are not in the list yet.
	horizon = `
SELECT greatest(least(now(), min(xact_start), CASE WHEN bool_or(query = '<insufficient privilege>') THEN now() - interval '1 minute' END),
  now() - interval '5 minutes') - interval '1 second'
FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`

	// What has been told is left out here and not there: a list of it would be compared with each row.
	followAttempts = `SELECT id, closed_at FROM attempt WHERE followed IS NOT NULL AND closed_at >= $1 ORDER BY closed_at, id`
	followRows     = `SELECT followed FROM attempt WHERE id = $1`
	followDead     = `SELECT event_id, dead_at FROM event WHERE dead_at IS NOT NULL AND dead_at >= $1 ORDER BY dead_at, event_id`
)

// Follow calls tell for what becomes of events from now on, in about the order in which it does, until ctx ends (then
// it returns nil) or tell returns an error. began is called once when outcomes are noticed. A row is told each time
// that a call or a read of it has ended, and when it becomes dead without one; what two of them in quick succession
// made of it is told once, as it stands then. What persons do is not told. None is missed, but for a worker's commit
// that takes more than five minutes.
//
// Only f's Status and ObjectType count. While somebody follows, attempts keep the ids of their events.
func (s *Reader) Follow(ctx context.Context, f ListFilter, began func(), tell func(Record) error) error {
	w := follower{read: s, filter: ListFilter{Status: f.Status, ObjectType: f.ObjectType}, tell: tell,
		attempts: map[uuid.UUID]time.Time{}, dead: map[string]time.Time{}}
	err := w.run(ctx, began)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("outbox: follow: %w", err)
	}
	return nil
}

// follower looks at the same stretch of time again until nothing can be added to it, and remembers what it has told of
// it.
type follower struct {
	read     *Reader
	filter   ListFilter
	tell     func(Record) error
	from     time.Time // before it, all has been told
	attempts map[uuid.UUID]time.Time
	dead     map[string]time.Time
}

func (w *follower) run(ctx context.Context, began func()) error {
	var said time.Time
	tick := time.NewTicker(followPace)
	defer tick.Stop()
	for {
		if time.Since(said) > followFor/4 {
			var now time.Time
			if err := w.read.pool.QueryRow(ctx, follow, followFor).Scan(&now); err != nil {
				return err
			}
			if said.IsZero() {
				w.from = now
				began()
			}
			said = time.Now()
		}
		if err := w.round(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (w *follower) round(ctx context.Context) error {
	var until time.Time
	if err := w.read.pool.QueryRow(ctx, horizon).Scan(&until); err != nil {
		return err
	}
	if err := w.look(ctx); err != nil {
		return err
	}
	if until.After(w.from) {
		w.from = until
		forget(w.attempts, until)
		forget(w.dead, until)
	}
	return nil
}

func forget[K comparable](told map[K]time.Time, before time.Time) {
	maps.DeleteFunc(told, func(_ K, at time.Time) bool { return at.Before(before) })
}

// look tells what there is from w.from on and has not been told.
func (w *follower) look(ctx context.Context) error {
	attempts, err := fresh(ctx, w, followAttempts, w.attempts)
	if err != nil {
		return err
	}
	for _, id := range attempts {
		var rows []string
		if err := w.read.pool.QueryRow(ctx, followRows, id).Scan(&rows); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		// A row that another attempt has taken since is told with that one. What is dead is told below.
		if err := w.tellAll(ctx, rows, func(r Record) bool { return r.AttemptID == id && r.Status != Dead }); err != nil {
			return err
		}
	}
	dead, err := fresh(ctx, w, followDead, w.dead)
	if err != nil {
		return err
	}
	return w.tellAll(ctx, dead, func(r Record) bool { return r.Status == Dead })
}

// fresh asks for keys with their times, and returns those that were not told yet, which from now on they are.
func fresh[K comparable](ctx context.Context, w *follower, sql string, told map[K]time.Time) (list []K, err error) {
	rows, err := w.read.pool.Query(ctx, sql, w.from)
	if err != nil {
		return nil, err
	}
	var key K
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&key, &at}, func() error {
		if before, ok := told[key]; !ok || !before.Equal(at) {
			told[key] = at
			list = append(list, key)
		}
		return nil
	})
	return list, err
}

func (w *follower) tellAll(ctx context.Context, ids []string, wanted func(Record) bool) error {
	for part := range slices.Chunk(ids, 1000) {
		records, err := w.read.records(ctx, part, w.filter)
		if err != nil {
			return err
		}
		for _, r := range records {
			if !wanted(r) {
				continue
			}
			if err := w.tell(r); err != nil {
				return err
			}
		}
	}
	return nil
}
