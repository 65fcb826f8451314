package pipeline

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/event"
	"crmintake/worker/pipeline/internal/inflight"
)

// item is an event in hand.
type item = inflight.Event

// fetchRetry is how long to wait after the stream failed: its client reconnects by itself.
const fetchRetry = time.Second

// intake pulls events while there is room for them and something may be sent.
func (w *Worker) intake(ctx, writes context.Context) error {
	for {
		count, bytes := w.makeRoom(ctx)
		if ctx.Err() != nil {
			w.giveBack(outbox.Account, 0)
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
	for {
		count, bytes = w.inflight.Room()
		if most := w.mostOfAccount(); min(count, most) > 0 {
			return min(count, most), bytes
		}
		select {
		case <-ctx.Done():
			return 0, 0
		case <-w.inflight.Changed():
		}
	}
}

// mostOfAccount bounds what a fetch may bring by the account's pause: nothing, or a batch for its trial.
func (w *Worker) mostOfAccount() int {
	switch open, trial := w.pauses.Account(time.Now()); {
	case open:
		return math.MaxInt
	case !trial || w.canTry():
		return 0
	}
	return w.cfg.Batch.Size
}

// canTry reports whether a trial of the account can be made with what is there already.
func (w *Worker) canTry() bool {
	now := time.Now()
	if _, ok := w.waiting.next(w.open(now)); ok {
		return true
	}
	return slices.ContainsFunc(w.due.types(), func(d outbox.Due) bool {
		_, ok := w.pauses.Passable(d.ObjectType, false, now)
		return ok && d.Retry || d.Unknown
	})
}

// accept takes an event in hand, and returns it when it is not to be sent: it is invalid, or to be asked about first.
// An event whose object type is paused goes back, all but what a trial wants that is due.
func (w *Worker) accept(e *worker.Event) (aside *item) {
	now := time.Now()
	i := inflight.Read(e, w.cfg.IDProperty[e.ObjectType])
	version := w.pauses.Version()
	if e.Invalid == "" {
		if n, limited := w.roomOf(e.ObjectType, now); limited && n == 0 {
			w.metrics.givenBack.Inc()
			_ = e.Message.Nak(backAfter(e, nakDelay))
			return nil
		}
	}
	w.inflight.Add(i, now)
	if e.Invalid != "" || w.inDoubt(e) {
		return i
	}
	if w.waiting.add(i, now) {
		w.wakeUp()
	}
	if w.pauses.Version() != version { // a pause that began meanwhile may have given back what waited before this event did
		if n, limited := w.pauses.Room(e.ObjectType, w.cfg.Batch.Size, now); limited && n == 0 {
			w.giveBack(e.ObjectType, nakDelay)
		}
	}
	return nil
}

// restricted is how many events of each paused object type a fetch may bring: none, or what its trial wants.
func (w *Worker) restricted() (most map[string]int) {
	now := time.Now()
	for _, p := range w.pauses.List() {
		if p.Key == outbox.Account {
			continue
		}
		if most == nil {
			most = map[string]int{}
		}
		most[p.Key], _ = w.roomOf(p.Key, now)
	}
	return most
}

// roomOf is how many more events of an object type may be taken in hand, if a pause limits that.
func (w *Worker) roomOf(objectType string, now time.Time) (n int, limited bool) {
	n, limited = w.pauses.Room(objectType, w.cfg.Batch.Size, now)
	if n > 0 {
		n = max(0, n-w.waiting.of(objectType))
	}
	return n, limited
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
func (w *Worker) giveBack(key string, delay time.Duration) {
	for _, objectType := range w.waiting.types() {
		if key != outbox.Account && key != objectType {
			continue
		}
		items := w.waiting.takeAll(objectType)
		for _, i := range items {
			_ = i.Message.Nak(backAfter(i.Event, delay)) // if it is lost, the message comes again after the ack wait
			w.metrics.givenBack.Inc()
		}
		w.inflight.Answered(items)
		w.inflight.Done(len(items), inflight.SizeOf(items))
	}
}

// insertDead commits invalid events as dead letters, and acks them.
func (w *Worker) insertDead(ctx, writes context.Context, items []*item) {
	w.keep(items, func(items []*item) error {
		burials := make([]outbox.DeadLetter, len(items))
		for k, i := range items {
			burials[k] = outbox.DeadLetter{Event: rowOf(i), Reason: outbox.InvalidEvent, Error: i.Invalid}
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
		chunk := items[:n]
		err := commit(chunk)
		w.ackOrNak(chunk, err)
		w.inflight.Done(len(chunk), inflight.SizeOf(chunk))
		if now := time.Now(); err == nil && done {
			for _, i := range chunk {
				w.metrics.took(i.Published, now)
			}
		}
		items = items[n:]
	}
}

// insertAllDead keeps dead letters. One whose id belongs to another event is kept under an id that says so, and says it once
// more if that is taken too, as it may be by a publisher.
func (w *Worker) insertAllDead(ctx, writes context.Context, burials []outbox.DeadLetter) error {
	for len(burials) > 0 {
		var reused []int
		if err := w.retryWrite(ctx, writes, func(ctx context.Context) (err error) {
			reused, err = w.store.Batches.InsertDead(ctx, burials)
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
	w.inflight.Answered(items)
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

// runAckExtension tells the stream, for as long as it takes, that what is in hand is still being worked on.
func (w *Worker) runAckExtension(ctx context.Context) error {
	tick := time.NewTicker(min(time.Second, w.cfg.AckWait/6))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.inflight.ExtendAcks(time.Now())
		}
	}
}
