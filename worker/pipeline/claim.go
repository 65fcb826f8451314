package pipeline

import (
	"cmp"
	"context"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/event"
)

// withDue takes rows that are due as far as their call, which it leaves to do: a claim, then a token, for which it
// waits while it keeps the claim alive.
func (w *Worker) withDue(calls, writes context.Context, j *plannedCall, status outbox.Status, do func(*attempt)) {
	defer func() {
		j.claim.Release()
		w.wakeUp()
	}()
	b, ok := w.claim(calls, writes, j, status)
	if !ok {
		return
	}
	if j.kind == reconciling && b.IDProperty == "" {
		w.giveUpDoubt(writes, b)
		return
	}
	if b.span = w.beginBatch(j.objectType, b.cut, nil); b.span != nil {
		defer b.span.End()
	}
	if parts, ok := w.takeTokenFor(calls, writes, []*attempt{b}); !ok {
		w.requeue(writes, parts)
		return
	}
	do(b)
}

// claim takes due rows for a call. It reports false when there are none any more.
func (w *Worker) claim(calls, writes context.Context, j *plannedCall, status outbox.Status) (b *attempt, ok bool) {
	b = &attempt{
		Attempt: w.newAttempt(j.objectType), kind: j.kind, trials: j.trials, scout: j.scout, cut: cutDue,
	}
	b.leaseEnd = time.Now().Add(w.cfg.Lease) // a claim that is repeated does not begin the lease anew
	most := min(w.cfg.Batch.Bytes, w.inflight.ClaimPayload())
	if status == outbox.Retry {
		most = min(most, w.waiting.mostBytes())
	}
	var claimed []outbox.Row
	err := w.retryWrite(calls, writes, func(ctx context.Context) (err error) {
		claimed, err = w.store.Schedule.Claim(ctx, b.Attempt, status, j.most, most)
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
		w.due.more(j.objectType, j.kind) // perhaps: what is asked about is claimed only with its like
	} else {
		w.due.gotFew(j.objectType, time.Now())
	}
	w.wakeUp()
	now := time.Now()
	if j.kind == reconciling {
		b.IDProperty = claimed[0].IDProperty // of all of them
	}
	property := b.IDProperty
	if property == outbox.ByRecordID {
		property = w.cfg.IDProperty[j.objectType]
	}
	for k := range claimed {
		c := &claimed[k]
		input, err := event.Decode(c.Payload, property, c.ID)
		if err != nil {
			b.unfit = append(b.unfit, unfit(c, err))
			continue
		}
		b.rows = append(b.rows, row{id: c.ID, input: input, attempts: c.Attempts, inDoubt: c.InDoubt, age: c.Age, published: now.Add(-c.Age),
			value: cmp.Or(c.IDValue, input.IDValue), misses: c.Misses, untold: c.Untold, pending: c.Pending, received: now.Add(-c.Since)})
	}
	if len(b.rows) == 0 {
		w.commit(writes, b, &worker.Call{Detail: "not called: none of the events can be sent"}, nil)
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
