package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

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
	wait := max(answer.Call.Wait, w.askAgain(b.ObjectType, answer.Class))
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

// refusedRead tells of an answer that will be the same until a person changes something.
func refusedRead(c worker.Class) bool {
	return c == worker.PauseObjectType || c == worker.Refused || c == worker.TooLarge
}

// readPace is how an object type's rows in doubt are asked about while the CRM refuses that: it costs creates little
// of the quota. Worker.mu guards it.
type readPace struct {
	refused int       // times in a row
	next    time.Time // nobody asks before
	lent    time.Time // nor before this, while one asks
}

// longestAsking is the longest time between two reads that may be refused.
const longestAsking = 15 * time.Minute

// askAgain learns from a read, and says for how long no other is made because it was refused: each time twice as long.
func (w *Worker) askAgain(objectType string, class worker.Class) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !refusedRead(class) {
		if class == worker.Answered {
			delete(w.asks, objectType)
		}
		return 0
	}
	a, now := w.asks[objectType], time.Now()
	if a == nil {
		a = &readPace{}
		w.asks[objectType] = a
	}
	if now.Before(a.next) { // of the same moment as another
		return a.next.Sub(now)
	}
	wait := max(min(w.cfg.TrialInterval<<min(a.refused, 10), longestAsking), w.cfg.TrialInterval)
	a.refused++
	a.next, a.lent = now.Add(wait), time.Time{}
	return wait
}

// mayAsk tells whether rows in doubt may be asked about. The caller holds mu.
func (w *Worker) mayAsk(objectType string, now time.Time) bool {
	a := w.asks[objectType]
	return a == nil || !now.Before(a.next) && !now.Before(a.lent)
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

// applyResponse draws from an answer what concerns more than its own events: pauses and holds.
func (w *Worker) applyResponse(writes context.Context, b *attempt, class worker.Class, call *worker.Call) {
	objectType := b.ObjectType
	if b.kind == reconciling {
		w.applyReadResponse(objectType, class, call)
	}
	if w.limiter.On() && b.token.IsZero() {
		w.log.Error("a call was made without its part of the quota; this is a fault of the program", "attempt", b.ID)
	}
	w.calls.answered(class, call)
	explained := w.limiter.Answered(writes, b.token, class, call)
	throttles := class == worker.Throttled && !explained
	if !explained {
		w.mu.Lock()
		w.unwell.learn(class, call)
		w.mu.Unlock()
	}
	switch class {
	case worker.PauseAccount:
		cause := outbox.ByAnswer
		if call.Cause == worker.BadCredential {
			cause = outbox.ByCredential
		}
		w.pause(writes, outbox.Account, cause, call)
		return
	case worker.PauseObjectType:
		// The account answers; only this it doesn't do.
		w.resume(writes, slices.DeleteFunc(slices.Clone(b.trials), func(key string) bool { return key != outbox.Account }))
		if b.kind != reconciling && !b.suspect {
			w.pause(writes, objectType, outbox.ByAnswer, call)
		}
		w.mu.Lock()
		w.backoff.answered(time.Now(), call.Duration) // it is there
		w.mu.Unlock()
		return
	case worker.Answered, worker.Refused, worker.TooLarge:
		w.resume(writes, slices.DeleteFunc(slices.Clone(b.trials), func(key string) bool { return b.trial != nil && key == objectType }))
	}
	w.mu.Lock()
	switch class {
	case worker.Answered, worker.Refused, worker.TooLarge:
		if class == worker.Answered && b.kind != reconciling {
			w.worked[objectType] = time.Now()
		}
		w.backoff.answered(time.Now(), call.Duration)
	case worker.Throttled:
		if throttles {
			w.backoff.throttled(time.Now(), call.Duration, call.Wait)
		}
	case worker.Unavailable, worker.Ambiguous:
		w.backoff.failed(time.Now(), call.Wait)
	}
	down := w.backoff.held > 0
	w.mu.Unlock()
	if class == worker.Answered {
		w.calling.worked()
	} else if down && (class == worker.Unavailable || class == worker.Ambiguous) {
		w.calling.failed(errors.New(call.ForLog()))
	}
}

// applyReadResponse logs, once, that events in doubt can't be asked about, and that they can again. It pauses nothing:
// creating goes on.
func (w *Worker) applyReadResponse(objectType string, class worker.Class, call *worker.Call) {
	w.mu.Lock()
	o := w.reads[objectType]
	if o == nil {
		o = &failureLog{log: w.log, what: "asking about events of " + objectType + " whose outcome is unknown (batch/read)"}
		w.reads[objectType] = o
	}
	w.mu.Unlock()
	if refusedRead(class) {
		o.failed(errors.New(call.ForLog()))
	} else if class == worker.Answered {
		o.worked()
	}
}
