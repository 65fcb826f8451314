package limiter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

// Store is where the fleet's quota is kept. Its methods may be called by many goroutines at once.
type Store interface {
	// Take grants tokens, or says how long to wait before asking again.
	Take(ctx context.Context, q outbox.Quota, a outbox.Ask) (outbox.Grant, error)
	// Throttle says that the CRM refused a call for the rate.
	Throttle(ctx context.Context, q outbox.Quota, r outbox.Refusal) error
}

// Config says what to share, and where.
type Config struct {
	Quota outbox.Quota // no Calls: calls are not limited
	Store Store        // asked about nothing where calls are not limited
	// Retry repeats what do does in the Store until it works, or ctx ends. It returns the last error then.
	Retry func(ctx context.Context, do func(context.Context) error) error
}

// Limiter shares the quota with the other workers. New makes one.
type Limiter struct {
	cfg    Config
	scarce atomic.Bool

	mu    sync.Mutex // guards all below; nobody waits while holding it
	queue queue
	hand  hand
	clock databaseClock
	seen  outbox.Seen   // what the newest answer of the CRM's told
	lead  time.Duration // from cutting a batch until its call could begin: a decaying maximum
	trip  time.Duration // from asking for tokens until they are here, likewise
}

// New makes a Limiter. It starts nothing.
func New(cfg Config) *Limiter { return &Limiter{cfg: cfg} }

// On reports whether calls are limited at all. Where they are not, each call may begin at once, without a token.
func (l *Limiter) On() bool { return l.cfg.Quota.Calls > 0 }

// Scarce reports whether the last one who asked for tokens had to wait for them: then what a call carries matters.
func (l *Limiter) Scarce() bool { return l.scarce.Load() }

// ErrWithdrawn is returned when the call may not be made any more.
var ErrWithdrawn = errors.New("limiter: the call may not be made any more")

// DayUsedError is returned when the calls of the day are used up. Wait is until there may be more.
type DayUsedError struct{ Wait time.Duration }

func (e *DayUsedError) Error() string {
	return fmt.Sprintf("limiter: the day's calls are used up, for %v", e.Wait)
}

// longestNap bounds how long nobody looks whether a call may still be made.
const longestNap = time.Second

// Reserve gets the token of a call whose batch is not cut yet, and returns when it is time to cut it. The token is to
// be given to Wait, or to Refund. want says how many tokens could be used by now, and whether the call may still be
// made; it is called before each question to the outbox.
//
// The error is ErrWithdrawn, a DayUsedError, or ctx's or the store's.
func (l *Limiter) Reserve(ctx context.Context, want func() (tokens int, ok bool)) (Token, error) {
	if !l.On() {
		return Token{}, ctx.Err()
	}
	got, lead, err := l.next(ctx, want)
	if err != nil {
		return Token{}, err
	}
	if err := sleep(ctx, time.Until(got.start.Add(-lead))); err != nil {
		l.Refund(got)
		return Token{}, err
	}
	got.cut = time.Now()
	return got, nil
}

func (l *Limiter) next(ctx context.Context, want func() (tokens int, ok bool)) (
	got Token, lead time.Duration, err error) {
	place := l.join(false)
	defer l.leave(place)
	select {
	case <-ctx.Done():
		return Token{}, 0, ctx.Err()
	case <-place.turn:
	}
	for {
		n, ok := want()
		if !ok {
			return Token{}, 0, ErrWithdrawn
		}
		lead = l.leadNow()
		got, wait, err := l.ask(ctx, n, lead)
		if err != nil || !got.IsZero() {
			return got, lead, err
		}
		if err := sleep(ctx, min(wait, longestNap)); err != nil {
			return Token{}, 0, err
		}
	}
}

// Wait returns when a call may begin: with t, if that is still good, or else with another token. Urgent calls go before
// others. still says whether the call may still be made; it is called at first, then at least once in nap, or in a
// second, and may take its time. With an error, t has gone back.
//
// The error is ErrWithdrawn, a DayUsedError, or ctx's or the store's.
func (l *Limiter) Wait(ctx context.Context, t Token, urgent bool, nap time.Duration, still func() bool) (
	_ Token, err error) {
	l.prepared(t)
	var place *waiter
	defer func() {
		l.leave(place)
		if err != nil {
			l.Refund(t)
		}
	}()
	nap = min(nap, longestNap)
	tick := time.NewTicker(nap)
	defer tick.Stop()
	for {
		if !still() {
			return Token{}, ErrWithdrawn
		}
		if err := ctx.Err(); err != nil {
			return Token{}, err
		}
		now := time.Now()
		wait := t.start.Sub(now)
		switch {
		case !l.On():
			return t, nil
		case !t.expired(now, 0) && wait <= 0:
			l.begun()
			return t, nil
		case !t.expired(now, 0):
		case place == nil:
			l.Refund(t)
			t, place = Token{}, l.join(urgent)
			continue
		default:
			select {
			case <-ctx.Done():
				continue
			case <-tick.C:
				continue
			case <-place.turn:
			}
			if !still() { // the one before may have found out why not
				return Token{}, ErrWithdrawn
			}
			if t, wait, err = l.ask(ctx, 1+l.waiting(), 0); err != nil {
				return Token{}, err
			}
			if !t.IsZero() {
				l.leave(place)
				place = nil
			}
		}
		if err := sleep(ctx, min(wait, nap)); err != nil {
			return Token{}, err
		}
	}
}

// Refund gives back a token that no call was made with. The zero Token is none.
func (l *Limiter) Refund(t Token) {
	if t.IsZero() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hand.refund(t)
}

