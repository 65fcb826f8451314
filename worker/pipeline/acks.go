package pipeline

import (
	"context"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/inflight"
)

// acker answers the stream for the events in hand.
type acker struct{ *parts }

// ackOrNak acks events that are durable in the outbox, or gives them back if err says that they may not be.
func (a *acker) ackOrNak(items []*item, err error) {
	for _, i := range items {
		// An answer that is lost means a redelivery, which the outbox recognises.
		if err != nil {
			_ = i.Message.Nak(0)
		} else {
			_ = i.Message.Ack()
		}
	}
	a.inflight.Answered(items)
}

// How long the stream keeps what was given back because it is paused. What comes by the consumer of its object type
// alone is not fetched again before it may be sent; the delay is until all workers know that.
const (
	nakDelay  = 30 * time.Second
	laneDelay = time.Second
)

func backAfter(e *worker.Event, delay time.Duration) time.Duration {
	if e.Lane {
		return min(delay, laneDelay)
	}
	return delay
}

// giveBack returns to the stream what waits of an object type; outbox.Account is all of them.
func (a *acker) giveBack(key string, delay time.Duration) {
	for _, objectType := range a.waiting.types() {
		if key != outbox.Account && key != objectType {
			continue
		}
		items := a.waiting.takeAll(objectType)
		for _, i := range items {
			_ = i.Message.Nak(backAfter(i.Event, delay)) // if it is lost, the message comes again after the ack wait
			a.metrics.givenBack.Inc()
		}
		a.inflight.Answered(items)
		a.inflight.Done(len(items), inflight.SizeOf(items))
	}
}

// extend keeps the stream from delivering again what is in hand, until ctx ends.
func (a *acker) extend(ctx context.Context) error {
	tick := time.NewTicker(min(time.Second, a.cfg.AckWait/6))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.inflight.ExtendAcks(time.Now())
		}
	}
}

// rowOf is an event as the outbox keeps it.
func rowOf(i *item) outbox.Event {
	row := outbox.Event{
		ID: i.ID, ObjectType: i.ObjectType, Payload: i.Payload, ContentHash: i.Content.Hash, Stream: i.Stream, StreamSeq: i.StreamSeq,
		Published: i.Published,
	}
	if former := i.Content.Former; former != nil {
		row.Former = &outbox.Former{ID: former.ID, ContentHash: former.Hash}
	}
	return row
}
