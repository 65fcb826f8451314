package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
)

// expireBatch is how many attempts one statement closes.
const expireBatch = 10

// rescuer finds calls whose lease ran out. maintenance's goroutine has it.
type rescuer struct {
	*parts
	grace grace
}

// expire leaves to be found out what became of the calls of workers that did not report before their lease ran out.
func (r *rescuer) expire(ctx context.Context) error {
	ago, ok := r.grace.over(r.database)
	if !ok {
		return nil
	}
	for {
		expired, err := r.store.Leases.Expire(ctx, expireBatch, ago, restartGrace)
		if err != nil {
			return err
		}
		for _, e := range expired {
			r.metrics.leasesLost.Inc()
			if !e.Read {
				r.metrics.ended(outbox.Unknown, "", e.Rows)
			}
			r.log.Warn("a worker did not report in time; what became of its call is found out", "attempt", e.ID,
				"worker", e.Worker,
				"object_type", e.ObjectType, "events", e.Rows, "read", e.Read)
		}
		if len(expired) < expireBatch {
			return nil
		}
	}
}

// The last to commit what a call came to, after the database was away, is a try that hung until its timeout. Until then
// the leases that ran out meanwhile are left alone.
const (
	outageGrace  = statementTimeout + 5*time.Second // after a failure that this worker has seen
	restartGrace = 10 * time.Second                 // after a start of the database: tries end at once then
	// mostGrace bounds it where failures go on: a lease that ran out so long ago is taken if the database has answered
	// all the while.
	mostGrace = 3 * outageGrace
	// silence is for how long beats fail that tell of more than a connection that broke.
	silence = 5 * time.Second
)

// grace decides which leases may be taken for run out.
type grace struct {
	answered time.Time // since when the database answers, but for moments; zero: it has not yet
	failing  time.Time // since when beats fail; zero: they don't
}

// beat notes a heartbeat that began then, and has ended now.
func (g *grace) beat(began time.Time, err error) {
	switch {
	case err != nil && g.failing.IsZero():
		g.failing = began
	case err == nil:
		if g.answered.IsZero() || !g.failing.IsZero() && time.Since(g.failing) > silence {
			g.answered = time.Now()
		}
		g.failing = time.Time{}
	}
}

// over is how long ago a lease must have run out to be taken; false: none may be.
func (g *grace) over(database *failureLog) (ago time.Duration, ok bool) {
	switch {
	case database.calm(outageGrace):
		return 0, true
	case time.Since(g.answered) >= mostGrace:
		return mostGrace, true
	}
	return 0, false
}
