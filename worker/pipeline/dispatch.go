package pipeline

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"crmintake/outbox"
	"crmintake/worker/pipeline/internal/inflight"
	"crmintake/worker/pipeline/internal/limiter"
)

// plannedCall is a call to be made, before it is known what is in it.
type plannedCall struct {
	kind       callKind
	objectType string
	trials     []string        // the pauses whose trial it is
	scout      bool            // it finds out with one event whether the CRM is well
	most       int             // events that it carries at most
	token      limiter.Token   // of fresh events
	cut        *cut            // the fresh events, once they are cut
	claim      *inflight.Claim // of rows that are due
}

type callKind uint8

const (
	fresh       callKind = iota // events that wait in hand
	retrying                    // rows that are due in `retry`
	reconciling                 // rows that are due in `unknown`, to be asked about
)

// dispatch starts a call whenever there are a slot, something to send and a quota token, in this order: what is sent is
// chosen last, so that batches go out as full as they can.
func (w *Worker) dispatch(ctx, calls, writes context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, w.cfg.InFlight)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		start, ok := w.nextCall(ctx, calls, writes)
		if !ok {
			return nil
		}
		running.Go(func() {
			defer func() { <-slots }()
			start()
		})
	}
}

// nextCall waits for something to send and for the right to send it, and takes it. ok is false when ctx has ended.
func (w *Worker) nextCall(ctx, calls, writes context.Context) (start func(), ok bool) {
	for {
		j, ok := w.await(ctx)
		if !ok {
			return nil, false
		}
		if len(j.trials) > 0 && !w.mayTry(ctx, j.trials) {
			w.giveBack(j.objectType, nakDelay)
			continue
		}
		// Due rows are claimed before their token, which would be had in vain if another worker was faster. Fresh
		// events are cut after it: while it is waited for, their batches go on filling up.
		if j.kind == fresh {
			if j.token, ok = w.reserveToken(ctx, writes, j); !ok {
				if ctx.Err() != nil {
					return nil, false
				}
				continue
			}
		}
		if start, ok = w.begin(j, calls, writes); ok {
			return start, true
		}
		w.limiter.Refund(j.token)
	}
}

// await waits for something to send. ok is false when ctx has ended.
func (w *Worker) await(ctx context.Context) (j plannedCall, ok bool) {
	for ctx.Err() == nil {
		j, wait, ok := w.choose(time.Now())
		if ok {
			return j, true
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-t.C:
		}
		t.Stop()
	}
	return plannedCall{}, false
}

// untilWoken is how long the dispatcher waits where only a change that wakes it will let it go on.
const untilWoken = time.Hour

// choose says what to send next, or how long to wait at most before asking again. Rows in doubt go first; fresh and due
// events take turns, and so do object types.
func (w *Worker) choose(now time.Time) (j plannedCall, wait time.Duration, ok bool) {
	if ok, _, wait := w.backoff.Lets(now); !ok {
		return plannedCall{}, cmp.Or(wait, untilWoken), false // the scout's end wakes
	}
	retry := plannedCall{kind: retrying}
	for _, due := range w.due.types() {
		if !w.inflight.MayClaim() {
			break
		}
		if due.Unknown && w.reads.May(due.ObjectType, now) {
			if trials, ok := w.pauses.Passable(due.ObjectType, true, now); ok {
				return plannedCall{kind: reconciling, objectType: due.ObjectType, trials: trials}, 0, true
			}
		}
		if due.Retry && (retry.objectType == "" || w.sparse(retry.objectType, now) && !w.sparse(due.ObjectType, now)) {
			if trials, ok := w.mayCreate(due.ObjectType, now); ok {
				retry.objectType, retry.trials = due.ObjectType, trials
			}
		}
	}
	open := w.open(now)
	objectType, ready := w.ready(now, open)
	switch {
	case retry.objectType != "" && !(ready && (w.freshNext || w.sparse(retry.objectType, now))):
		return retry, 0, true
	case ready:
		trials, _ := w.pauses.Passable(objectType, false, now)
		return plannedCall{kind: fresh, objectType: objectType, trials: trials}, 0, true
	}
	wait = untilWoken
	if at, ok := w.waiting.next(open); ok {
		wait = at.Sub(now)
	}
	if at, ok := w.pauses.NextTrial(now); ok {
		wait = min(wait, at.Sub(now))
	}
	return plannedCall{}, max(wait, time.Millisecond), false
}

// mayCreate reports whether a create call may be made now, and which pauses it would be the trial of. A trial always has
// room.
func (w *Worker) mayCreate(objectType string, now time.Time) (trials []string, ok bool) {
	trials, ok = w.pauses.Passable(objectType, false, now)
	return trials, ok && (len(trials) > 0 || w.hasRoom(objectType))
}

