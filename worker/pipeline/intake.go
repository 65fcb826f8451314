package pipeline

import (
	"context"
	"math"
	"slices"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/inflight"
)

// item is an event in hand.
type item = inflight.Event

// fetchRetry is how long to wait after the stream failed: its client reconnects by itself.
const fetchRetry = time.Second

// intake takes events from the source in hand, one fetch after the other. It has one goroutine.
type intake struct {
	*parts
	acks *acker
	dead *deadLetters
	plan *planner
}

// run pulls events while there is room for them and something may be sent.
func (in *intake) run(ctx, writes context.Context) error {
	for {
		count, bytes := in.makeRoom(ctx)
		if ctx.Err() != nil {
			in.acks.giveBack(outbox.Account, 0)
			return nil
		}
		in.source.Restrict(in.restricted())
		var invalid, doubtful []*item
		err := in.source.Fetch(ctx, count, bytes, func(e *worker.Event) {
			in.metrics.received.Inc()
			if e.Redelivered {
				in.metrics.redelivered.Inc()
			}
			switch i := in.accept(e); {
			case i == nil:
			case i.Invalid != "":
				invalid = append(invalid, i)
			default:
				doubtful = append(doubtful, i)
			}
		})
		in.insertDead(ctx, writes, invalid)
		in.acceptInDoubt(ctx, writes, doubtful)
		if err == nil {
			in.stream.worked()
		} else if ctx.Err() == nil {
			in.stream.failed(err)
			sleep(ctx, fetchRetry)
		}
	}
}

// makeRoom waits until a fetch is worth its while, and says how many events and bytes it may bring. It returns at once
// when ctx has ended.
func (in *intake) makeRoom(ctx context.Context) (count, bytes int) {
	for {
		count, bytes = in.inflight.Room()
		if most := in.mostOfAccount(); min(count, most) > 0 {
			return min(count, most), bytes
		}
		select {
		case <-ctx.Done():
			return 0, 0
		case <-in.inflight.Changed():
		}
	}
}

// mostOfAccount bounds what a fetch may bring by the account's pause: nothing, or a batch for its trial.
func (in *intake) mostOfAccount() int {
	switch open, trial := in.pauses.Account(time.Now()); {
	case open:
		return math.MaxInt
	case !trial || in.canTry():
		return 0
	}
	return in.cfg.Batch.Size
}

// canTry reports whether a trial of the account can be made with what is there already.
func (in *intake) canTry() bool {
	now := time.Now()
	if _, ok := in.waiting.next(in.plan.open(now)); ok {
		return true
	}
	return slices.ContainsFunc(in.due.types(), func(d outbox.Due) bool {
		_, ok := in.pauses.Passable(d.ObjectType, false, now)
		return ok && d.Retry || d.Unknown
	})
}

// accept takes an event in hand, and returns it when it is not to be sent: it is invalid, or to be asked about first.
// An event whose object type is paused goes back, all but what a trial wants that is due.
func (in *intake) accept(e *worker.Event) (aside *item) {
	now := time.Now()
	i := inflight.Read(e, in.cfg.IDProperty[e.ObjectType])
	version := in.pauses.Version()
	if e.Invalid == "" {
		if n, limited := in.roomOf(e.ObjectType, now); limited && n == 0 {
			in.metrics.givenBack.Inc()
			_ = e.Message.Nak(backAfter(e, nakDelay))
			return nil
		}
	}
	in.inflight.Add(i, now)
	if e.Invalid != "" || in.inDoubt(e) {
		return i
	}
	if in.waiting.add(i, now) {
		in.wakeUp()
	}
	// a pause that began meanwhile may have given back what waited before this event did
	if in.pauses.Version() != version {
		if n, limited := in.pauses.Room(e.ObjectType, in.cfg.Batch.Size, now); limited && n == 0 {
			in.acks.giveBack(e.ObjectType, nakDelay)
		}
	}
	return nil
}

// restricted is how many events of each paused object type a fetch may bring: none, or what its trial wants.
func (in *intake) restricted() (most map[string]int) {
	now := time.Now()
	for _, p := range in.pauses.List() {
		if p.Key == outbox.Account {
			continue
		}
		if most == nil {
			most = map[string]int{}
		}
		most[p.Key], _ = in.roomOf(p.Key, now)
	}
	return most
}

// roomOf is how many more events of an object type may be taken in hand, if a pause limits that.
func (in *intake) roomOf(objectType string, now time.Time) (n int, limited bool) {
	n, limited = in.pauses.Room(objectType, in.cfg.Batch.Size, now)
	if n > 0 {
		n = max(0, n-in.waiting.of(objectType))
	}
	return n, limited
}

// insertDead commits invalid events as dead letters, and acks them.
func (in *intake) insertDead(ctx, writes context.Context, items []*item) {
	in.keep(items, func(items []*item) error {
		letters := make([]outbox.DeadLetter, len(items))
		for k, i := range items {
			letters[k] = outbox.DeadLetter{Event: rowOf(i), Reason: outbox.InvalidEvent, Error: i.Invalid}
		}
		return in.dead.insert(ctx, writes, letters)
	}, true)
}

// keep has events committed that get no call now, in chunks that the database takes in its stride, and acks them; done
// says that this is all that becomes of them.
func (in *intake) keep(items []*item, commit func([]*item) error, done bool) {
	for len(items) > 0 {
		n, bytes := 0, 0
		for n < len(items) && n < in.cfg.Batch.Size && (n == 0 || bytes+len(items[n].Payload) <= in.cfg.Batch.Bytes) {
			bytes += len(items[n].Payload)
			n++
		}
		chunk := items[:n]
		err := commit(chunk)
		in.acks.ackOrNak(chunk, err)
		in.inflight.Done(len(chunk), inflight.SizeOf(chunk))
		if now := time.Now(); err == nil && done {
			for _, i := range chunk {
				in.metrics.took(i.Published, now)
			}
		}
		items = items[n:]
	}
}
