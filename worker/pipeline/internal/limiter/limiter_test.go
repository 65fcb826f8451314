package limiter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
)

const (
	ahead = time.Hour              // of this process's clock is the store's
	trip  = 4 * time.Millisecond   // to the store and back
	late  = 100 * time.Millisecond // after its time a token is worth nothing
	nap   = time.Second
)

// ledger is a store that answers with what a test has put there, one after the other; then with no token, and a wait.
type ledger struct {
	mu       sync.Mutex
	grants   []outbox.Grant // Now is filled in; the times of tokens are by In
	asks     []outbox.Ask
	refusals []outbox.Refusal
	fail     error
}

func (s *ledger) Take(_ context.Context, _ outbox.Quota, a outbox.Ask) (outbox.Grant, error) {
	time.Sleep(trip / 2)
	defer time.Sleep(trip / 2)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return outbox.Grant{}, s.fail
	}
	s.asks = append(s.asks, a)
	g := outbox.Grant{Wait: time.Second}
	if len(s.grants) > 0 {
		g, s.grants = s.grants[0], s.grants[1:]
	}
	g.Now, g.Late = time.Now().Add(ahead), late
	for k := range g.Tokens {
		g.Tokens[k].At = g.Now.Add(g.Tokens[k].In)
	}
	return g, nil
}

func (s *ledger) Throttle(_ context.Context, _ outbox.Quota, r outbox.Refusal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, r)
	return nil
}

// granted is an answer with a token for each of these times from now.
func granted(in ...time.Duration) (g outbox.Grant) {
	for _, d := range in {
		g.Tokens = append(g.Tokens, outbox.Token{In: d})
	}
	return g
}

// begin makes a limiter of 10 calls a second.
func begin(grants ...outbox.Grant) (*Limiter, *ledger) {
	s := &ledger{grants: grants}
	return New(Config{Quota: outbox.Quota{Calls: 10, Window: time.Second}, Store: s,
		Retry: func(ctx context.Context, do func(context.Context) error) error { return do(ctx) }}), s
}

func yes() bool                  { return true }
func one() (tokens int, ok bool) { return 1, true }

// Without a quota nobody asks the store, and nobody waits.
func TestNoQuota(t *testing.T) {
	l := New(Config{})
	tok, err := l.Reserve(t.Context(), one)
	if err != nil || !tok.IsZero() || l.On() {
		t.Errorf("%v, %v", tok, err)
	}
	if _, err := l.Wait(t.Context(), tok, false, nap, yes); err != nil {
		t.Error(err)
	}
	if _, err := l.Wait(t.Context(), tok, false, nap, func() bool { return false }); !errors.Is(err, ErrWithdrawn) {
		t.Error(err)
	}
	if l.Answered(t.Context(), tok, worker.Throttled, &worker.Call{Status: 429}) {
		t.Error("without a quota nothing is explained by it")
	}
}

// A call begins at its token's time by the database's clock, which is another than ours. A batch is cut as long before
// that as intents have lately taken.
func TestCallsBeginAtTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := begin(granted(time.Second), granted(time.Second))
		at := time.Now()
		since := func(what string, want time.Duration) {
			t.Helper()
			if got := time.Since(at); got != want {
				t.Errorf("%s after %v, want %v", what, got, want)
			}
		}
		for _, lead := range []time.Duration{0, 300 * time.Millisecond} {
			at = time.Now()
			tok, err := l.Reserve(t.Context(), one)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Second + trip/2
			since("cut", start-lead)
			if lead == 0 { // it comes too late for its token by that, and the next batch is cut earlier
				time.Sleep(300 * time.Millisecond)
				if l.prepared(tok); l.leadNow() != 300*time.Millisecond {
					t.Errorf("lead %v", l.leadNow())
				}
				l.Refund(tok)
				continue
			}
			if _, err = l.Wait(t.Context(), tok, false, nap, yes); err != nil {
				t.Fatal(err)
			}
			since("called", start)
		}
		if got := s.asks[1]; got.Lead != 300*time.Millisecond+trip || len(got.Unused) != 1 {
			t.Errorf("asked %+v", got)
		}
		if !l.Scarce() {
			t.Error("a call that had to wait is not taken for scarce")
		}
	})
}

// A token whose time has passed goes back, and the call has another.
func TestTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := begin(granted(0), granted(time.Second))
		tok, err := l.Reserve(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		again, err := l.Wait(t.Context(), tok, false, nap, yes)
		if err != nil || again.at.Equal(tok.at) {
			t.Errorf("%v after %v, %v", again, tok, err)
		}
		if len(s.asks) != 2 || len(s.asks[1].Unused) != 1 || !s.asks[1].Unused[0].Equal(tok.at) {
			t.Errorf("asked %+v", s.asks)
		}
		l.Answered(t.Context(), again, worker.Unavailable, &worker.Call{Cause: worker.NoAnswer}) // it did not get there
		if want := []time.Time{again.at}; !slices.Equal(l.hand.unused, want) || l.hand.out != 0 {
			t.Errorf("%v is unused, want %v; %d are out", l.hand.unused, want, l.hand.out)
		}
	})
}

