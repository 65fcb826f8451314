package pipeline

import (
	"context"
	"fmt"
	"strings"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/event"
)

// deadLetters keeps events that are never sent.
type deadLetters struct{ *parts }

// insert keeps dead letters. One whose id belongs to another event is kept under an id that says so, and says it once
// more if that is taken too, as it may be by a publisher.
func (d *deadLetters) insert(ctx, writes context.Context, letters []outbox.DeadLetter) error {
	for len(letters) > 0 {
		var reused []int
		if err := d.retry.write(ctx, writes, func(ctx context.Context) (err error) {
			reused, err = d.store.Batches.InsertDead(ctx, letters)
			return err
		}); err != nil {
			return err
		}
		d.metrics.ended(outbox.Dead, letters[0].Reason, len(letters)-len(reused)) // all are dead for the same reason
		again := make([]outbox.DeadLetter, len(reused))
		for k, at := range reused {
			again[k] = reuse(letters[at])
		}
		letters = again
	}
	return nil
}

// reuse makes the dead letter of an event whose id is another event's already.
func reuse(b outbox.DeadLetter) outbox.DeadLetter {
	if b.Reason == outbox.InvalidEvent {
		b.Error = "and it is invalid: " + b.Error
	}
	b.Error = strings.TrimSuffix(fmt.Sprintf("the event id %q belongs to another event already, of other content; %s",
		b.ID, b.Error), "; ")
	place := worker.Place{Stream: b.Stream, Seq: b.StreamSeq, Published: b.Published}
	former := outbox.Former{ID: b.ID, ContentHash: b.ContentHash}
	if b.Former != nil {
		former = *b.Former
	}
	former.ID += "#" + place.Former()
	b.Former = &former
	b.ID = event.ReusedID(b.ID, place)
	b.Reason = outbox.IDReused
	return b
}
