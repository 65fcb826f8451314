package pipeline

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// token is the right to make one call. The zero value is no token.
type token struct {
	at         time.Time // by the database's clock: its name in the outbox
	start, end time.Time // by ours: when the call may begin
	cut        time.Time // when what it is for was cut, if anything was
}

// expired tells that no call can begin in time that is so far from being ready.
func (t token) expired(now time.Time, ready time.Duration) bool { return t.end.Before(now.Add(ready)) }

// tokens are this worker's part of the fleet's quota: who waits for a token, in turn, and those that are in hand.
type tokens struct {
	// scarce tells that calls had to wait for their token, so that what a call carries matters.
	scarce atomic.Bool

	mu            sync.Mutex // guards all below; nothing waits while holding it
	urgent, usual []*waiter  // who waits; whose turn it is stands in neither
	taken         bool       // it is somebody's turn
	have          []token    // granted and not yet given to anybody, in the order of their times
	out           int        // given to somebody whose call has not begun
	unused        []time.Time
	seen          outbox.Seen // what the newest answer told
	clock         databaseClock
	lead          time.Duration // from cutting a batch until its call could begin, about the longest of the last
	call          time.Duration // what one takes, on average
	trip          time.Duration // from asking for tokens until they are here, likewise
}

// refund tells of a token that no call was made with.
func (t *tokens) refund(unused token) {
	if unused.at.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out--
	t.unused = append(t.unused, unused.at)
}

// begun tells that a call begins, with a token of pop.
func (t *tokens) begun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out--
}

// spared tells of a call that had begun, and did not reach the CRM.
func (t *tokens) spared(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !at.IsZero() {
		t.unused = append(t.unused, at)
	}
}

// pop takes a token in hand for what will be ready so soon.
func (t *tokens) pop(ready time.Duration) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for len(t.have) > 0 {
		next := t.have[0]
		t.have = t.have[1:]
		if !next.expired(now, ready) {
			t.out++
			return next, true
		}
		t.unused = append(t.unused, next.at)
	}
	return token{}, false
}

// drop gives up what is in hand.
func (t *tokens) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, have := range t.have {
		t.unused = append(t.unused, have.at)
	}
	t.have = nil
}

// setBack is how far an answer's time is behind that of the one before if the database's clock was set back: none is so
// late.
const setBack = time.Minute

// saw keeps what the newest answer told, for the next time that tokens are asked for.
func (t *tokens) saw(seen outbox.Seen) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := seen.At.Sub(t.seen.At); d > 0 || d < -setBack {
		t.seen = seen
	}
}

// longestLead bounds how long before its call a batch is cut.
const longestLead = time.Second

// longest takes in another time: the longest one is forgotten bit by bit.
func longest(of, took time.Duration) time.Duration { return min(max(took, of-of/16), longestLead) }

// prepared learns how long it takes from cutting a batch until its call can begin.
func (t *tokens) prepared(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lead = longest(t.lead, took)
}

func (t *tokens) leadNow() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lead
}

// called learns how long a call took that the CRM has looked at. Any other tells nothing of what could be done: while
// the CRM is down calls take as long as they are waited for, and more workers would help nobody.
func (t *tokens) called(class worker.Class, call *worker.Call) {
	if call.Unsent || class != worker.Answered && class != worker.Refused && class != worker.TooLarge {
		return
	}
	took := call.Duration
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.call == 0 {
		t.call = took
	}
	t.call += (took - t.call) / 16
}

// capacity is what this worker could do.
func (w *Worker) capacity() outbox.Capacity {
	w.tokens.mu.Lock()
	call := w.tokens.call
	w.tokens.mu.Unlock()
	c := outbox.Capacity{Batch: w.cfg.Batch.Size}
	if call > 0 {
		c.Rate = min(float64(w.cfg.InFlight*c.Batch)/call.Seconds(), mostRate)
	}
	return c
}

// mostRate is about what a worker and its database do where calls take no time.
const mostRate = 100_000

// quota is what the outbox is asked about.
func (w *Worker) quota() outbox.Quota {
	q := w.cfg.Quota
	return outbox.Quota{Account: outbox.QuotaAccount, Calls: q.Calls, Window: q.Window, Reserve: q.Reserve, Daily: q.Daily, Location: q.Location}
}

