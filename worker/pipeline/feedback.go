package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// feedback applies what an answer means for other calls than its own: for the quota, the pauses, the backoff, the pace
// of reads, the size of requests and the breaker (breaker.go). What it means for its own events, judge.go says.
type feedback struct {
	*parts
	pauser *pauser
}

// applyResponse applies the account-wide effects of a response.
func (f *feedback) applyResponse(writes context.Context, b *attempt, class worker.Class, call *worker.Call) {
	if b.kind == reconciling {
		f.logReads(b.ObjectType, class, call)
	}
	if f.limiter.On() && b.token.IsZero() {
		f.log.Error("a call was made without its part of the quota; this is a fault of the program", "attempt", b.ID)
	}
	explained := f.limiter.Answered(writes, b.token, class, call)
	if !explained {
		f.fleet.Answered(class, call)
	}
	now := time.Now()
	switch class {
	case worker.Answered, worker.Refused, worker.TooLarge:
		// The trial of a breaker's pause is judged by what becomes of its inputs.
		f.pauser.resume(writes,
			without(b.trials, func(key string) bool { return b.trial != nil && key == b.ObjectType }))
		if class == worker.Answered {
			f.calling.worked()
			if b.kind != reconciling {
				f.suspects.Answered(b.ObjectType, now)
			}
		}
		f.backoff.Answered(now, call.Duration)
		f.wakeUp()
	case worker.PauseAccount:
		cause := outbox.ByAnswer
		if call.Cause == worker.BadCredential {
			cause = outbox.ByCredential
		}
		f.pauser.pause(writes, outbox.Account, cause, call)
	case worker.PauseObjectType:
		// The account answers; only this it doesn't do.
		f.pauser.resume(writes, without(b.trials, func(key string) bool { return key != outbox.Account }))
		if b.kind != reconciling && !b.suspect {
			f.pauser.pause(writes, b.ObjectType, outbox.ByAnswer, call)
		}
		f.backoff.Answered(now, call.Duration)
		f.wakeUp()
	case worker.Throttled:
		if !explained {
			f.backoff.Throttled(now, call.Duration, call.Wait)
		}
	case worker.Unavailable, worker.Ambiguous:
		if down := f.backoff.Failed(now, call.Wait); down {
			f.calling.failed(errors.New(call.ForLog()))
		}
	}
}

func without(trials []string, which func(key string) bool) []string {
	return slices.DeleteFunc(slices.Clone(trials), which)
}

// logReads logs, once, that events in doubt can't be asked about, and that they can again. It pauses nothing: creating
// goes on.
func (f *feedback) logReads(objectType string, class worker.Class, call *worker.Call) {
	log := f.readLogs.of(objectType, func() *failureLog {
		return &failureLog{log: f.log, what: "asking about events of " + objectType + " whose outcome is unknown (batch/read)"}
	})
	if refusedRead(class) {
		log.failed(errors.New(call.ForLog()))
	} else if class == worker.Answered {
		log.worked()
	}
}

// refusedRead reports whether an answer will be the same until a person changes something.
func refusedRead(c worker.Class) bool {
	return c == worker.PauseObjectType || c == worker.Refused || c == worker.TooLarge
}

// paceReads takes in a read's answer, and says for how long no other read is made because it was refused.
func (f *feedback) paceReads(objectType string, class worker.Class) time.Duration {
	if refusedRead(class) {
		return f.reads.Refused(objectType, time.Now())
	}
	if class == worker.Answered {
		f.reads.Answered(objectType)
	}
	return 0
}

// applyRequestSize remembers what size of a request was accepted or refused. A single event is sent however large it
// is.
func (f *feedback) applyRequestSize(b *attempt, class worker.Class) {
	size := bytesOf(b.rows)
	bound, changed := f.waiting.recordSize(size, len(b.rows), b.cut == cutSplit, class)
	args := []any{"attempt", b.ID, "object_type", b.ObjectType, "bytes", size, "at_most", bound}
	switch {
	case changed && class == worker.TooLarge:
		f.log.Warn("the CRM refuses requests of this size; batches are smaller from now on", args...)
	case changed && bound == f.cfg.Batch.Bytes:
		f.log.Info("the CRM accepts requests of this size; batches are as large again as they may be", args...)
	}
}
