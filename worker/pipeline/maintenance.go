package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"crmintake/outbox"
	"crmintake/worker"
)

// tickEvery is how often the worker looks for what others left: leases that ran out, rows that are due; and, beside that,
// pauses.
const tickEvery = time.Second

// expireBatch is how many attempts one statement closes.
const expireBatch = 10

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

// grace says which leases may be taken for run out. Only runMaintenance uses it.
type grace struct {
	answered time.Time // since when the database answers, but for moments; zero: it has not yet
	failing  time.Time // since when beats fail; zero: they don't
}

// beat is told of one that began then, and has ended now.
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

// over tells how long ago a lease must have run out to be taken; false: none may be.
func (g *grace) over(database *failureLog) (ago time.Duration, ok bool) {
	switch {
	case database.calm(outageGrace):
		return 0, true
	case time.Since(g.answered) >= mostGrace:
		return mostGrace, true
	}
	return 0, false
}

// runMaintenance does what has to be done now and then.
func (w *Worker) runMaintenance(ctx, writes context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		err := w.tick(writes)
		if err == nil {
			w.database.worked()
		} else if ctx.Err() == nil {
			w.databaseFailed(err)
		}
		select {
		case <-ctx.Done():
			return w.leave(writes)
		case <-tick.C:
		}
	}
}

// leave says that this worker is no more; if that fails, its silence does.
func (w *Worker) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = w.store.Fleet.Deregister(ctx, w.cfg.Name)
	return nil
}

// tick is one look at the database.
func (w *Worker) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	began := time.Now()
	err := w.store.Fleet.Heartbeat(ctx, w.cfg.Name, w.calls.capacity(w.cfg.InFlight, w.cfg.Batch.Size), w.tell())
	w.grace.beat(began, err)
	if err != nil {
		return err
	}
	if ago, ok := w.grace.over(w.database); ok {
		if err := w.expire(ctx, ago); err != nil {
			return err
		}
	}
	w.feedReplays(ctx)
	if err := w.endAged(ctx); err != nil {
		return err
	}
	due, err := w.store.Schedule.Due(ctx)
	if err != nil {
		return err
	}
	var ours []outbox.Due
	for _, d := range due {
		if d.Unknown && w.cfg.IDProperty[d.ObjectType] == "" {
			if err := w.parkUnknown(ctx, d.ObjectType); err != nil {
				return err
			} // what is left was sent with an id property, before the settings were changed
		}
		if d.Retry || d.Unknown {
			ours = append(ours, d)
		}
	}
	w.due.set(ours)
	w.wakeUp()
	return nil
}

// expire finds the calls of workers that did not report, and whose lease ran out so long ago.
func (w *Worker) expire(ctx context.Context, ago time.Duration) error {
	for {
		expired, err := w.store.Leases.Expire(ctx, expireBatch, ago, restartGrace)
		if err != nil {
			return err
		}
		for _, e := range expired {
			w.metrics.leasesLost.Inc()
			if !e.Read {
				w.metrics.ended(outbox.Unknown, "", e.Rows)
			}
			w.log.Warn("a worker did not report in time; what became of its call is found out", "attempt", e.ID, "worker", e.Worker,
				"object_type", e.ObjectType, "events", e.Rows, "read", e.Read)
		}
		if len(expired) < expireBatch {
			return nil
		}
	}
}

// statementTimeout bounds one try at the database: so long, and the connection is taken for dead.
const statementTimeout = 15 * time.Second

// dataTries is how often is tried what the database refuses for its content: for a second or two, so that who begins
// anew then is no storm.
const dataTries = 8

// retryWrite repeats what do does in the database until it works, or the lease is lost, or a record is another's, or ctx
// ends. Once patience has ended, a failure is final; and so is one of the data after dataTries.
func (w *Worker) retryWrite(patience, ctx context.Context, do func(context.Context) error) error {
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(3*time.Second),
		backoff.WithMaxElapsedTime(0))
	for waits, refused := false, 0; ; {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, statementTimeout)
			defer cancel()
			return do(ctx)
		}()
		switch {
		case err == nil:
			w.database.worked()
			return nil
		case errors.Is(err, outbox.ErrLeaseLost), errors.Is(err, outbox.ErrRecordTaken), ctx.Err() != nil, patience.Err() != nil:
			return err
		}
		if !w.databaseFailed(err) {
			if refused++; refused == dataTries {
				return err
			}
		} else if !waits {
			waits = true
			defer w.database.wait()() // once
		}
		if !sleep(patience, retry.NextBackOff()) && ctx.Err() != nil {
			return err
		}
	}
}

// logAttempt writes the one wide line of an attempt: for machines at debug level, and louder when something went wrong,
// unless that only repeats itself. It holds no word of an event's.
func (w *Worker) logAttempt(b *attempt, call *worker.Call, tally outbox.Call, inputs int) {
	level := slog.LevelDebug
	if tally.Created < inputs && inputs > 0 && !w.told(b, tally.NotApplied == inputs) {
		level = slog.LevelInfo
	}
	w.log.LogAttrs(context.Background(), level, "call", slog.Any("attempt", b.ID), slog.String("object_type", b.ObjectType),
		slog.String("kind", b.kindName()), slog.Int("inputs", inputs), slog.Int("created", tally.Created), slog.Int("rejected", tally.Rejected),
		slog.Int("not_applied", tally.NotApplied), slog.Int("unknown", tally.Unknown), slog.Int("status", call.Status),
		slog.String("correlation_id", call.CorrelationID), slog.Duration("duration", call.Duration), slog.String("detail", call.ForLog()))
}

// told tells whether a line of its own has said already why calls come to nothing, as this one did, and another will
// say that they do not any more.
func (w *Worker) told(b *attempt, nothing bool) bool {
	return nothing && (w.calling.lasting() > 0 || len(b.trials) > 0)
}
