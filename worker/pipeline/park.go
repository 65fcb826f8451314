package pipeline

import (
	"context"

	"crmintake/outbox"
)

// parkBatch is how many rows in doubt are parked by one statement.
const parkBatch = 1000

// parkUnknown settles rows in doubt of an object type without an id property that nothing can be asked about, as
// Config.OnUnknown and OnUnknownOf say.
func (m *maintenance) parkUnknown(ctx context.Context, objectType string) error {
	var how *outbox.Resend
	if r := m.cfg.Retry; m.cfg.onUnknown(objectType) == Resend {
		how = &outbox.Resend{Attempts: r.Attempts, Age: r.Age, Waits: r.waits()}
	}
	for {
		dead, again, err := m.store.Schedule.Park(ctx, objectType, how, parkBatch)
		if err != nil {
			return err
		}
		if again > 0 {
			m.metrics.ended(outbox.Retry, "", again)
			m.metrics.reconciliations.WithLabelValues("resent").Add(float64(again))
			m.log.Warn("events whose outcome is unknown are sent again: they may exist twice then",
				"object_type", objectType, "events", again)
		}
		if dead > 0 {
			m.metrics.ended(outbox.Dead, outbox.UnknownOutcome, dead)
			m.metrics.reconciliations.WithLabelValues("parked").Add(float64(dead))
			m.log.Warn("events whose outcome is unknown are dead letters: nothing tells whether their records exist",
				"object_type", objectType, "events", dead)
		}
		if dead+again < parkBatch {
			return nil
		}
	}
}
