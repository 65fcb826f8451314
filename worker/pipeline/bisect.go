package pipeline

import (
	"context"
	"slices"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// nobodyNamed reports whether a batch was refused as a whole without an input named: splitting it finds the culprit.
// Never so after an ambiguous answer.
func nobodyNamed(a *worker.Answer) bool {
	if a.Class != worker.Refused && a.Class != worker.TooLarge {
		return false
	}
	return !slices.ContainsFunc(a.Outcomes, func(o worker.Outcome) bool { return o.Verdict != worker.NotApplied })
}

// splitter finds the inputs at fault in batches that were refused as a whole.
type splitter struct {
	*parts
	pauser   *pauser
	caller   *caller
	outcomes *outcomes
}

// bisect sends the two halves of a refused batch as calls of their own, and their halves, until the inputs that are
// at fault stand alone: 100 inputs with one bad one take 15 calls. One that is too large is halved by bytes, and the
// others by count. The leases of all parts that wait are renewed with each call.
func (s *splitter) bisect(calls, writes context.Context, refused *attempt, answer *worker.Answer) {
	parts := s.halve(calls, writes, refused, answer)
	for len(parts) > 0 {
		b, rest, answer, ok := s.callFirst(calls, writes, parts)
		if !ok {
			return
		}
		parts = rest
		switch {
		case b == nil:
		case len(b.rows) > 1 && nobodyNamed(&answer):
			parts = append(s.halve(calls, writes, b, &answer), parts...)
		default:
			s.outcomes.conclude(writes, b, &answer)
		}
	}
}

// callFirst makes the call of the first of the parts of a batch, and renews the leases of all; b is nil if its lease
// was lost. It reports false when the parts were put back, for a pause or a stop.
func (s *splitter) callFirst(calls, writes context.Context, parts []*attempt) (b *attempt, rest []*attempt,
	answer worker.Answer, ok bool) {
	parts, ok = s.caller.takeTokenFor(calls, writes, s.caller.renewAll(calls, writes, parts))
	if !ok {
		s.outcomes.requeue(writes, parts)
		return nil, nil, worker.Answer{}, false
	}
	answer, called := s.caller.call(calls, writes, parts[0])
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

// halve moves the rows of a refused batch to two new attempts that name it as their parent, and closes it.
func (s *splitter) halve(calls, writes context.Context, b *attempt, answer *worker.Answer) (halves []*attempt) {
	k := middle(b.rows, answer.Class == worker.TooLarge)
	for _, rows := range [2][]row{b.rows[:k], b.rows[k:]} {
		half := &attempt{Attempt: s.newAttempt(b.ObjectType), kind: b.kind, rows: rows, trial: b.trial, cut: cutSplit,
			span: b.span}
		if b.trial != nil { // still the trial that its parent was
			half.trials = []string{b.ObjectType}
		}
		ids := make([]string, len(rows))
		for k := range rows {
			ids[k] = rows[k].id
		}
		if err := s.retry.write(calls, writes, func(ctx context.Context) error {
			half.leaseEnd = time.Now().Add(s.cfg.Lease)
			return s.store.Batches.Split(ctx, b.ID, half.ID, ids, s.cfg.Lease)
		}); err != nil {
			s.outcomes.lost(b, err)
			return halves
		}
		halves = append(halves, half)
	}
	s.outcomes.commitTally(writes, b, &answer.Call, outbox.Call{NotApplied: len(b.rows)}, nil)
	return halves
}
