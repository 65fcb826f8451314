package pipeline

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"crmintake/batcher"
	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/inflight"
	"crmintake/worker/pipeline/internal/limiter"
)

// cut is the fresh events of one call.
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

// attempt is one call's rows, durable under an open attempt.
type attempt struct {
	outbox.Attempt
	kind     callKind
	rows     []row               // by event id
	unfit    []outbox.Settlement // rows that are not sent
	leaseEnd time.Time           // by our clock, no later than by the database's
	trials   []string            // the pauses whose trial the call is
	scout    bool                // the call has one event, to find out whether the CRM is well
	token    limiter.Token       // the call's part of the quota
	// it was refused in words about its object type, for which one of its inputs may be at fault
	suspect bool
	// of the trial of a breaker's pause: what became of its inputs; nil for all other calls
	trial *trial
	cut   string // why it was cut
	// which whoever began it ends, after all parts that the batch is split into; nil if nobody traces
	span trace.Span
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

// explicit reports whether other events may have the row's value of its id property, too: it is not the event's own id,
// or another event in doubt brought that.
func (r *row) explicit() bool {
	return r.input.IDValue != "" && (r.input.IDValue != r.id || r.contested)
}

// attempts takes events from their cut or their claim to their outcome.
type attempts struct {
	*parts
	acks     *acker
	dead     *deadLetters
	feedback *feedback
	caller   *caller
	outcomes *outcomes
	splitter *splitter
	doubts   *doubts
}

// send takes fresh events the whole way: intent, ack, call, account, outcome.
func (a *attempts) send(calls, writes context.Context, c *cut) {
	bytes := inflight.SizeOf(c.items)
	defer func() {
		if c.rows != nil {
			a.rows.put(c.rows)
		}
		a.inflight.Done(c.count, bytes)
	}()
	if c.span = a.traces.begin(c.objectType, c.reason.String(), c.items); c.span != nil {
		defer c.span.End()
	}
	b, ok := a.intend(calls, writes, c)
	if !ok {
		a.limiter.Refund(c.token)
		return
	}
	a.log.Debug("batch cut", "attempt", b.ID, "object_type", c.objectType, "events", c.count, "why", c.reason)
	if a.caller.awaitToken(calls, writes, b) {
		a.deliver(calls, writes, b)
	}
}

// intend commits the intent to send and acks what is durable by it. It reports false when nothing is left to send.
func (a *attempts) intend(calls, writes context.Context, c *cut) (b *attempt, ok bool) {
	// By event id, so that workers with overlapping batches wait for each other and don't deadlock; and of several
	// deliveries of one event, by its id and content, the first. Which of an id's contents is the event, the outbox
	// says.
	items := slices.Clone(c.items)
	slices.SortStableFunc(items, func(a, b *item) int { return cmp.Compare(a.ID, b.ID) })
	lent := a.events.get(len(items))
	defer a.events.put(lent)
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
		Attempt: a.newAttempt(c.objectType), trials: c.trials, scout: c.scout, token: c.token, cut: c.reason.String(), span: c.span,
	}
	begin, span := time.Now(), a.traces.within(c.span, "intent")
	var standing []outbox.IntentResult
	err := a.retry.write(calls, writes, func(ctx context.Context) (err error) {
		b.leaseEnd = time.Now().Add(a.cfg.Lease)
		standing, err = a.store.Batches.Intend(ctx, b.Attempt, events)
		return err
	})
	endCommit(span, err)
	if err != nil {
		a.acks.ackOrNak(c.items, err)
		c.items = nil
		return nil, false
	}

	a.metrics.intentTime.Observe(time.Since(begin).Seconds())
	// The commit: from here on the events are ours, and the stream may forget them.
	c.rows = a.rows.get(len(unique))
	b.rows = (*c.rows)[:0]
	done := make([]*item, 0, len(items))
	for k, i := range unique {
		switch standing[k] {
		case outbox.Inserted:
			b.rows = append(b.rows, row{id: i.ID, input: i.Content.Input, published: i.Published})
			done = append(done, i)
		case outbox.Duplicate:
			a.metrics.duplicates.Inc()
			done = append(done, i)
		case outbox.Reused:
			reused = append(reused, i)
		}
	}
	for _, t := range twins {
		if standing[t.of] == outbox.Reused {
			// perhaps the same message: acked now, it would be gone before it is durable
			reused = append(reused, t.item)
			continue
		}
		a.metrics.duplicates.Inc()
		done = append(done, t.item)
	}
	a.acks.ackOrNak(done, nil)
	if len(reused) > 0 {
		letters := make([]outbox.DeadLetter, len(reused))
		for k, i := range reused {
			letters[k] = reuse(outbox.DeadLetter{Event: rowOf(i), Reason: outbox.IDReused})
		}
		err := a.dead.insert(calls, writes, letters)
		a.acks.ackOrNak(reused, err)
		for _, i := range reused {
			if err == nil {
				a.metrics.took(i.Published, time.Now())
			}
		}
	}
	// The messages are free. What is still to be sent of them is the attempt's; with calls that take their time, most
	// of what is in hand is in one.
	c.items = nil
	return b, len(b.rows) > 0
}

// twin is another delivery of the event at an index, by its id and content.
type twin struct {
	*item
	of int
}

// deliver calls and commits the outcome. A batch that is refused as a whole, with nobody named, is split.
func (a *attempts) deliver(calls, writes context.Context, b *attempt) {
	if b.trial = a.feedback.trialOf(b); b.trial != nil {
		defer a.feedback.endTrial(writes, b)
	}
	if b.kind == retrying {
		a.metrics.retries.Add(float64(len(b.rows)))
	}
	answer, ok := a.caller.call(calls, writes, b)
	if !ok {
		return
	}
	switch {
	case b.suspect && len(b.rows) > 1:
		a.splitter.hunt(calls, writes, b, &answer)
	case b.suspect:
		a.splitter.concludeSuspect(writes, b, &answer)
	case len(b.rows) > 1 && nobodyNamed(&answer):
		a.splitter.bisect(calls, writes, b, &answer)
	default:
		a.outcomes.conclude(writes, b, &answer)
	}
}