// hasRoom reports whether another create call may be under way.
func (w *Worker) hasRoom(objectType string) bool {
	return w.cfg.Breaker.Off || w.windows.Room(objectType)
}

// most bounds what a call carries. The breaker trips late by a twenty-fifth of what trips it.
func (w *Worker) most(j *plannedCall) int {
	if j.scout {
		return 1
	}
	if f := w.cfg.Breaker; j.kind != reconciling && len(j.trials) == 0 && !f.Off && w.windows.Few(j.objectType) {
		return min(max(int(f.Share*float64(f.Window))/25, 1), w.cfg.Batch.Size)
	}
	return w.cfg.Batch.Size
}

// open are the object types of which fresh events wait and may be sent.
func (w *Worker) open(now time.Time) []string {
	return slices.DeleteFunc(w.waiting.types(), func(objectType string) bool {
		_, ok := w.mayCreate(objectType, now)
		return !ok
	})
}

// patience is for how many windows of the quota events of a rare object type wait for a full batch while others have
// one.
const patience = 2

// ready is the object type, of these, whose fresh events are sent next.
func (w *Worker) ready(now time.Time, open []string) (objectType string, ok bool) {
	return w.waiting.ready(now, open, w.limiter.Scarce(), patience*w.cfg.Quota.Window)
}

// sparse reports whether few rows of an object type were due a moment ago, while the quota is what limits: then they wait
// for more of their kind.
func (w *Worker) sparse(objectType string, now time.Time) bool {
	return w.limiter.Scarce() && w.due.sparse(objectType, now, w.cfg.Quota.Window)
}

// begin takes what a call carries out of what waits, and returns what makes the call. ok is false when it is not there any more,
// or may not be sent any more. Only the dispatcher begins calls: what it has found to have room keeps it.
func (w *Worker) begin(j plannedCall, calls, writes context.Context) (start func(), ok bool) {
	now := time.Now()
	ok, scout, _ := w.backoff.Lets(now)
	if !ok {
		return nil, false
	}
	j.scout = scout || w.pauses.Scout(j.trials)
	if j.kind == fresh {
		if !w.cut(&j, now) {
			return nil, false
		}
	} else {
		j.most = w.most(&j)
		j.claim = w.inflight.Claim()
		w.due.take(j.objectType, j.kind)
	}
	if j.kind == reconciling {
		w.reads.Begin(j.objectType, now.Add(w.cfg.CallTimeout))
	} else {
		w.windows.Begin(j.objectType)
	}
	if j.scout {
		w.backoff.BeginScout()
	}
	w.active.Add(1)
	w.freshNext = j.kind != fresh
	return func() {
		defer w.end(&j)
		switch j.kind {
		case fresh:
			w.send(calls, writes, j.cut)
		case retrying:
			w.withDue(calls, writes, &j, outbox.Retry, func(b *attempt) { w.deliver(calls, writes, b) })
		case reconciling:
			w.withDue(calls, writes, &j, outbox.Unknown, func(b *attempt) { w.reconcile(calls, writes, b) })
		}
	}, true
}

// cut takes fresh events for a call. Since it was planned, another object type may have become more urgent, and this one
// paused; a trial is of its own object type.
func (w *Worker) cut(j *plannedCall, now time.Time) (ok bool) {
	if len(j.trials) == 0 {
		open := slices.DeleteFunc(w.waiting.types(), func(objectType string) bool {
			return !w.pauses.StillPassable(objectType, false, nil) || !w.hasRoom(objectType)
		})
		if j.objectType, ok = w.ready(now, open); !ok {
			return false
		}
	}
	items, why := w.waiting.cut(j.objectType, w.most(j), now)
	j.cut = &cut{objectType: j.objectType, items: items, count: len(items), reason: why, trials: j.trials, scout: j.scout, token: j.token}
	return len(items) > 0
}

// end ends a call, with what goes before and after it.
func (w *Worker) end(j *plannedCall) {
	w.active.Add(-1)
	room := j.kind != reconciling && w.windows.End(j.objectType)
	if j.scout {
		w.backoff.EndScout()
		room = true
	}
	if room {
		w.wakeUp()
	}
}

// mayTry asks for the right to make the trial call of these pauses.
func (w *Worker) mayTry(ctx context.Context, pauses []string) bool {
	for _, key := range pauses {
		var mine bool
		err := w.retryWrite(ctx, ctx, func(ctx context.Context) (err error) {
			mine, err = w.store.Pauses.Try(ctx, key, w.cfg.TrialInterval)
			return err
		})
		w.pauses.PutOff(key, time.Now().Add(w.cfg.TrialInterval))
		if err != nil || !mine {
			return false
		}
	}
	return true
}
