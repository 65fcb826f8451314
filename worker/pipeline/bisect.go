package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"crmintake/outbox"
	"crmintake/worker"
)

// nobodyNamed tells of a batch that was refused as a whole without an input named: splitting it finds the culprit.
// Never so after an ambiguous answer.
func nobodyNamed(a *worker.Answer) bool {
	if a.Class != worker.Refused && a.Class != worker.TooLarge {
		return false
	}
	return !slices.ContainsFunc(a.Outcomes, func(o worker.Outcome) bool { return o.Verdict != worker.NotApplied })
}

// bisect sends the two halves of a refused batch as calls of their own, and their halves, until the inputs that are
// at fault stand alone: 100 inputs with one bad one take 15 calls. One that is too large is halved by bytes, and the
// others by count. The leases of all parts that wait are renewed with each call.
func (w *Worker) bisect(calls, writes context.Context, refused *attempt, answer *worker.Answer) {
	parts := w.halve(calls, writes, refused, answer)
	for len(parts) > 0 {
		b, rest, answer, ok := w.callFirst(calls, writes, parts)
		if !ok {
			return
		}
		parts = rest
		switch {
		case b == nil:
		case len(b.rows) > 1 && nobodyNamed(&answer):
			parts = append(w.halve(calls, writes, b, &answer), parts...)
		default:
			w.conclude(writes, b, &answer)
		}
	}
}

// callFirst makes the call of the first of the parts of a batch, and renews the leases of all; b is nil if its lease
// was lost. It reports false when the parts were put back, for a pause or a stop.
func (w *Worker) callFirst(calls, writes context.Context, parts []*attempt) (b *attempt, rest []*attempt, answer worker.Answer, ok bool) {
	parts, ok = w.takeTokenFor(calls, writes, w.renewAll(calls, writes, parts))
	if !ok {
		w.requeue(writes, parts)
		return nil, nil, worker.Answer{}, false
	}
	answer, called := w.call(calls, writes, parts[0])
	if called {
		b = parts[0]
	}
	return b, parts[1:], answer, true
}

// middle is where the rows of a refused batch are split: in the middle by count, or else by bytes. Both parts have
// rows.
func middle(rows []row, byBytes bool) int {
	if !byBytes {
		return len(rows) / 2
	}
	total, k := bytesOf(rows), 1
	for first := rows[0].input.Len(); k < len(rows)-1; k++ {
		next := rows[k].input.Len()
		if 2*first+next > total { // with the next one the parts would be no more alike
			break
		}
		first += next
	}
	return k
}

func bytesOf(rows []row) (n int) {
	for k := range rows {
		n += rows[k].input.Len()
	}
	return n
}

// requeue gives up calls that were not begun, for a pause or a stop: it uses up no attempt.
func (w *Worker) requeue(writes context.Context, batches []*attempt) {
	for _, b := range batches {
		status := outbox.Retry
		if b.kind == reconciling {
			status = outbox.Unknown
		}
		settlements := make([]outbox.Settlement, len(b.rows))
		for k := range b.rows {
			r, s := &b.rows[k], &settlements[k]
			s.EventID, s.Status, s.Reason = r.id, status, r.pending
			if r.pending == "" {
				s.Error = "put off before the call, by a pause or a stop"
			}
		}
		w.commit(writes, b, &worker.Call{Detail: "not called: put off by a pause or a stop"}, settlements)
	}
}

// halve moves the rows of a refused batch to two new attempts that name it as their parent, and closes it.
func (w *Worker) halve(calls, writes context.Context, b *attempt, answer *worker.Answer) (halves []*attempt) {
	k := middle(b.rows, answer.Class == worker.TooLarge)
	for _, rows := range [2][]row{b.rows[:k], b.rows[k:]} {
		half := &attempt{Attempt: w.newAttempt(b.ObjectType), kind: b.kind, rows: rows, trial: b.trial, cut: cutSplit, span: b.span}
		if b.trial != nil { // still the trial that its parent was
			half.trials = []string{b.ObjectType}
		}
		ids := make([]string, len(rows))
		for k := range rows {
			ids[k] = rows[k].id
		}
		if err := w.retryWrite(calls, writes, func(ctx context.Context) error {
			half.leaseEnd = time.Now().Add(w.cfg.Lease)
			return w.store.Batches.Split(ctx, b.ID, half.ID, ids, w.cfg.Lease)
		}); err != nil {
			w.lost(b, err)
			return halves
		}
		halves = append(halves, half)
	}
	w.commitTally(writes, b, &answer.Call, outbox.Call{NotApplied: len(b.rows)}, nil)
	return halves
}

// renewAll renews the leases of batches, and leaves out those that were lost.
func (w *Worker) renewAll(calls, writes context.Context, batches []*attempt) (kept []*attempt) {
	var ids []uuid.UUID
	for _, b := range batches {
		ids = append(ids, b.ID)
	}
	var open []uuid.UUID
	var until time.Time
	if err := w.retryWrite(calls, writes, func(ctx context.Context) (err error) {
		until = time.Now().Add(w.cfg.Lease)
		open, err = w.store.Leases.RenewAll(ctx, ids, w.cfg.Lease)
		return err
	}); err != nil {
		return batches // a stop: they are put back, or their leases run out
	}
	for _, b := range batches {
		if !slices.Contains(open, b.ID) {
			w.lost(b, outbox.ErrLeaseLost)
			continue
		}
		b.leaseEnd = until
		kept = append(kept, b)
	}
	return kept
}
