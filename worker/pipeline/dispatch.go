package pipeline

import (
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
			w.nak(func(objectType string) bool { return objectType == j.objectType }, nakDelay)
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
		w.mu.Lock()
		j, wait, ok := w.choose(time.Now())
		w.mu.Unlock()
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

// choose says what to send next, or how long to wait at most before asking again. Rows in doubt go first; fresh and due
// events take turns, and so do object types. The caller holds mu.
func (w *Worker) choose(now time.Time) (j plannedCall, wait time.Duration, ok bool) {
	if ok, _ := w.backoff.lets(now); !ok {
		if wait = w.backoff.until.Sub(now); wait <= 0 {
			wait = time.Hour // the scout's end wakes
		}
		return plannedCall{}, wait, false
	}
	retry := plannedCall{kind: retrying}
	for _, d := range w.due {
		if !w.inflight.MayClaim() {
			break
		}
		if d.Unknown && w.mayAsk(d.ObjectType, now) {
			if trials, ok := w.pauses.passable(reconciling, d.ObjectType, now); ok {
				return plannedCall{kind: reconciling, objectType: d.ObjectType, trials: trials}, 0, true
			}
		}
		if d.Retry && (retry.objectType == "" || w.sparse(retry.objectType, now) && !w.sparse(d.ObjectType, now)) {
			if trials, ok := w.passable(retrying, d.ObjectType, now); ok {
				retry.objectType, retry.trials = d.ObjectType, trials
			}
		}
	}
	shut := w.shutAt(now)
	key, ripe := w.ready(now, shut)
	switch {
	case retry.objectType != "" && !(ripe && (w.freshNext || w.sparse(retry.objectType, now))):
		return retry, 0, true
	case ripe:
		trials, _ := w.pauses.passable(fresh, key, now)
		return plannedCall{kind: fresh, objectType: key, trials: trials}, 0, true
	}
	wait = time.Hour
	if at, ok := w.waiting.Next(shut); ok {
		wait = at.Sub(now)
	}
	if at, ok := w.pauses.nextTrial(now); ok {
		wait = min(wait, at.Sub(now))
	}
	return plannedCall{}, max(wait, time.Millisecond), false
}

// passable tells whether a call may be made now, and which pauses it would be the trial of. The caller holds mu.
func (w *Worker) passable(kind callKind, objectType string, now time.Time) (trials []string, ok bool) {
	trials, ok = w.pauses.passable(kind, objectType, now)
	return trials, ok && (len(trials) > 0 || w.hasRoom(kind, objectType))
}

// hasRoom tells whether another call of this kind may be under way, but for a trial, which always may. The caller
// holds mu.
func (w *Worker) hasRoom(kind callKind, objectType string) bool {
	return kind == reconciling || w.cfg.Breaker.Off || w.windows.room(objectType)
}

// most bounds what a job's call carries. The breaker trips late by a twenty-fifth of what trips it. The caller holds mu.
func (w *Worker) most(j plannedCall) int {
	if j.scout {
		return 1
	}
	if f := w.cfg.Breaker; j.kind != reconciling && len(j.trials) == 0 && !f.Off && w.windows.few(j.objectType) {
		return min(max(int(f.Share*float64(f.Window))/25, 1), w.cfg.Batch.Size)
	}
	return w.cfg.Batch.Size
}

// shutAt tells of which object types no fresh events may be sent. The caller holds mu while it uses the answer.
func (w *Worker) shutAt(now time.Time) func(objectType string) bool {
	return func(objectType string) bool {
		_, ok := w.passable(fresh, objectType, now)
		return !ok
	}
}

// ready tells which fresh events to send: those that have waited longest, of what is full or due. While the quota is
// what limits, a call that is not full is paid for with the place of a full one; so events of a rare object type wait
// longer for their batch to fill up, but not for ever. The caller holds mu.
func (w *Worker) ready(now time.Time, shut func(objectType string) bool) (key string, ok bool) {
	key, ok = w.waiting.Ripe(now, shut)
	if !ok || w.waiting.Full(key) || !w.limiter.Scarce() {
		return key, ok
	}
	full, any := w.waiting.Ripe(now, func(key string) bool { return !w.waiting.Full(key) || shut(key) })
	if oldest, _ := w.waiting.Oldest(key); any && now.Sub(oldest) < patience*w.cfg.Quota.Window {
		return full, true
	}
	return key, true
}

// sparse tells that few rows of an object type were due a moment ago, while the quota is what limits: then they wait
// for more of their kind. The caller holds mu.
func (w *Worker) sparse(objectType string, now time.Time) bool {
	return w.limiter.Scarce() && now.Sub(w.fewDue[objectType]) < w.cfg.Quota.Window
}

// patience is for how many windows of the quota events of a rare object type wait for a full batch while others have
// one.
const patience = 2

// begin takes what a job sends out of what waits, and returns what sends it. ok is false when it is not there any more.
func (w *Worker) begin(j plannedCall, calls, writes context.Context) (start func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ok, scout := w.backoff.lets(time.Now())
	if !ok {
		return nil, false
	}
	j.scout = scout || w.pauses.scout(j.trials)
	var call func()
	switch j.kind {
	case fresh:
		if len(j.trials) == 0 {
			// Since it was chosen, another object type may have become more urgent, and this one paused.
			key, ripe := w.ready(time.Now(), func(objectType string) bool {
				return len(w.pauses.inTheWay(fresh, objectType)) > 0 || !w.hasRoom(fresh, objectType)
			})
			if !ripe {
				return nil, false
			}
			j.objectType = key
		}
		items, why := w.waiting.CutFew(j.objectType, w.most(j), time.Now())
		if len(items) == 0 {
			return nil, false
		}
		c := &cut{objectType: j.objectType, items: items, count: len(items), reason: why, trials: j.trials, scout: j.scout, token: j.token}
		call = func() { w.send(calls, writes, c) }
	case retrying:
		j.most = w.most(j)
		call = func() { w.withDue(calls, writes, &j, outbox.Retry, func(b *attempt) { w.deliver(calls, writes, b) }) }
	case reconciling:
		j.most = w.most(j)
		if a := w.asks[j.objectType]; a != nil {
			a.lent = time.Now().Add(w.cfg.CallTimeout)
		}
		call = func() {
			w.withDue(calls, writes, &j, outbox.Unknown, func(b *attempt) { w.reconcile(calls, writes, b) })
		}
	}
	w.active++
	if j.scout {
		w.backoff.scouts++
	}
	if j.kind != reconciling {
		w.windows.begin(j.objectType)
	}
	if j.kind != fresh {
		j.claim = w.inflight.Claim()
	}
	if w.freshNext = j.kind != fresh; w.freshNext {
		w.taken(j)
	}
	return func() {
		defer w.end(j)
		call()
	}, true
}

// end tells that the call of a job is over, with what goes before and after it.
func (w *Worker) end(j plannedCall) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active--
	room := j.kind != reconciling && w.windows.end(j.objectType)
	if j.scout {
		w.backoff.scouts--
		room = true
	}
	if room {
		w.wakeUp()
	}
}