// mostTokens bounds the tokens that a worker asks for at once.
const mostTokens = 4

// ask takes a token from what is in hand, or asks the fleet for some, as many as are wanted: wait says how long not to
// ask again, if there are none. Only whose turn it is may ask. Once the day's calls are used up, everything pauses.
func (w *Worker) ask(ctx, writes context.Context, want int, ready time.Duration) (got token, wait time.Duration, err error) {
	t := &w.tokens
	if got, ok := t.pop(ready / 2); ok { // it rarely takes as long as that
		return got, 0, nil
	}
	a := outbox.Ask{Want: min(max(want, 1), mostTokens)}
	t.mu.Lock()
	a.Lead = ready + t.trip
	a.Unused, t.unused = t.unused, nil
	a.Seen = t.seen
	t.mu.Unlock()
	var grant outbox.Grant
	var sent, received time.Time
	err = w.retryWrite(ctx, ctx, func(ctx context.Context) (err error) {
		sent = time.Now()
		grant, err = w.store.Quota.Take(ctx, w.quota(), a)
		received = time.Now()
		return err
	})
	t.mu.Lock()
	if err != nil {
		t.unused = append(t.unused, a.Unused...)
		t.mu.Unlock()
		return token{}, 0, err
	}
	t.clock.learn(sent, received, grant.Now)
	t.trip = longest(t.trip, received.Sub(sent))
	scarce := len(grant.Tokens) == 0
	for _, g := range grant.Tokens {
		tok := token{at: g.At, start: t.clock.ours(g.At)}
		tok.end = tok.start.Add(grant.Late)
		if g.Early {
			tok.start = time.Time{}
		} else {
			scarce = true
		}
		t.have = append(t.have, tok)
	}
	open := t.out > 0 || len(t.unused) > 0
	t.mu.Unlock()
	t.scarce.Store(scarce)
	if grant.Day && open { // a pause would keep those that have their token from calling, and what was given back unused
		return token{}, 50 * time.Millisecond, nil
	}
	if grant.Day {
		w.pause(writes, outbox.Account, outbox.ByAnswer, &worker.Call{Wait: grant.Wait, Detail: "the day's calls are used up, but for what is reserved for other apps"})
		return token{}, time.Second, nil
	}
	if len(grant.Tokens) == 0 {
		// Not all at the same moment.
		return token{}, grant.Wait + rand.N(min(grant.Wait, time.Second)/4+time.Millisecond), nil
	}
	if got, ok := t.pop(0); ok {
		return got, 0, nil
	}
	return token{}, time.Millisecond, nil // the answer came too late
}

// takeToken gets the token of a call whose batch is not cut yet, and waits until it is time to cut it. It reports false
// when ctx has ended, or a pause has begun.
func (w *Worker) takeToken(ctx, writes context.Context, j plannedCall) (got token, ok bool) {
	if w.cfg.Quota.Calls == 0 {
		return token{}, ctx.Err() == nil
	}
	lead, got, ok := w.nextToken(ctx, writes, j)
	if !ok {
		return token{}, false
	}
	if !sleep(ctx, time.Until(got.start.Add(-lead))) {
		w.tokens.refund(got)
		return token{}, false
	}
	got.cut = time.Now()
	return got, true
}

func (w *Worker) nextToken(ctx, writes context.Context, j plannedCall) (lead time.Duration, got token, ok bool) {
	place := w.tokens.join(false)
	defer w.tokens.leave(place)
	select {
	case <-ctx.Done():
		return 0, token{}, false
	case <-place.turn:
	}
	for {
		w.mu.Lock()
		want := min(w.waiting.Len()/w.cfg.Batch.Size, w.cfg.InFlight-w.active)
		may := w.pauses.stillPassable(fresh, outbox.Account, j.trials)
		w.mu.Unlock()
		if !may {
			return 0, token{}, false
		}
		lead = w.tokens.leadNow()
		got, wait, err := w.ask(ctx, writes, want, lead)
		switch {
		case err != nil:
			return 0, token{}, false
		case !got.at.IsZero():
			return lead, got, true
		case !sleep(ctx, min(wait, time.Second)):
			return 0, token{}, false
		}
	}
}

