package pipeline

import (
	"context"

	"crmintake/outbox"
	"crmintake/worker"
)

// refreshDoubt learns which events are to be asked about before they are sent though they are new: the outbox lost
// commits, and may have known them.
func (f *follower) refreshDoubt(ctx context.Context) error {
	until, err := f.store.Batches.NewInDoubt(ctx)
	if err != nil {
		return err
	}
	if before := f.newUntil.Swap(&until); before == nil && !until.IsZero() || before != nil && !until.Equal(*before) {
		f.log.Info("events that are new to the outbox are asked about before they are sent, if they were published before",
			"until", until)
	}
	return nil
}

// inDoubt reports whether an event is asked about before it is sent, though it is new.
func (in *intake) inDoubt(e *worker.Event) bool {
	until := in.newUntil.Load()
	return until != nil && e.Published.Before(*until)
}

// acceptInDoubt commits events in doubt without a call, and acks them.
func (in *intake) acceptInDoubt(ctx, writes context.Context, items []*item) {
	in.keep(items, func(items []*item) error {
		events := make([]outbox.Event, len(items))
		for k, i := range items {
			events[k] = rowOf(i)
		}
		var fresh int
		var reused []int
		if err := in.retry.write(ctx, writes, func(ctx context.Context) (err error) {
			fresh, reused, err = in.store.Batches.Accept(ctx, events, in.cfg.IDProperty)
			return err
		}); err != nil {
			return err
		}
		in.metrics.ended(outbox.Unknown, "", fresh)
		in.metrics.duplicates.Add(float64(len(events) - fresh - len(reused)))
		if len(reused) == 0 {
			return nil
		}
		letters := make([]outbox.DeadLetter, len(reused))
		for k, at := range reused {
			letters[k] = reuse(outbox.DeadLetter{Event: events[at], Reason: outbox.IDReused})
		}
		return in.dead.insert(ctx, writes, letters)
	}, false)
}
