package pipeline

import (
	"context"
	"slices"

	"crmintake/outbox"
	"crmintake/worker"
)

// reconcile asks the CRM about rows in doubt, by what their calls were made with, and commits what it says. A read that
// fails concludes nothing.
func (w *Worker) reconcile(calls, writes context.Context, b *attempt) {
	rivals, err := w.rivalsOf(writes, b, nil)
	if err != nil {
		w.lost(b, err)
		return
	}
	answer, ok := w.read(calls, writes, b, rivals)
	if !ok {
		return
	}
	if rivals, err = w.newRivals(writes, b, answer.Found, rivals); err != nil {
		w.lost(b, err)
		return
	}
	settlements := make([]outbox.Settlement, len(b.rows))
	wait := max(answer.Call.Wait, w.paceReads(b.ObjectType, answer.Class))
	alone := len(b.values()) == 1
	for k := range b.rows {
		r := &b.rows[k]
		switch found, ok := answer.Found[r.value]; {
		case ok:
			settlements[k] = w.whose(b, r, &found, rivals, &answer.Call)
		case answer.Missing[r.value]:
			settlements[k] = w.judge.missing(r)
		case answer.Class == worker.Answered:
			settlements[k] = w.judge.untold(r, &answer, alone)
		default:
			settlements[k] = w.judge.notRead(r, wait, &answer.Call)
		}
	}
	if err := w.leaveClaimed(writes, b, &answer, settlements); err != nil {
		w.lost(b, err)
		return
	}
	w.commit(writes, b, &answer.Call, settlements)
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
func (w *Worker) read(calls, writes context.Context, b *attempt, rivals []*rival) (answer worker.ReadAnswer, ok bool) {
	deadline, ok := w.deadline(calls, writes, b)
	if !ok {
		return worker.ReadAnswer{}, false
	}
	ctx, cancel := context.WithDeadline(calls, deadline)
	defer cancel()
	by := b.IDProperty
	if by == outbox.ByRecordID {
		by = ""
	}
	w.metrics.inFlight.Inc()
	span := w.within(b.span, "read")
	answer = w.crm.Read(ctx, b.ObjectType, by, b.values(), w.evidence(b, rivals))
	endCall(span, b, answer.Class, &answer.Call)
	w.metrics.called("read", &answer.Call)
	w.applyResponse(writes, b, answer.Class, &answer.Call)
	return answer, true
}

// giveUpDoubt settles rows in doubt that nothing can be asked about, since their call was made without an id
// property, as parkUnknown does where the object type has none now either.
func (w *Worker) giveUpDoubt(writes context.Context, b *attempt) {
	again := w.cfg.onUnknown(b.ObjectType) == Resend
	settlements := make([]outbox.Settlement, len(b.rows))
	for k := range b.rows {
		r, s := &b.rows[k], &settlements[k]
		s.EventID = r.id
		if again && !w.judge.spent(r, r.attempts) {
			s.Status, s.PossibleDuplicate, s.Wait = outbox.Retry, true, w.judge.wait(r.attempts+1)
		} else {
			s.Status, s.Reason = outbox.Dead, outbox.UnknownOutcome
		}
	}
	w.commit(writes, b, &worker.Call{Detail: "not called: the calls of these events were made without an id property to ask by"}, settlements)
}

// parkBatch is how many rows in doubt are parked by one statement.
const parkBatch = 1000

// parkUnknown settles rows in doubt of an object type without an id property that nothing can be asked about, as
// Config.OnUnknown and OnUnknownOf say.
func (w *Worker) parkUnknown(ctx context.Context, objectType string) error {
	var how *outbox.Resend
	if r := w.cfg.Retry; w.cfg.onUnknown(objectType) == Resend {
		how = &outbox.Resend{Attempts: r.Attempts, Age: r.Age, Initial: r.Initial, Max: r.Max}
	}
	for {
		dead, again, err := w.store.Schedule.Park(ctx, objectType, how, parkBatch)
		if err != nil {
			return err
		}
		if again > 0 {
			w.metrics.ended(outbox.Retry, "", again)
			w.metrics.reconciliations.WithLabelValues("resent").Add(float64(again))
			w.log.Warn("events whose outcome is unknown are sent again: they may exist twice then", "object_type", objectType, "events", again)
		}
		if dead > 0 {
			w.metrics.ended(outbox.Dead, outbox.UnknownOutcome, dead)
			w.metrics.reconciliations.WithLabelValues("parked").Add(float64(dead))
			w.log.Warn("events whose outcome is unknown are dead letters: nothing tells whether their records exist",
				"object_type", objectType, "events", dead)
		}
		if dead+again < parkBatch {
			return nil
		}
	}
}
