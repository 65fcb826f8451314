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
	cut        *cut            // the fresh events, once they are cut
	claim      *inflight.Claim // of rows that are due
}

type callKind uint8

const (
	fresh       callKind = iota // events that wait in hand
	retrying                    // rows that are due in `retry`
	reconciling                 // rows that are due in `unknown`, to be asked about
)

// dispatcher starts the calls. It has one goroutine, and one for each call.
type dispatcher struct {
	*parts
	plan     *planner
	acks     *acker
	caller   *caller
	attempts *attempts
}

// run starts a call whenever there are a slot, something to send and a quota token, in this order: what is sent is
// chosen last, so that batches go out as full as they can.
func (d *dispatcher) run(ctx, calls, writes context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, d.cfg.InFlight)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		j, ok := d.nextCall(ctx, writes)
		if !ok {
			return nil
		}
		running.Go(func() {
			defer func() { <-slots }()
			d.makeCall(calls, writes, &j)
		})
	}
}

// nextCall waits for something to send and for the right to send it, and takes it. ok is false when ctx has ended.
func (d *dispatcher) nextCall(ctx, writes context.Context) (j plannedCall, ok bool) {
	for {
		if j, ok = d.await(ctx); !ok {
			return j, false
		}
		if len(j.trials) > 0 && !d.mayTry(ctx, j.trials) {
			d.acks.giveBack(j.objectType, nakDelay)
			continue
		}
		// Due rows are claimed before their token, which would be had in vain if another worker was faster. Fresh
		// events are cut after it: while it is waited for, their batches go on filling up.
		if j.kind == fresh {
			if j.token, ok = d.reserveToken(ctx, writes, j); !ok {
				if ctx.Err() != nil {
					return j, false
				}
				continue
			}
		}
		if d.begin(&j) {
			return j, true
		}
		d.limiter.Refund(j.token)
	}
}

// await waits for something to send. ok is false when ctx has ended.
func (d *dispatcher) await(ctx context.Context) (j plannedCall, ok bool) {
	for ctx.Err() == nil {
		j, wait, ok := d.plan.choose(time.Now())
		if ok {
			return j, true
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-t.C:
		}
		t.Stop()
	}
	return plannedCall{}, false
}

// begin takes what a call carries out of what waits. It reports false when that is not there any more, or may not be
// sent any more. Only the dispatcher begins calls: where it found room, there is room.
func (d *dispatcher) begin(j *plannedCall) bool {
	now := time.Now()
	ok, scout, _ := d.backoff.Lets(now)
	if !ok {
		return false
	}
	j.scout = scout || d.pauses.Scout(j.trials)
	if j.kind == fresh {
		if !d.cut(j, now) {
			return false
		}
	} else {
		j.most = d.plan.most(j)
		j.claim = d.inflight.Claim()
		d.due.take(j.objectType, j.kind)
	}
	if j.kind == reconciling {
		d.reads.Begin(j.objectType, now.Add(d.cfg.CallTimeout))
	} else {
		d.windows.Begin(j.objectType)
	}
	if j.scout {
		d.backoff.BeginScout()
	}
	d.active.Add(1)
	d.plan.freshNext = j.kind != fresh
	return true
}

// makeCall makes a call that has begun, with what goes before and after it.
func (d *dispatcher) makeCall(calls, writes context.Context, j *plannedCall) {
	defer d.end(j)
	if j.kind == fresh {
		d.attempts.send(calls, writes, j.cut)
	} else {
		d.attempts.sendDue(calls, writes, j)
	}
}

// cut takes fresh events for a call. Since it was planned, another object type may have become more urgent, and this
// one paused; a trial is of its own object type.
func (d *dispatcher) cut(j *plannedCall, now time.Time) (ok bool) {
	if len(j.trials) == 0 {
		open := slices.DeleteFunc(d.waiting.types(), func(objectType string) bool {
			return !d.pauses.StillPassable(objectType, false, nil) || !d.plan.hasRoom(objectType)
		})
		if j.objectType, ok = d.plan.ready(now, open); !ok {
			return false
		}
	}
	items, why := d.waiting.cut(j.objectType, d.plan.most(j), now)
	j.cut = &cut{objectType: j.objectType, items: items, count: len(items), reason: why, trials: j.trials,
		scout: j.scout, token: j.token}
	return len(items) > 0
}

// end ends a call, with what goes before and after it.
func (d *dispatcher) end(j *plannedCall) {
	d.active.Add(-1)
	room := j.kind != reconciling && d.windows.End(j.objectType)
	if j.scout {
		d.backoff.EndScout()
		room = true
	}
	if room {
		d.wakeUp()
	}
}

// mayTry asks for the right to make the trial call of these pauses.
func (d *dispatcher) mayTry(ctx context.Context, pauses []string) bool {
	for _, key := range pauses {
		var mine bool
		err := d.retry.write(ctx, ctx, func(ctx context.Context) (err error) {
			mine, err = d.store.Pauses.Try(ctx, key, d.cfg.TrialInterval)
			return err
		})
		d.pauses.PutOff(key, time.Now().Add(d.cfg.TrialInterval))
		if err != nil || !mine {
			return false
		}
	}
	return true
}

// reserveToken gets the token of a call whose batch is not cut yet, and waits until it is time to cut it. It reports
// false when ctx has ended, or a pause has begun.
func (d *dispatcher) reserveToken(ctx, writes context.Context, j plannedCall) (got limiter.Token, ok bool) {
	got, err := d.limiter.Reserve(ctx, func() (tokens int, ok bool) {
		tokens = min(d.waiting.len()/d.cfg.Batch.Size, d.cfg.InFlight-int(d.active.Load()))
		return tokens, d.pauses.StillPassable(outbox.Account, false, j.trials)
	})
	d.caller.pauseForTheDay(writes, err)
	return got, err == nil
}
