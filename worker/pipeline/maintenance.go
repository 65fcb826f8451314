package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// tickEvery is how often the worker looks for what others left: leases that ran out, rows that are due; and, beside
// that, pauses.
const tickEvery = time.Second

// maintenance does what has to be done now and then. It has one goroutine.
type maintenance struct {
	*parts
	rescuer   *rescuer
	replays   *operator.Feeder
	replaying *failureLog
	agedAt    time.Time // when this worker last looked for what became too old in a pause
}

// run does what has to be done now and then.
func (m *maintenance) run(ctx, writes context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		err := m.tick(writes)
		if err == nil {
			m.database.worked()
		} else if ctx.Err() == nil {
			m.retry.failed(err)
		}
		select {
		case <-ctx.Done():
			return m.leave(writes)
		case <-tick.C:
		}
	}
}

// leave takes this worker off the list of those that are there; if that fails, its silence does.
func (m *maintenance) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = m.fleet.Leave(ctx)
	return nil
}

// tick is one look at the database.
func (m *maintenance) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	began := time.Now()
	err := m.fleet.Heartbeat(ctx)
	m.rescuer.grace.beat(began, err)
	if err != nil {
		return err
	}
	if err := m.rescuer.expire(ctx); err != nil {
		return err
	}
	m.feedReplays(ctx)
	if err := m.endAged(ctx); err != nil {
		return err
	}
	due, err := m.store.Schedule.Due(ctx)
	if err != nil {
		return err
	}
	var ours []outbox.Due
	for _, d := range due {
		if d.Unknown && m.cfg.IDProperty[d.ObjectType] == "" {
			if err := m.parkUnknown(ctx, d.ObjectType); err != nil {
				return err
			} // what is left was sent with an id property, before the settings were changed
		}
		if d.Retry || d.Unknown {
			ours = append(ours, d)
		}
	}
	m.due.set(ours)
	m.wakeUp()
	return nil
}
