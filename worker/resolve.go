package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"crmintake/outbox"
)

// resolve asks the CRM about rows in doubt, by their id property, and commits what it says. A read that fails concludes nothing.
func (w *Worker) resolve(calls, writes context.Context, b *batch) {
	answer, ok := w.read(calls, writes, b)
	if !ok {
		return
	}
	wait := answer.Call.Wait
	if refusedRead(answer.Class) {
		wait = max(wait, w.cfg.TrialInterval) // until somebody mends it
	}
	settlements := make([]outbox.Settlement, len(b.rows))
	for k := range b.rows {
		r := &b.rows[k]
		switch found, ok := answer.Found[r.input.IDValue]; {
		case ok:
			settlements[k] = w.judge.found(r, &found)
		case answer.Class == Answered:
			settlements[k] = w.judge.found(r, nil)
		default:
			settlements[k] = w.judge.notRead(r, wait, &answer.Call)
		}
	}
	w.commit(writes, b, &answer.Call, settlements)
}

// read makes the call of a batch of rows in doubt. It reports false when its lease was lost before it began.
func (w *Worker) read(calls, writes context.Context, b *batch) (answer ReadAnswer, ok bool) {
	deadline, ok := w.deadline(calls, writes, b)
	if !ok {
		return ReadAnswer{}, false
	}
	ctx, cancel := context.WithDeadline(calls, deadline)
	defer cancel()
	var values []string // each once
	for k := range b.rows {
		values = append(values, b.rows[k].input.IDValue)
	}
	slices.Sort(values)
	objectType := b.attempt.ObjectType
	w.metrics.inFlight.Inc()
	span := w.within(b.span, "read")
	answer = w.crm.Read(ctx, objectType, w.cfg.IDProperty[objectType], slices.Compact(values), nil)
	endCall(span, b, answer.Class, &answer.Call)
	w.metrics.called("read", &answer.Call)
	w.learn(writes, b, answer.Class, &answer.Call)
	return answer, true
}

// refusedRead tells of an answer that will be the same until a person changes something.
func refusedRead(c Class) bool { return c == PauseObjectType || c == Refused || c == TooLarge }

// parkBatch is how many rows in doubt are parked by one statement.
const parkBatch = 1000

// parkUnknown settles rows in doubt that nothing can be asked about, as Config.OnUnknown and OnUnknownOf say.
func (w *Worker) parkUnknown(ctx context.Context, objectType string) error {
	var how *outbox.Resend
	if r := w.cfg.Retry; w.cfg.onUnknown(objectType) == Resend {
		how = &outbox.Resend{Attempts: r.Attempts, Age: r.Age, Initial: r.Initial, Max: r.Max}
	}
	for {
		dead, again, err := w.store.Park(ctx, objectType, how, parkBatch)
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

// learn draws from an answer what concerns more than its own events: pauses and holds.
func (w *Worker) learn(writes context.Context, b *batch, class Class, call *Call) {
	objectType := b.attempt.ObjectType
	if b.kind == resolving {
		w.learnOfReading(objectType, class, call)
	}
	w.tokens.called(class, call)
	w.learnQuota(writes, b, class, call)
	switch class {
	case PauseAccount:
		cause := outbox.ByAnswer
		if call.Status == statusUnauthorized || call.Status == 0 { // without an answer there was no credential to call with
			cause = outbox.ByCredential
		}
		w.pause(writes, outbox.Account, cause, call)
		return
	case PauseObjectType:
		// The account answers; only this it doesn't do.
		w.resume(writes, slices.DeleteFunc(slices.Clone(b.trials), func(key string) bool { return key != outbox.Account }))
		if b.kind != resolving {
			w.pause(writes, objectType, outbox.ByAnswer, call)
		}
		return
	case Answered, Refused, TooLarge:
		w.resume(writes, slices.DeleteFunc(slices.Clone(b.trials), func(key string) bool { return b.probe != nil && key == objectType }))
	}
	w.mu.Lock()
	switch class {
	case Answered, Refused, TooLarge:
		w.hold.answered(time.Now(), call.Duration)
	case Throttled:
		if w.cfg.Quota.Calls == 0 || !explained(call) {
			w.hold.throttled(time.Now(), call.Duration, call.Wait)
		}
	case Unavailable, Ambiguous:
		w.hold.failed(time.Now(), call.Wait)
	}
	down := w.hold.held > 0
	w.mu.Unlock()
	if class == Answered {
		w.calling.worked()
	} else if down && (class == Unavailable || class == Ambiguous) {
		w.calling.failed(errors.New(call.forLog()))
	}
}

// learnOfReading logs, once, that events in doubt can't be asked about, and that they can again. It pauses nothing: creating goes on.
func (w *Worker) learnOfReading(objectType string, class Class, call *Call) {
	w.mu.Lock()
	o := w.reads[objectType]
	if o == nil {
		o = &outage{log: w.log, what: "asking about events of " + objectType + " whose outcome is unknown (batch/read)"}
		w.reads[objectType] = o
	}
	w.mu.Unlock()
	if refusedRead(class) {
		o.failed(errors.New(call.forLog()))
	} else if class == Answered {
		o.worked()
	}
}

const (
	statusUnauthorized    = 401
	statusTooManyRequests = 429
)
