package worker

import (
	"context"
	"time"

	"crmintake/outbox"
)

// resolve asks the CRM about rows in doubt, by their id property, and commits what it says. A read that fails concludes nothing.
func (w *Worker) resolve(calls, writes context.Context, j job) {
	b, ok := w.claim(calls, writes, j, outbox.Unknown)
	if !ok {
		return
	}
	deadline, ok := w.deadline(calls, writes, b)
	if !ok {
		return
	}
	ctx, cancel := context.WithDeadline(calls, deadline)
	defer cancel()
	asked := make(map[string]bool, len(b.rows))
	values := make([]string, 0, len(b.rows))
	for k := range b.rows {
		if v := b.rows[k].input.IDValue; !asked[v] {
			asked[v] = true
			values = append(values, v)
		}
	}
	answer := w.crm.Read(ctx, j.objectType, w.cfg.IDProperty[j.objectType], values)
	w.stats.Calls.Add(1)
	w.learn(writes, b, answer.Class, &answer.Call)

	settlements := make([]outbox.Settlement, len(b.rows))
	for k := range b.rows {
		r := &b.rows[k]
		if answer.Class != Answered {
			settlements[k] = w.judge.notRead(r, &answer.Call)
			continue
		}
		var found *Found
		if f, ok := answer.Found[r.input.IDValue]; ok {
			found = &f
		}
		settlements[k] = w.judge.found(r, found)
	}
	w.commit(writes, b, &answer.Call, settlements)
}

// parkBatch is how many rows in doubt are parked by one statement.
const parkBatch = 1000

// parkUnknown settles rows in doubt that nothing can be asked about, as Config.OnUnknown says.
func (w *Worker) parkUnknown(ctx context.Context, objectType string) error {
	for {
		n, err := w.store.Park(ctx, objectType, w.cfg.OnUnknown == Resend, parkBatch)
		if err != nil {
			return err
		}
		if n > 0 && w.cfg.OnUnknown == Resend {
			w.log.Warn("events whose outcome is unknown are sent again: they may exist twice now", "object_type", objectType, "events", n)
			w.more(objectType, retrying)
		} else if n > 0 {
			w.stats.Dead.Add(int64(n))
			w.log.Warn("events whose outcome is unknown are parked as dead: the object type has no id property to ask by",
				"object_type", objectType, "events", n)
		}
		if n < parkBatch {
			return nil
		}
	}
}

// learn draws from an answer what concerns more than its own events: pauses and holds.
func (w *Worker) learn(writes context.Context, b *batch, class Class, call *Call) {
	switch class {
	case PauseAccount:
		w.pause(writes, outbox.Account, call)
		return
	case PauseObjectType:
		w.pause(writes, b.attempt.ObjectType, call)
		return
	case Answered, Refused, TooLarge:
		w.resume(writes, b.trials)
	case Throttled:
		if w.cfg.Quota.Calls > 0 && call.Status == statusTooManyRequests {
			_ = w.persist(writes, writes, func(ctx context.Context) error { return w.store.Block(ctx, quotaAccount, call.Wait) })
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch class {
	case Answered, Refused, TooLarge:
		w.hold.clear()
	case Throttled:
		w.hold.extend(time.Now(), call.Wait)
	case Unavailable, Ambiguous:
		w.hold.failed(time.Now(), call.Wait)
	}
}

const statusTooManyRequests = 429
