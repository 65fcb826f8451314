package pipeline

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"crmintake/batcher"
	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/inflight"
	"crmintake/worker/pipeline/internal/limiter"
)

// reason is what was cut for one call.
type cut struct {
	objectType string
	items      []*item // nil once they are answered
	count      int     // of these
	reason     batcher.Reason
	trials     []string
	scout      bool
	token      limiter.Token
	span       trace.Span // nil if nobody traces
	rows       *[]row     // lent to the batch that is made of it
}

// Attempt is one call's rows, durable under an open attempt.
type attempt struct {
	outbox.Attempt
	kind     callKind
	rows     []row               // by event id
	unfit    []outbox.Settlement // rows that are not sent
	leaseEnd time.Time           // by our clock, no later than by the database's
	trials   []string            // the pauses whose trial the call is
	scout    bool                // the call has one event, to find out whether the CRM is well
	token    limiter.Token       // the call's part of the quota
	suspect  bool                // it was refused in words about its object type, for which one of its inputs may be at fault
	trial    *trial              // of the trial of a breaker's pause: what became of its inputs; nil for all other calls
	cut      string              // why it was cut
	span     trace.Span          // which whoever began it ends, after all parts that the batch is split into; nil if nobody traces
}

// kindName is a word for what is called.
func (b *attempt) kindName() string {
	if b.kind == reconciling {
		return "read"
	}
	return "create"
}

// row is an event as it stands in the outbox, with what is sent of it.
type row struct {
	id        string
	input     worker.Input
	attempts  int // calls before this one
	inDoubt   bool
	age       time.Duration
	published time.Time // or when it came to the outbox or was replayed, of what was claimed; by our clock

	// Of what is asked about:
	value     string        // by this
	contested bool          // another event in doubt has this event's id for value
	misses    int           // how often its record was proven missing
	untold    int           // how often a question told nothing of it
	pending   outbox.Reason // what it is dead for if it has no record; "" if it is sent again then
	received  time.Time     // when it came to the outbox; by our clock
}

// explicit tells that other events may have the row's value of its id property, too: it is not the event's own id, or
// another event in doubt brought that.
func (r *row) explicit() bool {
	return r.input.IDValue != "" && (r.input.IDValue != r.id || r.contested)
}

// send takes fresh events the whole way: intent, ack, call, account, outcome.
func (w *Worker) send(calls, writes context.Context, c *cut) {
	bytes := inflight.SizeOf(c.items)
	defer func() {
		if c.rows != nil {
			w.rows.put(c.rows)
		}
		w.inflight.Done(c.count, bytes)
	}()
	if c.span = w.beginBatch(c.objectType, c.reason.String(), c.items); c.span != nil {
		defer c.span.End()
	}
	b, ok := w.intend(calls, writes, c)
	if !ok {
		w.limiter.Refund(c.token)
		return
	}
	w.log.Debug("batch cut", "attempt", b.ID, "object_type", c.objectType, "events", c.count, "why", c.reason)
	if w.awaitToken(calls, writes, b) {
		w.deliver(calls, writes, b)
	}
}