// taken leaves out of what is due what is being claimed, until the claim says that there is more, and puts the rest of
// its object type behind the others. The caller holds mu.
func (w *Worker) taken(j plannedCall) {
	i := slices.IndexFunc(w.due, func(d outbox.Due) bool { return d.ObjectType == j.objectType })
	if i < 0 {
		return
	}
	rest := w.due[i]
	if j.kind == retrying {
		rest.Retry = false
	} else {
		rest.Unknown = false
	}
	w.due = slices.Delete(w.due, i, i+1)
	if rest.Retry || rest.Unknown {
		w.due = append(w.due, rest)
	}
}

// more puts rows of an object type, claimed before, back among what is due.
func (w *Worker) more(objectType string, kind callKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.wakeUp()
	for i := range w.due {
		if d := &w.due[i]; d.ObjectType == objectType {
			d.Retry = d.Retry || kind == retrying
			d.Unknown = d.Unknown || kind == reconciling
			return
		}
	}
	w.due = append(w.due, outbox.Due{ObjectType: objectType, Retry: kind == retrying, Unknown: kind == reconciling})
}

// mayTry asks for the right to make the trial call of these pauses.
func (w *Worker) mayTry(ctx context.Context, pauses []string) bool {
	for _, key := range pauses {
		var mine bool
		err := w.retryWrite(ctx, ctx, func(ctx context.Context) (err error) {
			mine, err = w.store.Pauses.Try(ctx, key, w.cfg.TrialInterval)
			return err
		})
		w.mu.Lock()
		if g := w.pauses[key]; g != nil {
			g.trialAt = time.Now().Add(w.cfg.TrialInterval)
		}
		w.mu.Unlock()
		if err != nil || !mine {
			return false
		}
	}
	return true
}
