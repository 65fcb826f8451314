package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
)

// agedEvery is how often, at most, a worker looks for what became too old in a pause; agedBatch is how many rows one
// statement ends.
const (
	agedEvery = time.Minute
	agedBatch = 1000
)

// endAged makes dead letters of what has waited for Config.Retry.Age though calls are paused: it is never called, so
// nobody else would look at its age. A worker that has just started does not: the trial that may end the pause goes
// first.
func (m *maintenance) endAged(ctx context.Context) error {
	now := time.Now()
	if m.agedAt.IsZero() {
		m.agedAt = now
	}
	if now.Sub(m.agedAt) < min(agedEvery, m.cfg.Retry.Age) {
		return nil
	}
	m.agedAt = now
	for {
		list, err := m.store.Schedule.EndAged(ctx, m.cfg.Retry.Age, agedBatch)
		if err != nil {
			return err
		}
		rows := 0
		for _, a := range list {
			rows += a.Rows
			m.metrics.ended(outbox.Dead, a.Reason, a.Rows)
			m.log.Warn("events became too old while calls were paused: they are dead letters",
				"object_type", a.ObjectType, "reason", a.Reason, "events", a.Rows)
		}
		if rows < agedBatch {
			return nil
		}
	}
}
