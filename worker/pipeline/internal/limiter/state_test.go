package limiter

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crmintake/outbox"
)

// What goes first gets the next turn, and the others get theirs in the order of their coming.
func TestTokensInTurn(t *testing.T) {
	var line queue
	entered := func(p *waiter) bool {
		select {
		case <-p.turn:
			return true
		default:
			return false
		}
	}
	a, b, c, gone := line.join(false), line.join(false), line.join(false), line.join(false)
	first := line.join(true)
	line.leave(gone)
	line.leave(nil)
	if n := line.len(); n != 3 {
		t.Errorf("%d wait", n)
	}
	var waiting = []*waiter{a, first, b, c}
	for i, p := range waiting {
		for k, q := range waiting {
			if entered(q) != (k <= i) {
				t.Errorf("at turn %d: has place %d entered? %v", i, k, entered(q))
			}
		}
		line.leave(p)
	}
	if last := line.join(false); !entered(last) {
		t.Error("nobody is there, and one has to wait")
	}
}

func TestTokensInHand(t *testing.T) {
	var in Limiter
	now := time.Now()
	at := func(d time.Duration) Token {
		return Token{at: now.Add(d), start: now.Add(d), end: now.Add(d + time.Second)}
	}
	late, soon, far := at(-time.Minute), at(-time.Second/2), at(time.Minute)
	in.hand.have = []Token{late, soon, far}
	if got, ok := in.pop(time.Hour); ok {
		t.Errorf("%v for what takes an hour", got)
	}
	in.hand.have, in.hand.unused = []Token{late, soon, far}, nil
	if got, _ := in.pop(0); got != soon {
		t.Errorf("got %v", got)
	}
	in.Refund(Token{})
	in.Refund(soon)
	in.drop()
	if diff := cmp.Diff([]time.Time{late.at, soon.at, far.at}, in.hand.unused); diff != "" || in.hand.have != nil {
		t.Errorf("given back: %s; in hand: %v", diff, in.hand.have)
	}
}

// The newest answer counts, also when its time is by a clock that was set back.
func TestNewestAnswer(t *testing.T) {
	var in Limiter
	at := time.Unix(1000000, 0)
	for _, c := range []struct {
		at         time.Time
		told, want int
	}{{at, 1, 1}, {at.Add(-time.Second), 2, 1}, {at.Add(time.Second), 3, 3}, {at.Add(-time.Hour), 4, 4}} {
		in.saw(outbox.Seen{At: c.at, Remaining: c.told})
		if in.seen.Remaining != c.want {
			t.Errorf("after %+v: %+v", c, in.seen)
		}
	}
}

// The answer that took least tells the time best, for a while.
func TestDatabaseClock(t *testing.T) {
	var c databaseClock
	begin := time.Now()
	here := func(d time.Duration) time.Time { return begin.Add(d) }
	there := func(d time.Duration) time.Time { return begin.Add(time.Hour + d) }
	check := func(what string, want time.Duration) {
		t.Helper()
		if got := c.ours(there(0)).Sub(begin); got != want {
			t.Errorf("%s: an hour ahead is %v", what, got)
		}
	}
	const ms = time.Millisecond
	c.learn(here(0), here(100*ms), there(80*ms))
	check("the first", -30*ms)
	c.learn(here(200*ms), here(210*ms), there(205*ms))
	check("a better one", 0)
	c.learn(here(300*ms), here(400*ms), there(390*ms))
	check("a worse one", 0)
	c.learn(here(time.Hour), here(time.Hour+100*ms), there(time.Hour+60*ms))
	check("after an hour", -10*ms)
	c.learn(here(time.Hour+time.Second), here(time.Hour+time.Second+time.Second), there(2*time.Hour))
	if got := c.ours(there(2 * time.Hour)).Sub(begin); got != time.Hour+1500*ms {
		t.Errorf("another server: %v", got)
	}
}