// intend commits the intent to send and acks what is durable by it. It reports false when nothing is left to send.
func (w *Worker) intend(calls, writes context.Context, c *cut) (b *attempt, ok bool) {
	// By event id, so that workers with overlapping batches wait for each other and don't deadlock; and of several
	// deliveries of one event, by its id and content, the first. Which of an id's contents is the event, the outbox
	// says.
	items := slices.Clone(c.items)
	slices.SortStableFunc(items, func(a, b *item) int { return cmp.Compare(a.ID, b.ID) })
	lent := w.events.get(len(items))
	defer w.events.put(lent)
	events := (*lent)[:0]
	unique := items[:0]
	var reused []*item
	var twins []twin
	first := 0 // of unique: where those of the last id begin
	for _, i := range items {
		if first < len(unique) && unique[first].ID != i.ID {
			first = len(unique)
		}
		if k := slices.IndexFunc(unique[first:], func(u *item) bool { return u.Content.Hash == i.Content.Hash }); k >= 0 {
			twins = append(twins, twin{i, first + k})
			continue
		}
		unique = append(unique, i)
		events = append(events, rowOf(i))
	}

	b = &attempt{
		Attempt: w.newAttempt(c.objectType), trials: c.trials, scout: c.scout, token: c.token, cut: c.reason.String(), span: c.span,
	}
	begin, span := time.Now(), w.within(c.span, "intent")
	var standing []outbox.IntentResult
	err := w.retryWrite(calls, writes, func(ctx context.Context) (err error) {
		b.leaseEnd = time.Now().Add(w.cfg.Lease)
		standing, err = w.store.Batches.Intend(ctx, b.Attempt, events)
		return err
	})
	endCommit(span, err)
	if err != nil {
		w.ackOrNak(c.items, err)
		c.items = nil
		return nil, false
	}

	w.metrics.intentTime.Observe(time.Since(begin).Seconds())
	// The commit: from here on the events are ours, and the stream may forget them.
	c.rows = w.rows.get(len(unique))
	b.rows = (*c.rows)[:0]
	done := make([]*item, 0, len(items))
	for k, i := range unique {
		switch standing[k] {
		case outbox.Inserted:
			b.rows = append(b.rows, row{id: i.ID, input: i.Content.Input, published: i.Published})
			done = append(done, i)
		case outbox.Duplicate:
			w.metrics.duplicates.Inc()
			done = append(done, i)
		case outbox.Reused:
			reused = append(reused, i)
		}
	}
	for _, t := range twins {
		if standing[t.of] == outbox.Reused {
			reused = append(reused, t.item) // perhaps the same message: acked now, it would be gone before it is durable
			continue
		}
		w.metrics.duplicates.Inc()
		done = append(done, t.item)
	}
	w.ackOrNak(done, nil)
	if len(reused) > 0 {
		burials := make([]outbox.DeadLetter, len(reused))
		for k, i := range reused {
			burials[k] = reuse(outbox.DeadLetter{Event: rowOf(i), Reason: outbox.IDReused})
		}
		err := w.insertAllDead(calls, writes, burials)
		w.ackOrNak(reused, err)
		for _, i := range reused {
			if err == nil {
				w.metrics.took(i.Published, time.Now())
			}
		}
	}
	// The messages are free. What is still to be sent of them is the attempt's; with calls that take their time, most of what is
	// in hand is in one.
	c.items = nil
	return b, len(b.rows) > 0
}

// twin is another delivery of the event at an index, by its id and content.
type twin struct {
	*item
	of int
}

func (w *Worker) newAttempt(objectType string) outbox.Attempt {
	return outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: objectType, Worker: w.cfg.Name, Lease: w.cfg.Lease,
		IDProperty: w.cfg.IDProperty[objectType]}
}

// deliver calls and commits the outcome. A batch that is refused as a whole, with nobody named, is split.
func (w *Worker) deliver(calls, writes context.Context, b *attempt) {
	if b.trial = w.trialOf(b); b.trial != nil {
		defer w.endTrial(writes, b)
	}
	if b.kind == retrying {
		w.metrics.retries.Add(float64(len(b.rows)))
	}
	answer, ok := w.call(calls, writes, b)
	if !ok {
		return
	}
	switch {
	case b.suspect && len(b.rows) > 1:
		w.hunt(calls, writes, b, &answer)
	case b.suspect:
		w.concludeSuspect(writes, b, &answer)
	case len(b.rows) > 1 && nobodyNamed(&answer):
		w.bisect(calls, writes, b, &answer)
	default:
		w.conclude(writes, b, &answer)
	}
}

// call makes the call of a batch. It reports false when its lease was lost before it began.
func (w *Worker) call(calls, writes context.Context, b *attempt) (answer worker.Answer, ok bool) {
	deadline, ok := w.deadline(calls, writes, b)
	if !ok {
		return worker.Answer{}, false
	}
	ctx, cancel := context.WithDeadline(calls, deadline)
	defer cancel()
	lent := w.inputs.get(len(b.rows))
	defer w.inputs.put(lent)
	inputs := *lent
	for k := range b.rows {
		inputs[k] = b.rows[k].input
	}
	w.metrics.batches.WithLabelValues(b.cut).Inc()
	w.metrics.batchEvents.Observe(float64(len(inputs)))
	w.metrics.inFlight.Inc()
	span := w.within(b.span, "create")
	answer = w.crm.Create(ctx, b.ObjectType, inputs)
	endCall(span, b, answer.Class, &answer.Call)
	w.metrics.called("create", &answer.Call)
	b.suspect = answer.Class == worker.PauseObjectType && answer.Call.PerhapsOneInput && w.suspects.Works(b.ObjectType, time.Now())
	w.applyResponse(writes, b, answer.Class, &answer.Call)
	w.applyRequestSize(b, answer.Class)
	return answer, true
}