// Answered takes in what the answer to a call, which had this token, tells of the quota. It reports whether a refusal
// for the rate is explained by its headers, because others use the account: then nobody need hold still, since fewer
// tokens are granted from now on. It waits until the outbox knows of a refusal, or ctx has ended.
func (l *Limiter) Answered(ctx context.Context, t Token, class worker.Class, call *worker.Call) (explained bool) {
	if !l.On() {
		return false
	}
	h := call.Limits
	seen := outbox.Seen{At: t.at, Max: h.Max, Remaining: h.Remaining, Window: h.Interval,
		DailyMax: h.DailyMax, DailyRemaining: h.DailyRemain}
	switch {
	case class == worker.Throttled:
		explained = call.Cause == worker.QuotaUsed // the outbox knows then what is left
		l.drop()                                   // what they were granted on is no longer so
		r := outbox.Refusal{Seen: seen, Wait: call.Wait, Asked: !explained, Why: call.Detail}
		_ = l.cfg.Retry(ctx, func(ctx context.Context) error { return l.cfg.Store.Throttle(ctx, l.cfg.Quota, r) })
	case class == worker.Unavailable && call.Cause == worker.NoAnswer:
		l.spared(t)
	case h.Max >= 0 || h.DailyMax >= 0:
		l.saw(seen)
	}
	return explained
}

// mostTokens bounds the tokens that a worker asks for at once.
const mostTokens = 4

// stillOut is how long to wait for tokens that have been given out, when the day's calls are used up but for these.
const stillOut = 50 * time.Millisecond

// ask takes a token from what is in hand, or asks the fleet for some, as many as are wanted: wait says how long not to
// ask again, if there are none. Only whose turn it is may ask.
func (l *Limiter) ask(ctx context.Context, want int, ready time.Duration) (got Token, wait time.Duration, err error) {
	if got, ok := l.pop(ready / 2); ok { // it rarely takes as long as that
		return got, 0, nil
	}
	a := l.question(want, ready)
	var grant outbox.Grant
	var sent, received time.Time
	if err = l.cfg.Retry(ctx, func(ctx context.Context) (err error) {
		sent = time.Now()
		grant, err = l.cfg.Store.Take(ctx, l.cfg.Quota, a)
		received = time.Now()
		return err
	}); err != nil {
		l.unasked(a)
		return Token{}, 0, err
	}
	switch open := l.granted(&grant, sent, received); {
	case grant.Day && open: // a pause would keep those that have their token from calling, and what was not used from all
		return Token{}, stillOut, nil
	case grant.Day:
		return Token{}, 0, &DayUsedError{grant.Wait}
	case len(grant.Tokens) == 0:
		// Not all at the same moment.
		return Token{}, grant.Wait + rand.N(min(grant.Wait, time.Second)/4+time.Millisecond), nil
	}
	if got, ok := l.pop(0); ok {
		return got, 0, nil
	}
	return Token{}, time.Millisecond, nil // the answer came too late
}

// question is what the outbox is asked, with the tokens that go back.
func (l *Limiter) question(want int, ready time.Duration) outbox.Ask {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := outbox.Ask{Want: min(max(want, 1), mostTokens), Lead: ready + l.trip, Unused: l.hand.unused, Seen: l.seen}
	l.hand.unused = nil
	return a
}

// unasked takes back the tokens of a question that got no answer.
func (l *Limiter) unasked(a outbox.Ask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hand.unused = append(l.hand.unused, a.Unused...)
}

// granted takes an answer's tokens in hand. It reports whether some that were granted before are neither used nor
// told to the outbox as unused.
func (l *Limiter) granted(g *outbox.Grant, sent, received time.Time) (open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock.learn(sent, received, g.Now)
	l.trip = slowest(l.trip, received.Sub(sent))
	scarce := len(g.Tokens) == 0
	for _, one := range g.Tokens {
		t := Token{at: one.At, start: l.clock.ours(one.At)}
		t.end = t.start.Add(g.Late)
		if one.Early {
			t.start = time.Time{}
		} else {
			scarce = true
		}
		l.hand.have = append(l.hand.have, t)
	}
	l.scarce.Store(scarce)
	return l.hand.out > 0 || len(l.hand.unused) > 0
}

func (l *Limiter) pop(ready time.Duration) (Token, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hand.pop(time.Now(), ready)
}

// begun is called when a call begins, with a token of pop.
func (l *Limiter) begun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hand.out--
}

// spared takes back the token of a call that had begun, and did not reach the CRM.
func (l *Limiter) spared(t Token) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.IsZero() {
		l.hand.unused = append(l.hand.unused, t.at)
	}
}

func (l *Limiter) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hand.drop()
}

// setBack is how far an answer's time is behind that of the one before if the database's clock was set back: no
// answer is so late.
const setBack = time.Minute

// saw keeps what the newest answer told, for the next time that tokens are asked for.
func (l *Limiter) saw(seen outbox.Seen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := seen.At.Sub(l.seen.At); d > 0 || d < -setBack {
		l.seen = seen
	}
}

// prepared learns how long it took from cutting a batch, for which t was reserved, until its call could begin.
func (l *Limiter) prepared(t Token) {
	if t.cut.IsZero() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lead = slowest(l.lead, time.Since(t.cut))
}

func (l *Limiter) leadNow() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lead
}

// longestLead bounds how long before its call a batch is cut.
const longestLead = time.Second

// slowest is a decaying maximum: old peaks fade by 1/16 a sample.
func slowest(peak, took time.Duration) time.Duration {
	return min(max(took, peak-peak/16), longestLead)
}

func (l *Limiter) join(first bool) *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.join(first)
}

func (l *Limiter) leave(p *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue.leave(p)
}

// waiting is how many others wait for a token.
func (l *Limiter) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.len()
}

// sleep waits, and returns ctx's error when that ended before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