// takeTokenFor gets a token for the first of these batches, unless it has one, and waits until its call may begin.
// Meanwhile it renews the leases of all; kept are those that are still held. It reports false when the calls could not
// be made even with a token: because of a pause, a hold or a stop.
func (w *Worker) takeTokenFor(calls, writes context.Context, batches []*attempt) (kept []*attempt, ok bool) {
	limited := w.cfg.Quota.Calls > 0
	t := &w.tokens
	var mine token
	if len(batches) > 0 {
		mine, batches[0].token = batches[0].token, token{}
	}
	if !mine.cut.IsZero() {
		t.prepared(time.Since(mine.cut))
	}
	var in *waiter
	defer func() {
		t.leave(in)
		if ok {
			if limited {
				t.begun()
			}
			kept[0].token = mine
		} else {
			t.refund(mine)
		}
	}()
	renewed := time.Now()
	turn := time.NewTicker(min(time.Second, w.cfg.Lease/4))
	defer turn.Stop()
	for len(batches) > 0 {
		b := batches[0]
		w.mu.Lock()
		may := w.pauses.stillPassable(b.kind, b.ObjectType, b.trials) && w.backoff.stillLets(time.Now(), b.scout)
		w.mu.Unlock()
		if !may || calls.Err() != nil {
			return batches, false
		}
		now := time.Now()
		wait := mine.start.Sub(now)
		switch {
		case !limited, !mine.expired(now, 0) && wait <= 0:
			return batches, true
		case !mine.expired(now, 0):
		case in == nil:
			t.refund(mine)
			mine, in = token{}, t.join(b.kind == reconciling)
			continue
		default:
			select {
			case <-calls.Done():
				continue
			case <-turn.C:
				wait = 0
			case <-in.turn:
				var err error
				if mine, wait, err = w.ask(calls, writes, 1+t.line(), 0); err != nil {
					return batches, false
				}
				if !mine.at.IsZero() {
					t.leave(in)
					in = nil
				}
			}
		}
		if !sleep(calls, min(wait, time.Second, w.cfg.Lease/4)) {
			return batches, false
		}
		if time.Since(renewed) >= w.cfg.Lease/4 {
			renewed = time.Now()
			batches = w.renewAll(calls, writes, batches)
		}
	}
	return nil, false
}

// line is how many wait for a token.
func (t *tokens) line() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.urgent) + len(t.usual)
}

// awaitToken waits until the call of fresh events may begin. It reports false when it may not any more: then they were put
// back.
func (w *Worker) awaitToken(calls, writes context.Context, b *attempt) bool {
	if w.cfg.Quota.Calls == 0 {
		return true
	}
	parts, ok := w.takeTokenFor(calls, writes, []*attempt{b})
	if !ok {
		w.requeue(writes, parts)
	}
	return ok
}

// explained tells of a refusal whose headers say that others have used the quota: the outbox knows then what is left,
// and nobody need hold still.
func explained(call *worker.Call) bool {
	return call.Cause == worker.QuotaUsed
}

// applyQuota draws from an answer what it tells of the quota.
func (w *Worker) applyQuota(writes context.Context, b *attempt, class worker.Class, call *worker.Call) {
	if w.cfg.Quota.Calls == 0 {
		return
	}
	if b.token.at.IsZero() {
		w.log.Error("a call was made without its part of the quota; this is a fault of the program", "attempt", b.ID)
	}
	l := call.Limits
	seen := outbox.Seen{At: b.token.at, Max: l.Max, Remaining: l.Remaining, Window: l.Interval, DailyMax: l.DailyMax, DailyRemaining: l.DailyRemain}
	switch {
	case class == worker.Throttled:
		w.tokens.drop() // what they were granted on is no longer so
		r := outbox.Refusal{Seen: seen, Wait: call.Wait, Asked: !explained(call), Why: call.Detail}
		_ = w.retryWrite(writes, writes, func(ctx context.Context) error { return w.store.Quota.Throttle(ctx, w.quota(), r) })
	case class == worker.Unavailable && call.Cause == worker.NoAnswer:
		w.tokens.spared(b.token.at)
	case l.Max >= 0 || l.DailyMax >= 0:
		w.tokens.saw(seen)
	}
}
