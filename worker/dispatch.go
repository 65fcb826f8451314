package worker

import (
	"context"
	"sync"
	"time"

	"crmintake/outbox"
)

// job is a call to be made, before it is known what is in it.
type job struct {
	kind       jobKind
	objectType string
	trials     []string // the pauses whose trial it is
}

type jobKind uint8

const (
	fresh     jobKind = iota // events that wait in hand
	retrying                 // rows that are due in `retry`
	resolving                // rows that are due in `unknown`, to be asked about
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
			defer func() {
				<-slots
				w.mu.Lock()
				w.active--
				w.mu.Unlock()
			}()
			start()
		})
	}
}

// nextCall waits for something to send and for the right to send it, and takes it. ok is false when ctx has ended.
func (w *Worker) nextCall(ctx, calls, writes context.Context) (start func(), ok bool) {
	for w.await(ctx) && w.takeToken(ctx) {
		// More has come while the token was waited for, and other things may be more urgent now.
		w.mu.Lock()
		j, _, ok := w.choose(time.Now())
		w.mu.Unlock()
		if !ok || len(j.trials) > 0 && !w.mayTry(ctx, j.trials) {
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.begin(j, calls, writes), true
	}
	return nil, false
}

// await returns when there is something to send, or false when ctx has ended.
func (w *Worker) await(ctx context.Context) bool {
	for ctx.Err() == nil {
		w.mu.Lock()
		_, wait, ok := w.choose(time.Now())
		w.mu.Unlock()
		if ok {
			return true
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-t.C:
		}
		t.Stop()
	}
	return false
}

// choose says what to send next, or how long to wait at most before asking again. Rows in doubt go first; fresh and due
// events take turns, and so do object types. The caller holds mu.
func (w *Worker) choose(now time.Time) (j job, wait time.Duration, ok bool) {
	if now.Before(w.hold.until) {
		return job{}, w.hold.until.Sub(now), false
	}
	shut := func(objectType string) bool {
		_, ok := w.gates.passable(objectType, now)
		return !ok
	}
	pick := func(kind jobKind, objectType string) (job, time.Duration, bool) {
		trials, _ := w.gates.passable(objectType, now)
		return job{kind, objectType, trials}, 0, true
	}
	var retry string
	for _, d := range w.due {
		switch {
		case shut(d.ObjectType):
		case d.Unknown && w.cfg.IDProperty[d.ObjectType] != "":
			return pick(resolving, d.ObjectType)
		case d.Retry && retry == "":
			retry = d.ObjectType
		}
	}
	key, ripe := w.waiting.Ripe(now, shut)
	switch {
	case retry != "" && !(ripe && w.freshNext):
		return pick(retrying, retry)
	case ripe:
		return pick(fresh, key)
	}
	wait = time.Hour
	if at, ok := w.waiting.Next(shut); ok {
		wait = at.Sub(now)
	}
	if at, ok := w.gates.nextTrial(now); ok {
		wait = min(wait, at.Sub(now))
	}
	return job{}, max(wait, time.Millisecond), false
}

// begin takes what a job sends out of what waits, which may have gone back to the stream by now, and returns what sends
// it. The caller holds mu.
func (w *Worker) begin(j job, calls, writes context.Context) func() {
	w.active++
	w.freshNext = j.kind != fresh
	if j.kind == fresh {
		items, why := w.waiting.Cut(j.objectType, time.Now())
		c := &cargo{objectType: j.objectType, items: items, cut: why, trials: j.trials}
		w.unacked[c] = struct{}{}
		return func() { w.send(calls, writes, c) }
	}
	// It is not claimed again by this worker before the claim says that there is more. Its turn comes after the others'.
	var mine outbox.Due
	kept := w.due[:0]
	for _, d := range w.due {
		if d.ObjectType == j.objectType {
			mine = d
		} else {
			kept = append(kept, d)
		}
	}
	if j.kind == retrying {
		mine.Retry = false
	} else {
		mine.Unknown = false
	}
	w.due = kept
	if mine.Retry || mine.Unknown {
		w.due = append(w.due, mine)
	}
	if j.kind == retrying {
		return func() { w.resend(calls, writes, j) }
	}
	return func() { w.resolve(calls, writes, j) }
}

// more puts rows of an object type, claimed before, back among what is due.
func (w *Worker) more(objectType string, kind jobKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.wakeUp()
	for i := range w.due {
		if d := &w.due[i]; d.ObjectType == objectType {
			d.Retry = d.Retry || kind == retrying
			d.Unknown = d.Unknown || kind == resolving
			return
		}
	}
	w.due = append(w.due, outbox.Due{ObjectType: objectType, Retry: kind == retrying, Unknown: kind == resolving})
}

// takeToken takes a call out of the fleet's quota. It reports false when ctx has ended.
func (w *Worker) takeToken(ctx context.Context) bool {
	if w.cfg.Quota.Calls == 0 {
		return true
	}
	q := outbox.Quota{Account: quotaAccount, Calls: w.cfg.Quota.Calls, Window: w.cfg.Quota.Window}
	for {
		var wait time.Duration
		if err := w.persist(ctx, ctx, func(ctx context.Context) (err error) {
			wait, err = w.store.Take(ctx, q)
			return err
		}); err != nil {
			return false
		}
		if wait <= 0 {
			return true
		}
		if !sleep(ctx, wait) {
			return false
		}
	}
}

// quotaAccount names the only account that a deployment calls.
const quotaAccount = "default"

// mayTry asks for the right to make the trial call of these pauses.
func (w *Worker) mayTry(ctx context.Context, pauses []string) bool {
	for _, key := range pauses {
		var mine bool
		err := w.persist(ctx, ctx, func(ctx context.Context) (err error) {
			mine, err = w.store.Try(ctx, key, w.cfg.TrialInterval)
			return err
		})
		w.mu.Lock()
		if g := w.gates[key]; g != nil {
			g.trialAt = time.Now().Add(w.cfg.TrialInterval)
		}
		w.mu.Unlock()
		if err != nil || !mine {
			return false
		}
	}
	return true
}
