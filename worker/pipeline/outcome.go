package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// outcomes commits what became of the rows of calls.
type outcomes struct {
	*parts
	feedback *feedback
}

// conclude judges an answer and commits the outcome.
func (o *outcomes) conclude(writes context.Context, b *attempt, answer *worker.Answer) {
	lent := o.settlements.get(len(b.rows))
	defer o.settlements.put(lent)
	settlements := *lent
	for k := range b.rows {
		settlements[k] = o.judge.outcome(&b.rows[k], &answer.Outcomes[k], answer.Class, &answer.Call, b.IDProperty)
	}
	tally := outbox.Call{}
	for k := range answer.Outcomes {
		switch answer.Outcomes[k].Verdict {
		case worker.Created:
			tally.Created++
		case worker.Rejected:
			tally.Rejected++
		case worker.NotApplied:
			tally.NotApplied++
		default:
			tally.Unknown++
		}
	}
	o.commitTally(writes, b, &answer.Call, tally, settlements)
	if len(b.trials) > 0 && tally.NotApplied == len(b.rows) {
		// The pause says what came of it. A trial each few seconds is not to leave rows behind.
		_ = o.retry.write(writes, writes, func(ctx context.Context) error { return o.store.Batches.Forget(ctx, b.ID) })
	}
	o.feedback.recordOutcomes(writes, b, answer.Outcomes, settlements)
}

// commit writes the outcome of a call that created nothing and refused nothing.
func (o *outcomes) commit(writes context.Context, b *attempt, call *worker.Call, settlements []outbox.Settlement) {
	tally := outbox.Call{}
	for k := range settlements {
		switch settlements[k].Status {
		case outbox.Created:
			tally.Created++
		case outbox.Dead:
			tally.Rejected++
		case outbox.Retry:
			tally.NotApplied++
		default:
			tally.Unknown++
		}
	}
	o.commitTally(writes, b, call, tally, settlements)
}

func (o *outcomes) commitTally(writes context.Context, b *attempt, call *worker.Call, tally outbox.Call,
	settlements []outbox.Settlement) {
	tally.Status, tally.Success, tally.CorrelationID, tally.Detail = call.Status, call.Success, call.CorrelationID, call.Detail
	settlements = append(settlements, b.unfit...)
	tally.Rejected += len(b.unfit)
	begin, span := time.Now(), o.traces.within(b.span, "outcome")
	settle := func(ctx context.Context) error { return o.store.Batches.Settle(ctx, b.ID, tally, settlements) }
	err := o.retry.write(writes, writes, settle)
	for errors.Is(err, outbox.ErrRecordTaken) || outbox.DataState(err) != "" && writes.Err() == nil {
		if errors.Is(err, outbox.ErrRecordTaken) {
			if err = o.leaveTaken(writes, b, &tally, settlements); err != nil {
				break
			}
		} // else nobody else knows the outcome: for as long as the lease
		err = o.retry.write(writes, writes, settle)
	}
	endCommit(span, err)
	if err != nil {
		o.lost(b, err)
		return
	}
	o.metrics.outcomeTime.Observe(time.Since(begin).Seconds())
	o.fleet.Committed()
	o.metrics.settled(b, settlements)
	o.logAttempt(b, call, tally, len(settlements))
}

// lost logs that what a call came to could not be committed: its rows are found when the lease runs out.
func (o *outcomes) lost(b *attempt, err error) {
	if errors.Is(err, outbox.ErrLeaseLost) {
		o.log.Warn("the lease of a call ran out; what became of its events is found out anew", "attempt", b.ID,
			"object_type", b.ObjectType, "events", len(b.rows))
		return
	}
	o.log.Warn("the outcome of a call could not be committed; it is found out when its lease has run out",
		"attempt", b.ID, "object_type", b.ObjectType, "events", len(b.rows), "error", err)
}

