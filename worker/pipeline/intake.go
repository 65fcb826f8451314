package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/event"
)

// item is an event in hand, and what is sent of it.
type item struct {
	*worker.Event
	input   worker.Input
	hash    [16]byte
	former  *outbox.Former
	touched time.Time // when it arrived, or when the stream was last told that it is in hand
}

func newItem(e *worker.Event, idProperty string, now time.Time) *item {
	c := event.Read(e, idProperty)
	i := &item{Event: e, input: c.Input, hash: c.Hash, touched: now}
	if c.Former != nil {
		i.former = &outbox.Former{ID: c.Former.ID, ContentHash: c.Former.Hash}
	}
	return i
}

// itemOverhead is about what an event in hand takes up beside its bytes.
const itemOverhead = 768

func (i *item) cost() int { return len(i.Payload) + i.input.Len() + itemOverhead }

// fetchRetry is how long to wait after the stream failed: its client reconnects by itself.
const fetchRetry = time.Second

// intake pulls events while there is room for them and something may be sent.
func (w *Worker) intake(ctx, writes context.Context) error {
	for {
		count, bytes := w.makeRoom(ctx)
		if ctx.Err() != nil {
			w.nak(func(string) bool { return true }, 0)
			return nil
		}
		w.source.Restrict(w.restricted())
		var invalid, doubtful []*item
		err := w.source.Fetch(ctx, count, bytes, func(e *worker.Event) {
			w.metrics.received.Inc()
			if e.Redelivered {
				w.metrics.redelivered.Inc()
			}
			switch i := w.accept(e); {
			case i == nil:
			case i.Invalid != "":
				invalid = append(invalid, i)
			default:
				doubtful = append(doubtful, i)
			}
		})
		w.insertDead(ctx, writes, invalid)
		w.acceptInDoubt(ctx, writes, doubtful)
		if err == nil {
			w.stream.worked()
		} else if ctx.Err() == nil {
			w.stream.failed(err)
			sleep(ctx, fetchRetry)
		}
	}
}

// makeRoom waits until a fetch is worth its while, and says how many events and bytes it may bring. It returns at once
// when ctx has ended.
func (w *Worker) makeRoom(ctx context.Context) (count, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; ctx.Err() == nil; w.room.Wait() {
		count, bytes = w.roomFor(w.mostInHand() - w.hand)
		switch open, trial := w.pauses[outbox.Account].state(time.Now()); {
		case !open && (!trial || w.canTry()):
			continue
		case !open:
			count = min(count, w.cfg.Batch.Size)
		}
		if count >= max(1, min(w.cfg.Batch.Size, w.mostInHand()/4)) {
			return count, bytes
		}
	}
	return 0, 0
}

// canTry tells whether a trial of the account can be made with what is there already. The caller holds mu.
func (w *Worker) canTry() bool {
	now := time.Now()
	if _, ok := w.waiting.Next(w.shutAt(now)); ok {
		return true
	}
	return slices.ContainsFunc(w.due, func(d outbox.Due) bool {
		_, ok := w.pauses.passable(retrying, d.ObjectType, now)
		return ok && d.Retry || d.Unknown
	})
}

// mostInHand bounds the events in hand: enough for each call under way, and for as many full batches to wait.
func (w *Worker) mostInHand() int { return 2 * w.cfg.InFlight * w.cfg.Batch.Size }

// accept takes an event in hand, and returns it when it is not to be sent: it is invalid, or to be asked about first.
// An event whose object type is paused goes back, all but one batch for a trial that is due.
func (w *Worker) accept(e *worker.Event) (aside *item) {
	now := time.Now()
	i := newItem(e, w.cfg.IDProperty[e.ObjectType], now)
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Invalid == "" && w.paused(e.ObjectType, now) {
		w.metrics.givenBack.Inc()
		_ = e.Message.Nak(backAfter(e, nakDelay))
		return nil
	}
	w.hand++
	w.handBytes += i.cost()
	if e.Invalid != "" || e.Published.Before(w.newUntil) {
		return i
	}
	w.waiting.Add(e.ObjectType, i, i.input.Len(), now)
	if w.waiting.Full(e.ObjectType) || w.waiting.Waiting(e.ObjectType) == 1 {
		w.wakeUp()
	}
	return nil
}

// paused tells whether an event of this type is not to be taken in hand. The caller holds mu.
func (w *Worker) paused(objectType string, now time.Time) bool {
	n, limited := w.roomOf(objectType, now)
	return limited && n == 0
}

// How long the stream keeps what was given back because it is paused. What it delivers apart from others is not fetched
// again before it may be sent; the delay is until all workers know that.
const (
	nakDelay   = 30 * time.Second
	apartDelay = time.Second
)

func backAfter(e *worker.Event, delay time.Duration) time.Duration {
	if e.Apart {
		return min(delay, apartDelay)
	}
	return delay
}

