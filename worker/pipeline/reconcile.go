package pipeline

import (
	"context"
	"slices"

	"crmintake/outbox"
	"crmintake/worker"
)

// doubts finds out what became of events in doubt.
type doubts struct {
	*parts
	feedback *feedback
	caller   *caller
	outcomes *outcomes
}

// reconcile asks the CRM about rows in doubt, by what their calls were made with, and commits what it says. A read that
// fails concludes nothing.
func (d *doubts) reconcile(calls, writes context.Context, b *attempt) {
	rivals, err := d.rivalsOf(writes, b, nil)
	if err != nil {
		d.outcomes.lost(b, err)
		return
	}
	answer, ok := d.read(calls, writes, b, rivals)
	if !ok {
		return
	}
	if rivals, err = d.newRivals(writes, b, answer.Found, rivals); err != nil {
		d.outcomes.lost(b, err)
		return
	}
	settlements := make([]outbox.Settlement, len(b.rows))
	wait := max(answer.Call.Wait, d.feedback.paceReads(b.ObjectType, answer.Class))
	alone := len(b.values()) == 1
	for k := range b.rows {
		r := &b.rows[k]
		switch found, ok := answer.Found[r.value]; {
		case ok:
			settlements[k] = d.whose(b, r, &found, rivals, &answer.Call)
		case answer.Missing[r.value]:
			settlements[k] = d.judge.missing(r)
		case answer.Class == worker.Answered:
			settlements[k] = d.judge.untold(r, &answer, alone)
		default:
			settlements[k] = d.judge.notRead(r, wait, &answer.Call)
		}
	}
	if err := d.leaveClaimed(writes, b, &answer, settlements); err != nil {
		d.outcomes.lost(b, err)
		return
	}
	d.outcomes.commit(writes, b, &answer.Call, settlements)
}

// values are the distinct values that a batch is asked about by, sorted.
func (b *attempt) values() (values []string) {
	for k := range b.rows {
		values = append(values, b.rows[k].value)
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// read makes the call of a batch of rows in doubt. It reports false when its lease was lost before it began.
func (d *doubts) read(calls, writes context.Context, b *attempt, rivals []*rival) (answer worker.ReadAnswer, ok bool) {
	deadline, ok := d.caller.deadline(calls, writes, b)
	if !ok {
		return worker.ReadAnswer{}, false
	}
	ctx, cancel := context.WithDeadline(calls, deadline)
	defer cancel()
	by := b.IDProperty
	if by == outbox.ByRecordID {
		by = ""
	}
	d.metrics.inFlight.Inc()
	span := d.traces.within(b.span, "read")
	answer = d.crm.Read(ctx, b.ObjectType, by, b.values(), d.evidence(b, rivals))
	endCall(span, b, answer.Class, &answer.Call)
	d.metrics.called("read", &answer.Call)
	d.feedback.applyResponse(writes, b, answer.Class, &answer.Call)
	return answer, true
}

// giveUp settles rows in doubt that nothing can be asked about, since their call was made without an id
// property, as parkUnknown does where the object type has none now either.
func (d *doubts) giveUp(writes context.Context, b *attempt) {
	again := d.cfg.onUnknown(b.ObjectType) == Resend
	settlements := make([]outbox.Settlement, len(b.rows))
	for k := range b.rows {
		r, s := &b.rows[k], &settlements[k]
		s.EventID = r.id
		if again && !d.judge.spent(r, r.attempts) {
			s.Status, s.PossibleDuplicate, s.Wait = outbox.Retry, true, d.judge.wait(r.attempts+1)
		} else {
			s.Status, s.Reason = outbox.Dead, outbox.UnknownOutcome
		}
	}
	d.outcomes.commit(writes, b, &worker.Call{
		Detail: "not called: the calls of these events were made without an id property to ask by"}, settlements)
}