// A call that may not be made any more gives up at once, or within a nap, and so does one that is told to stop. What
// it had goes back.
func TestWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := begin(granted(time.Hour))
		until := time.Now().Add(10 * time.Second)
		_, err := l.Wait(t.Context(), Token{}, false, nap, func() bool { return time.Now().Before(until) })
		if took := time.Since(until); !errors.Is(err, ErrWithdrawn) || took < 0 || took > nap {
			t.Errorf("%v, %v after", err, took)
		}
		_, err = l.Reserve(t.Context(), func() (int, bool) { return 1, false })
		if !errors.Is(err, ErrWithdrawn) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for name, wait := range map[string]func() error{
			"Wait":    func() error { _, err := l.Wait(ctx, Token{}, true, nap, yes); return err },
			"Reserve": func() error { _, err := l.Reserve(ctx, one); return err },
		} {
			if err := wait(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if l.waiting() != 0 || l.queue.taken || l.hand.out != 0 || len(s.asks[1].Unused) != 1 {
			t.Errorf("left behind: %+v, %+v; asked %+v", l.queue, l.hand, s.asks[1])
		}
		s.fail = errors.New("no")
		if _, err := l.Reserve(t.Context(), one); err != s.fail {
			t.Error(err)
		}
	})
}

// As many tokens are asked for as can be used, within bounds, and those of one answer go to whoever comes next: reads
// first.
func TestTokensForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := begin(outbox.Grant{Wait: time.Second}, granted(0, 10*time.Millisecond, 20*time.Millisecond))
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		for _, name := range []string{"first", "usual", "urgent"} {
			all.Go(func() {
				if _, err := l.Wait(t.Context(), Token{}, name == "urgent", nap, yes); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			})
			synctest.Wait() // one comes after the other
		}
		all.Wait()
		if want := []string{"first", "urgent", "usual"}; !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
		if len(s.asks) != 2 || s.asks[0].Want != 1 || s.asks[1].Want != 3 {
			t.Errorf("asked %+v", s.asks)
		}
		many := func() (int, bool) { return 1000, len(s.asks) < 3 }
		if _, err := l.Reserve(t.Context(), many); !errors.Is(err, ErrWithdrawn) {
			t.Error(err)
		}
		if got := s.asks[2].Want; got != mostTokens {
			t.Errorf("asked for %d", got)
		}
	})
}

// Before the day is taken for used up, the calls that have their tokens are made or given up. Then all that wait are
// told.
func TestDayUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := outbox.Grant{Day: true, Wait: 11 * time.Hour}
		l, s := begin(granted(0, 0), day, day, day, day)
		kept, err := l.Reserve(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		used, err := l.Wait(t.Context(), Token{}, false, nap, yes)
		if err != nil {
			t.Fatal(err)
		}
		l.Answered(t.Context(), used, worker.Answered, &worker.Call{Limits: worker.Limits{Max: 10, DailyMax: -1}})
		begun := time.Now()
		time.AfterFunc(3*stillOut/2, func() { l.Refund(kept) })
		_, err = l.Wait(t.Context(), Token{}, false, nap, yes)
		if e, ok := errors.AsType[*DayUsedError](err); !ok || e.Wait != 11*time.Hour {
			t.Error(err)
		}
		if took := time.Since(begun); took < 2*stillOut || took > 4*stillOut {
			t.Errorf("after %v", took)
		}
		if last := s.asks[len(s.asks)-1]; last.Seen.Max != 10 || !last.Seen.At.Equal(used.at) {
			t.Errorf("asked %+v", last)
		}
	})
}

// A refusal that its headers explain by others' use is told to the store, and holds nobody; any other is told as one
// that asks for a wait. Tokens that were granted before it go back.
func TestThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := begin(granted(0, 0, 0))
		tok, err := l.Wait(t.Context(), Token{}, false, nap, yes)
		if err != nil {
			t.Fatal(err)
		}
		for cause, want := range map[worker.Cause]bool{worker.QuotaUsed: true, worker.NoCause: false} {
			call := worker.Call{Cause: cause, Wait: time.Second, Detail: "slow down"}
			got := l.Answered(t.Context(), tok, worker.Throttled, &call)
			r := s.refusals[len(s.refusals)-1]
			if got != want || r.Asked == want || r.Wait != call.Wait || r.Why != call.Detail || !r.Seen.At.Equal(tok.at) {
				t.Errorf("cause %d: %v, told %+v", cause, got, r)
			}
		}
		if len(l.hand.have) != 0 || len(l.hand.unused) != 2 {
			t.Errorf("in hand: %+v", l.hand)
		}
	})
}