// deadline says when a call must have ended, which lies inside the lease: if need be the lease is renewed before.
func (w *Worker) deadline(calls, writes context.Context, b *attempt) (at time.Time, ok bool) {
	at = time.Now().Add(w.cfg.CallTimeout)
	if at.Before(b.leaseEnd.Add(-leaseMargin)) {
		return at, true
	}
	if err := w.retryWrite(calls, writes, func(ctx context.Context) error {
		b.leaseEnd = time.Now().Add(w.cfg.Lease)
		return w.store.Leases.Renew(ctx, b.Attempt)
	}); err != nil {
		w.lost(b, err)
		return at, false
	}
	return w.deadline(calls, writes, b)
}

// conclude judges an answer and commits the outcome.
func (w *Worker) conclude(writes context.Context, b *attempt, answer *worker.Answer) {
	lent := w.settlements.get(len(b.rows))
	defer w.settlements.put(lent)
	settlements := *lent
	for k := range b.rows {
		settlements[k] = w.judge.outcome(&b.rows[k], &answer.Outcomes[k], answer.Class, &answer.Call, b.IDProperty)
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
	w.commitTally(writes, b, &answer.Call, tally, settlements)
	if len(b.trials) > 0 && tally.NotApplied == len(b.rows) {
		// The pause says what came of it. A trial each few seconds is not to leave rows behind.
		_ = w.retryWrite(writes, writes, func(ctx context.Context) error { return w.store.Batches.Forget(ctx, b.ID) })
	}
	w.recordOutcomes(writes, b, answer.Outcomes, settlements)
}

// commit writes the outcome of a call that created nothing and refused nothing.
func (w *Worker) commit(writes context.Context, b *attempt, call *worker.Call, settlements []outbox.Settlement) {
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
	w.commitTally(writes, b, call, tally, settlements)
}

func (w *Worker) commitTally(writes context.Context, b *attempt, call *worker.Call, tally outbox.Call, settlements []outbox.Settlement) {
	tally.Status, tally.Success, tally.CorrelationID, tally.Detail = call.Status, call.Success, call.CorrelationID, call.Detail
	settlements = append(settlements, b.unfit...)
	tally.Rejected += len(b.unfit)
	begin, span := time.Now(), w.within(b.span, "outcome")
	settle := func(ctx context.Context) error { return w.store.Batches.Settle(ctx, b.ID, tally, settlements) }
	err := w.retryWrite(writes, writes, settle)
	for errors.Is(err, outbox.ErrRecordTaken) || outbox.DataState(err) != "" && writes.Err() == nil {
		if errors.Is(err, outbox.ErrRecordTaken) {
			if err = w.leaveTaken(writes, b, &tally, settlements); err != nil {
				break
			}
		} // else nobody else knows the outcome: for as long as the lease
		err = w.retryWrite(writes, writes, settle)
	}
	endCommit(span, err)
	if err != nil {
		w.lost(b, err)
		return
	}
	w.metrics.outcomeTime.Observe(time.Since(begin).Seconds())
	w.done.Store(time.Now().UnixNano())
	w.metrics.settled(b, settlements)
	w.logAttempt(b, call, tally, len(settlements))
}

// lost is told when what a call came to could not be committed: its rows are found when the lease runs out.
func (w *Worker) lost(b *attempt, err error) {
	if errors.Is(err, outbox.ErrLeaseLost) {
		w.log.Warn("the lease of a call ran out; what became of its events is found out anew", "attempt", b.ID,
			"object_type", b.ObjectType, "events", len(b.rows))
		return
	}
	w.log.Warn("the outcome of a call could not be committed; it is found out when its lease has run out",
		"attempt", b.ID, "object_type", b.ObjectType, "events", len(b.rows), "error", err)
}
