package worker

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"crmintake/outbox"
)

// nobodyNamed tells of a batch that was refused as a whole without an input named: splitting it finds the culprit.
// Never so after an ambiguous answer.
func nobodyNamed(a *Answer) bool {
	if a.Class != Refused && a.Class != TooLarge {
		return false
	}
	return !slices.ContainsFunc(a.Outcomes, func(o Outcome) bool { return o.Verdict != NotApplied })
}

// bisect sends the two halves of a refused batch as calls of their own, and their halves, until the inputs that are at
// fault stand alone: 100 inputs with one bad one take 15 calls. The leases of all parts that wait are renewed with each call.
func (w *Worker) bisect(calls, writes context.Context, refused *batch, answer *Answer) {
	parts := w.halve(calls, writes, refused, answer)
	for len(parts) > 0 {
		if !w.takeToken(calls) {
			for _, b := range parts {
				w.putBack(writes, b)
			}
			return
		}
		b, held := parts[0], false
		if parts, held = w.renewAll(calls, writes, b, parts[1:]); !held {
			continue
		}
		answer, called := w.call(calls, writes, b)
		switch {
		case !called:
		case len(b.rows) > 1 && nobodyNamed(&answer):
			parts = append(w.halve(calls, writes, b, &answer), parts...)
		default:
			w.conclude(writes, b, &answer)
		}
	}
}

// putBack gives rows whose call was not begun back to `retry`: a stop uses up no attempt.
func (w *Worker) putBack(writes context.Context, b *batch) {
	settlements := make([]outbox.Settlement, len(b.rows))
	for k := range b.rows {
		settlements[k] = outbox.Settlement{EventID: b.rows[k].id, Status: outbox.Retry, Error: "the worker stopped before the call"}
	}
	w.commit(writes, b, &Call{Detail: "not called: the worker stopped"}, settlements)
}

// halve moves the rows of a refused batch to two new attempts that name it as their parent, and closes it.
func (w *Worker) halve(calls, writes context.Context, b *batch, answer *Answer) (halves []*batch) {
	for _, rows := range [2][]row{b.rows[:len(b.rows)/2], b.rows[len(b.rows)/2:]} {
		half := &batch{attempt: w.newAttempt(b.attempt.ObjectType), rows: rows}
		ids := make([]string, len(rows))
		for k := range rows {
			ids[k] = rows[k].id
		}
		if err := w.persist(calls, writes, func(ctx context.Context) error {
			half.leaseEnd = time.Now().Add(w.cfg.Lease)
			return w.store.Split(ctx, b.attempt.ID, half.attempt.ID, ids, w.cfg.Lease)
		}); err != nil {
			w.lost(b, err)
			return halves
		}
		halves = append(halves, half)
	}
	w.commitTally(writes, b, &answer.Call, outbox.Call{NotApplied: len(b.rows)}, nil)
	return halves
}

// renewAll renews the leases of b and of the parts that wait, and leaves out those that were lost. held is false if b was.
func (w *Worker) renewAll(calls, writes context.Context, b *batch, parts []*batch) (kept []*batch, held bool) {
	ids := []uuid.UUID{b.attempt.ID}
	for _, p := range parts {
		ids = append(ids, p.attempt.ID)
	}
	var open []uuid.UUID
	var until time.Time
	if err := w.persist(calls, writes, func(ctx context.Context) (err error) {
		until = time.Now().Add(w.cfg.Lease)
		open, err = w.store.RenewAll(ctx, ids, w.cfg.Lease)
		return err
	}); err != nil {
		w.lost(b, err)
		return nil, false
	}
	isOpen := func(b *batch) bool {
		b.leaseEnd = until
		if slices.Contains(open, b.attempt.ID) {
			return true
		}
		w.lost(b, outbox.ErrLeaseLost)
		return false
	}
	for _, p := range parts {
		if isOpen(p) {
			kept = append(kept, p)
		}
	}
	return kept, isOpen(b)
}
