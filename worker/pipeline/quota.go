package pipeline

import (
	"context"
	"errors"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/limiter"
)

// shared is the quota as the outbox keeps it for all workers.
func (q Quota) shared() outbox.Quota {
	return outbox.Quota{Account: outbox.QuotaAccount, Calls: q.Calls, Window: q.Window, Reserve: q.Reserve, Daily: q.Daily,
		Location: q.Location}
}

// reserveToken gets the token of a call whose batch is not cut yet, and waits until it is time to cut it. It reports
// false when ctx has ended, or a pause has begun.
func (w *Worker) reserveToken(ctx, writes context.Context, j plannedCall) (got limiter.Token, ok bool) {
	got, err := w.limiter.Reserve(ctx, func() (tokens int, ok bool) {
		tokens = min(w.waiting.len()/w.cfg.Batch.Size, w.cfg.InFlight-int(w.active.Load()))
		return tokens, w.pauses.StillPassable(outbox.Account, false, j.trials)
	})
	w.pauseForTheDay(writes, err)
	return got, err == nil
}

// takeTokenFor waits until the call of the first of these batches may begin. Meanwhile it renews the leases of all; kept
// are those that are still held. It reports false when the calls could not be made even with a token: because of a
// pause, a hold or a stop.
func (w *Worker) takeTokenFor(calls, writes context.Context, batches []*attempt) (kept []*attempt, ok bool) {
	if len(batches) == 0 {
		return nil, false
	}
	first := batches[0]
	mine := first.token
	first.token = limiter.Token{} // perhaps it is another batch's that is the first in the end
	renewed := time.Now()
	mine, err := w.limiter.Wait(calls, mine, first.kind == reconciling, w.cfg.Lease/4, func() bool {
		if time.Since(renewed) >= w.cfg.Lease/4 {
			renewed = time.Now()
			batches = w.renewAll(calls, writes, batches)
		}
		return len(batches) > 0 && w.mayStill(batches[0])
	})
	w.pauseForTheDay(writes, err)
	if err != nil {
		return batches, false
	}
	batches[0].token = mine
	return batches, true
}

// mayStill reports whether no pause and no hold keeps the call of a batch from being made.
func (w *Worker) mayStill(b *attempt) bool {
	return w.pauses.StillPassable(b.ObjectType, b.kind == reconciling, b.trials) && w.backoff.StillLets(time.Now(), b.scout)
}

// pauseForTheDay pauses everything until there may be calls again, if err is that the day's calls are used up.
func (w *Worker) pauseForTheDay(writes context.Context, err error) {
	if day, ok := errors.AsType[*limiter.DayUsedError](err); ok {
		w.pause(writes, outbox.Account, outbox.ByAnswer, &worker.Call{Wait: day.Wait,
			Detail: "the day's calls are used up, but for what is reserved for other apps"})
	}
}

// awaitToken waits until the call of fresh events may begin. It reports false when it may not any more: then they were put
// back.
func (w *Worker) awaitToken(calls, writes context.Context, b *attempt) bool {
	if !w.limiter.On() {
		return true
	}
	parts, ok := w.takeTokenFor(calls, writes, []*attempt{b})
	if !ok {
		w.requeue(writes, parts)
	}
	return ok
}