// nak returns to the stream what waits under the object types that which names.
func (w *Worker) nak(which func(objectType string) bool, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := map[string]bool{}
	w.waiting.Each(func(key string, _ *item, _ time.Time) { keys[key] = true })
	for key := range keys {
		if !which(key) {
			continue
		}
		for _, i := range w.waiting.Drain(key) {
			_ = i.Message.Nak(backAfter(i.Event, delay)) // if it is lost, the message comes again after the ack wait
			w.metrics.givenBack.Inc()
			w.release(i)
		}
	}
}

// release forgets an event in hand. The caller holds mu.
func (w *Worker) release(i *item) {
	w.hand--
	w.handBytes -= i.cost()
	w.room.Signal()
}

// insertDead commits invalid events as dead letters, and acks them.
func (w *Worker) insertDead(ctx, writes context.Context, items []*item) {
	w.keep(items, func(items []*item) error {
		burials := make([]outbox.DeadLetter, len(items))
		for k, i := range items {
			burials[k] = outbox.DeadLetter{Event: i.row(), Reason: outbox.InvalidEvent, Error: i.Invalid}
		}
		return w.insertAllDead(ctx, writes, burials)
	}, true)
}

// keep has events committed that get no call now, in chunks that the database takes in its stride, and acks them; done
// says that this is all that becomes of them.
func (w *Worker) keep(items []*item, commit func([]*item) error, done bool) {
	for len(items) > 0 {
		n, bytes := 0, 0
		for n < len(items) && n < w.cfg.Batch.Size && (n == 0 || bytes+len(items[n].Payload) <= w.cfg.Batch.Bytes) {
			bytes += len(items[n].Payload)
			n++
		}
		c := &cut{items: items[:n]}
		w.track(c)
		err := commit(c.items)
		w.ackOrNak(c.items, err)
		w.untrack(c)
		now := time.Now()
		w.mu.Lock()
		for _, i := range c.items {
			w.release(i)
			if err == nil && done {
				w.metrics.took(i.Published, now)
			}
		}
		w.mu.Unlock()
		items = items[n:]
	}
}

// insertAllDead keeps dead letters. One whose id belongs to another event is kept under an id that says so, and says it once
// more if that is taken too, as it may be by a publisher.
func (w *Worker) insertAllDead(ctx, writes context.Context, burials []outbox.DeadLetter) error {
	for len(burials) > 0 {
		var reused []int
		if err := w.retryWrite(ctx, writes, func(ctx context.Context) (err error) {
			reused, err = w.store.InsertDead(ctx, burials)
			return err
		}); err != nil {
			return err
		}
		w.metrics.ended(outbox.Dead, burials[0].Reason, len(burials)-len(reused)) // all are buried for the same reason
		again := make([]outbox.DeadLetter, len(reused))
		for k, at := range reused {
			again[k] = reuse(burials[at])
		}
		burials = again
	}
	return nil
}

// reuse makes the dead letter of an event whose id is another event's already.
func reuse(b outbox.DeadLetter) outbox.DeadLetter {
	if b.Reason == outbox.InvalidEvent {
		b.Error = "and it is invalid: " + b.Error
	}
	b.Error = strings.TrimSuffix(fmt.Sprintf("the event id %q belongs to another event already, of other content; %s", b.ID, b.Error), "; ")
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

// ackOrNak acks events that are durable in the outbox, or gives them back if err says that they may not be.
func (w *Worker) ackOrNak(items []*item, err error) {
	for _, i := range items {
		// An answer that is lost means a redelivery, which the outbox recognises.
		if err != nil {
			_ = i.Message.Nak(0)
		} else {
			_ = i.Message.Ack()
		}
	}
}

func (i *item) row() outbox.Event {
	return outbox.Event{
		ID: i.ID, ObjectType: i.ObjectType, Payload: i.Payload, ContentHash: i.hash, Stream: i.Stream, StreamSeq: i.StreamSeq,
		Published: i.Published, Former: i.former,
	}
}

// runAckExtension tells the stream, for as long as it takes, that what is in hand is still being worked on.
func (w *Worker) runAckExtension(ctx context.Context) error {
	tick := time.NewTicker(min(time.Second, w.cfg.AckWait/6))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.extendAckDeadlines(time.Now())
		}
	}
}

// extendAckDeadlines tells it of all that was in hand for a third of the ack wait.
func (w *Worker) extendAckDeadlines(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	touch := func(i *item) {
		if now.Sub(i.touched) >= w.cfg.AckWait/3 {
			i.touched = now
			_ = i.Message.InProgress()
		}
	}
	w.waiting.Each(func(_ string, i *item, _ time.Time) { touch(i) })
	for c := range w.unacked {
		for _, i := range c.items {
			touch(i)
		}
	}
}

// track keeps what was cut under touch's eyes until untrack.
func (w *Worker) track(c *cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unacked[c] = struct{}{}
}

func (w *Worker) untrack(c *cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unacked, c)
}