// requeue gives up calls that were not begun, for a pause or a stop: it uses up no attempt.
func (o *outcomes) requeue(writes context.Context, batches []*attempt) {
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
		o.commit(writes, b, &worker.Call{Detail: "not called: put off by a pause or a stop"}, settlements)
	}
}

// later puts off what was refused for what may be another's fault.
func (o *outcomes) later(writes context.Context, b *attempt, answer *worker.Answer) {
	settlements := make([]outbox.Settlement, len(b.rows))
	for k := range b.rows {
		settlements[k] = o.judge.again(outbox.Settlement{EventID: b.rows[k].id, Error: answer.Call.Detail}, &b.rows[k],
			worker.Refused,
			o.cfg.TrialInterval, b.IDProperty)
	}
	o.commit(writes, b, &answer.Call, settlements)
}

// logAttempt writes the one wide line of an attempt: for machines at debug level, and louder when something went wrong,
// unless that only repeats itself. It holds no word of an event's.
func (o *outcomes) logAttempt(b *attempt, call *worker.Call, tally outbox.Call, inputs int) {
	level := slog.LevelDebug
	if tally.Created < inputs && inputs > 0 && !o.told(b, tally.NotApplied == inputs) {
		level = slog.LevelInfo
	}
	o.log.LogAttrs(context.Background(), level, "call",
		slog.Any("attempt", b.ID), slog.String("object_type", b.ObjectType), slog.String("kind", b.kindName()),
		slog.Int("inputs", inputs), slog.Int("created", tally.Created), slog.Int("rejected", tally.Rejected),
		slog.Int("not_applied", tally.NotApplied), slog.Int("unknown", tally.Unknown),
		slog.Int("status", call.Status), slog.String("correlation_id", call.CorrelationID),
		slog.Duration("duration", call.Duration), slog.String("detail", call.ForLog()))
}

// told reports whether a line of its own has said already why calls come to nothing, as this one did, and another will
// say that they do not any more.
func (o *outcomes) told(b *attempt, nothing bool) bool {
	return nothing && (o.calling.lasting() > 0 || len(b.trials) > 0)
}

// owners are the events that have these records already: event ids by record ids.
func (o *outcomes) owners(ctx context.Context, objectType string, claims []outbox.Claim) (map[string]string, error) {
	var eventIDs map[string]string
	err := o.retry.write(ctx, ctx, func(ctx context.Context) (err error) {
		eventIDs, err = o.store.Records.Claimed(ctx, objectType, claims)
		return err
	})
	return eventIDs, err
}

// leaveTaken leaves records to the events that have them, by what the database says.
func (o *outcomes) leaveTaken(ctx context.Context, b *attempt, tally *outbox.Call,
	settlements []outbox.Settlement) error {
	now := time.Now() // only expanded rows are in the way: no attempts are looked through
	var claims []outbox.Claim
	for k := range settlements {
		if settlements[k].Status == outbox.Created {
			claims = append(claims, outbox.Claim{RecordID: settlements[k].RecordID, From: now, To: now})
		}
	}
	claimed, err := o.owners(ctx, b.ObjectType, claims)
	if err != nil {
		return err
	}
	for k := range settlements {
		s := &settlements[k]
		if s.Status != outbox.Created {
			continue
		}
		if other, taken := claimed[s.RecordID]; taken && other != s.EventID {
			tally.Created--
			if b.kind == reconciling { // another has claimed it since that was looked for
				*s = o.judge.conflict(&row{id: s.EventID}, fmt.Sprintf("record %s is event %q's", s.RecordID, other))
				tally.Rejected++
				continue
			}
			counted := s.Counted
			*s = o.judge.parked(&row{id: s.EventID}, fmt.Sprintf("the CRM names record %s, which is event %q's",
				s.RecordID, other), nil)
			s.Counted, s.InDoubt = counted, true
			tally.Unknown++
			continue
		}
		claimed[s.RecordID] = s.EventID
	}
	return nil
}
