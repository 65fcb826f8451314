package pipeline

import (
	"cmp"
	"context"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/event"
)

// sendDue takes rows that are due the whole way: a claim, then a token, for which it waits while it keeps the claim
// alive, then their call.
func (a *attempts) sendDue(calls, writes context.Context, j *plannedCall) {
	defer func() {
		j.claim.Release()
		a.wakeUp()
	}()
	b, ok := a.claim(calls, writes, j)
	if !ok {
		return
	}
	if j.kind == reconciling && b.IDProperty == "" {
		a.doubts.giveUp(writes, b)
		return
	}
	if b.span = a.traces.begin(j.objectType, b.cut, nil); b.span != nil {
		defer b.span.End()
	}
	if parts, ok := a.caller.takeTokenFor(calls, writes, []*attempt{b}); !ok {
		a.outcomes.requeue(writes, parts)
		return
	}
	if j.kind == reconciling {
		a.doubts.reconcile(calls, writes, b)
	} else {
		a.deliver(calls, writes, b)
	}
}

// claim takes due rows for a call. It reports false when there are none any more.
func (a *attempts) claim(calls, writes context.Context, j *plannedCall) (b *attempt, ok bool) {
	b = &attempt{
		Attempt: a.newAttempt(j.objectType), kind: j.kind, trials: j.trials, scout: j.scout, cut: cutDue,
	}
	b.leaseEnd = time.Now().Add(a.cfg.Lease) // a claim that is repeated does not begin the lease anew
	most := min(a.cfg.Batch.Bytes, a.inflight.ClaimPayload())
	status := outbox.Unknown
	if j.kind == retrying {
		status = outbox.Retry
		most = min(most, a.waiting.mostBytes())
	}
	var claimed []outbox.Row
	err := a.retry.write(calls, writes, func(ctx context.Context) (err error) {
		claimed, err = a.store.Schedule.Claim(ctx, b.Attempt, status, j.most, most)
		return err
	})
	if err != nil || len(claimed) == 0 {
		return b, false
	}
	payload := 0
	for k := range claimed {
		payload += len(claimed[k].Payload)
	}
	j.claim.Took(len(claimed), payload)
	if len(claimed) == j.most || payload > most/4 || j.kind == reconciling {
		a.due.more(j.objectType, j.kind) // perhaps: what is asked about is claimed only with its like
	} else {
		a.due.gotFew(j.objectType, time.Now())
	}
	a.wakeUp()
	now := time.Now()
	if j.kind == reconciling {
		b.IDProperty = claimed[0].IDProperty // of all of them
	}
	property := b.IDProperty
	if property == outbox.ByRecordID {
		property = a.cfg.IDProperty[j.objectType]
	}
	for k := range claimed {
		c := &claimed[k]
		input, err := event.Decode(c.Payload, property, c.ID)
		if err != nil {
			b.unfit = append(b.unfit, unfit(c, err))
			continue
		}
		b.rows = append(b.rows, row{id: c.ID, input: input, attempts: c.Attempts, inDoubt: c.InDoubt, age: c.Age,
			published: now.Add(-c.Age),
			value:     cmp.Or(c.IDValue, input.IDValue), misses: c.Misses, untold: c.Untold, pending: c.Pending, received: now.Add(-c.Since)})
	}
	if len(b.rows) == 0 {
		a.outcomes.commit(writes, b, &worker.Call{Detail: "not called: none of the events can be sent"}, nil)
		return b, false
	}
	return b, true
}

// unfit is for a row that can't be sent, though it could before: the settings are not what they were.
func unfit(r *outbox.Row, err error) outbox.Settlement {
	s := outbox.Settlement{
		EventID: r.ID, Status: outbox.Dead, Reason: outbox.InvalidEvent, Error: err.Error(),
		Errors: []outbox.Error{{Category: string(outbox.InvalidEvent), Message: err.Error()}},
	}
	if r.InDoubt {
		s.Reason = outbox.UnknownOutcome
	}
	return s
}
