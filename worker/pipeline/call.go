package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/limiter"
)

// caller makes the create calls of attempts, each at its time and inside its lease.
type caller struct {
	*parts
	pauser   *pauser
	feedback *feedback
	outcomes *outcomes
}

// call makes the call of a batch. It reports false when its lease was lost before it began.
func (c *caller) call(calls, writes context.Context, b *attempt) (answer worker.Answer, ok bool) {
	deadline, ok := c.deadline(calls, writes, b)
	if !ok {
		return worker.Answer{}, false
	}
	ctx, cancel := context.WithDeadline(calls, deadline)
	defer cancel()
	lent := c.inputs.get(len(b.rows))
	defer c.inputs.put(lent)
	inputs := *lent
	for k := range b.rows {
		inputs[k] = b.rows[k].input
	}
	c.metrics.batches.WithLabelValues(b.cut).Inc()
	c.metrics.batchEvents.Observe(float64(len(inputs)))
	c.metrics.inFlight.Inc()
	span := c.traces.within(b.span, "create")
	answer = c.crm.Create(ctx, b.ObjectType, inputs)
	endCall(span, b, answer.Class, &answer.Call)
	c.metrics.called("create", &answer.Call)
	b.suspect = answer.Class == worker.PauseObjectType && answer.Call.PerhapsOneInput &&
		c.suspects.Works(b.ObjectType, time.Now())
	c.feedback.applyResponse(writes, b, answer.Class, &answer.Call)
	c.feedback.applyRequestSize(b, answer.Class)
	return answer, true
}

// deadline is when a call must have ended. It lies inside the lease, which is renewed before if need be.
func (c *caller) deadline(calls, writes context.Context, b *attempt) (at time.Time, ok bool) {
	at = time.Now().Add(c.cfg.CallTimeout)
	if at.Before(b.leaseEnd.Add(-leaseMargin)) {
		return at, true
	}
	if err := c.retry.write(calls, writes, func(ctx context.Context) error {
		b.leaseEnd = time.Now().Add(c.cfg.Lease)
		return c.store.Leases.Renew(ctx, b.Attempt)
	}); err != nil {
		c.outcomes.lost(b, err)
		return at, false
	}
	return c.deadline(calls, writes, b)
}

// renewAll renews the leases of batches, and leaves out those that were lost.
func (c *caller) renewAll(calls, writes context.Context, batches []*attempt) (kept []*attempt) {
	var ids []uuid.UUID
	for _, b := range batches {
		ids = append(ids, b.ID)
	}
	var open []uuid.UUID
	var until time.Time
	if err := c.retry.write(calls, writes, func(ctx context.Context) (err error) {
		until = time.Now().Add(c.cfg.Lease)
		open, err = c.store.Leases.RenewAll(ctx, ids, c.cfg.Lease)
		return err
	}); err != nil {
		return batches // a stop: they are put back, or their leases run out
	}
	for _, b := range batches {
		if !slices.Contains(open, b.ID) {
			c.outcomes.lost(b, outbox.ErrLeaseLost)
			continue
		}
		b.leaseEnd = until
		kept = append(kept, b)
	}
	return kept
}

// takeTokenFor waits until the call of the first of these batches may begin. Meanwhile it renews the leases of all;
// kept are those that are still held. It reports false when the calls could not be made even with a token: because of a
// pause, a hold or a stop.
func (c *caller) takeTokenFor(calls, writes context.Context, batches []*attempt) (kept []*attempt, ok bool) {
	if len(batches) == 0 {
		return nil, false
	}
	first := batches[0]
	mine := first.token
	first.token = limiter.Token{} // perhaps it is another batch's that is the first in the end
	renewed := time.Now()
	mine, err := c.limiter.Wait(calls, mine, first.kind == reconciling, c.cfg.Lease/4, func() bool {
		if time.Since(renewed) >= c.cfg.Lease/4 {
			renewed = time.Now()
			batches = c.renewAll(calls, writes, batches)
		}
		return len(batches) > 0 && c.mayStill(batches[0])
	})
	c.pauseForTheDay(writes, err)
	if err != nil {
		return batches, false
	}
	batches[0].token = mine
	return batches, true
}

// mayStill reports whether no pause and no hold keeps the call of a batch from being made.
func (c *caller) mayStill(b *attempt) bool {
	return c.pauses.StillPassable(b.ObjectType, b.kind == reconciling, b.trials) &&
		c.backoff.StillLets(time.Now(), b.scout)
}

// pauseForTheDay pauses everything until there may be calls again, if err is that the day's calls are used up.
func (c *caller) pauseForTheDay(writes context.Context, err error) {
	if day, ok := errors.AsType[*limiter.DayUsedError](err); ok {
		c.pauser.pause(writes, outbox.Account, outbox.ByAnswer, &worker.Call{Wait: day.Wait,
			Detail: "the day's calls are used up, but for what is reserved for other apps"})
	}
}

// awaitToken waits until the call of fresh events may begin. It reports false when it may not any more: then they were
// put back.
func (c *caller) awaitToken(calls, writes context.Context, b *attempt) bool {
	if !c.limiter.On() {
		return true
	}
	parts, ok := c.takeTokenFor(calls, writes, []*attempt{b})
	if !ok {
		c.outcomes.requeue(writes, parts)
	}
	return ok
}
