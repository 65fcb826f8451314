package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// What an answer means for other calls than its own stands here: for the quota, the pauses, the backoff, the pace of reads, the size
// of requests and the breaker (breaker.go). What it means for its own events, judge.go says.

// applyResponse applies the account-wide effects of a response.
func (w *Worker) applyResponse(writes context.Context, b *attempt, class worker.Class, call *worker.Call) {
	if b.kind == reconciling {
		w.logReads(b.ObjectType, class, call)
	}
	if w.limiter.On() && b.token.IsZero() {
		w.log.Error("a call was made without its part of the quota; this is a fault of the program", "attempt", b.ID)
	}
	w.calls.answered(class, call)
	explained := w.limiter.Answered(writes, b.token, class, call)
	if !explained {
		w.noteCRM(class, call)
	}
	now := time.Now()
	switch class {
	case worker.Answered, worker.Refused, worker.TooLarge:
		// The trial of a breaker's pause is judged by what becomes of its inputs.
		w.resume(writes, without(b.trials, func(key string) bool { return b.trial != nil && key == b.ObjectType }))
		if class == worker.Answered {
			w.calling.worked()
			if b.kind != reconciling {
				w.suspects.Answered(b.ObjectType, now)
			}
		}
		w.backoff.Answered(time.Now(), call.Duration)
		w.wakeUp()
	case worker.PauseAccount:
		cause := outbox.ByAnswer
		if call.Cause == worker.BadCredential {
			cause = outbox.ByCredential
		}
		w.pause(writes, outbox.Account, cause, call)
	case worker.PauseObjectType:
		// The account answers; only this it doesn't do.
		w.resume(writes, without(b.trials, func(key string) bool { return key != outbox.Account }))
		if b.kind != reconciling && !b.suspect {
			w.pause(writes, b.ObjectType, outbox.ByAnswer, call)
		}
		w.backoff.Answered(time.Now(), call.Duration)
		w.wakeUp()
	case worker.Throttled:
		if !explained {
			w.backoff.Throttled(now, call.Duration, call.Wait)
		}
	case worker.Unavailable, worker.Ambiguous:
		if down := w.backoff.Failed(now, call.Wait); down {
			w.calling.failed(errors.New(call.ForLog()))
		}
	}
}

func without(trials []string, which func(key string) bool) []string {
	return slices.DeleteFunc(slices.Clone(trials), which)
}

// noteCRM keeps, for others to read, whether the CRM answers.
func (w *Worker) noteCRM(class worker.Class, call *worker.Call) {
	w.toldMu.Lock()
	defer w.toldMu.Unlock()
	w.unwell.learn(class, call)
}

// logReads logs, once, that events in doubt can't be asked about, and that they can again. It pauses nothing: creating goes on.
func (w *Worker) logReads(objectType string, class worker.Class, call *worker.Call) {
	w.toldMu.Lock()
	o := w.readLogs[objectType]
	if o == nil {
		o = &failureLog{log: w.log, what: "asking about events of " + objectType + " whose outcome is unknown (batch/read)"}
		w.readLogs[objectType] = o
	}
	w.toldMu.Unlock()
	if refusedRead(class) {
		o.failed(errors.New(call.ForLog()))
	} else if class == worker.Answered {
		o.worked()
	}
}

// refusedRead reports whether an answer will be the same until a person changes something.
func refusedRead(c worker.Class) bool {
	return c == worker.PauseObjectType || c == worker.Refused || c == worker.TooLarge
}

// paceReads takes in a read's answer, and says for how long no other read is made because it was refused.
func (w *Worker) paceReads(objectType string, class worker.Class) time.Duration {
	if refusedRead(class) {
		return w.reads.Refused(objectType, time.Now())
	}
	if class == worker.Answered {
		w.reads.Answered(objectType)
	}
	return 0
}

// applyRequestSize remembers what size of a request was accepted or refused. A single event is sent however large it is.
func (w *Worker) applyRequestSize(b *attempt, class worker.Class) {
	size := bytesOf(b.rows)
	bound, changed := w.waiting.recordSize(size, len(b.rows), b.cut == cutSplit, class)
	args := []any{"attempt", b.ID, "object_type", b.ObjectType, "bytes", size, "at_most", bound}
	switch {
	case changed && class == worker.TooLarge:
		w.log.Warn("the CRM refuses requests of this size; batches are smaller from now on", args...)
	case changed && bound == w.cfg.Batch.Bytes:
		w.log.Info("the CRM accepts requests of this size; batches are as large again as they may be", args...)
	}
}
