package outbox

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// arrivals is the CRM's rolling window, as a list of all that it admitted.
type arrivals []time.Time

// most is the largest number in any half-open window.
func (a arrivals) most(window time.Duration) (most int) {
	slices.SortFunc(a, time.Time.Compare)
	first := 0
	for i := range a {
		for a[i].Sub(a[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// Whatever workers ask for, and when, and however late each call is within what is allowed, no window of the CRM's
// holds more than the limit.
func TestLedgerNeverExceeds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := Quota{
			Calls:  rapid.IntRange(1, 40).Draw(t, "calls"),
			Window: time.Duration(rapid.IntRange(100, 10000).Draw(t, "ms")) * time.Millisecond,
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		busy := rapid.Float64Range(0.2, 4).Draw(t, "busy") // how often is asked, of what is allowed
		upTo := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d) + 1)) }
		var l ledger
		var came arrivals
		var unused []time.Time
		now := epoch
		var quiet time.Time
		for range 200 {
			if rng.IntN(40) == 0 {
				quiet = now.Add(upTo(2 * q.Window))
			}
			now = now.Add(upTo(2 * time.Duration(float64(q.Window)/float64(q.Calls)/busy)))
			now = later(now, quiet).Truncate(time.Microsecond)
			g := l.take(q, Ask{Want: 1 + rng.IntN(4), Lead: upTo(50 * time.Millisecond)}, now)
			for _, token := range g.Tokens {
				if token.At.Before(now) {
					t.Fatalf("a token for %v, at %v", token.At, now)
				}
				if rng.IntN(20) == 0 {
					unused = append(unused, token.At)
					continue
				}
				from := token.At
				if token.Early {
					from = now
				}
				sent := from.Add(upTo(token.At.Add(g.Late).Sub(from)))
				came = append(came, sent.Add(5*time.Millisecond+upTo(q.margin()-g.Late)))
			}
			if rng.IntN(10) == 0 {
				l.refund(unused)
				unused = nil
			}
		}
		if most := came.most(q.Window); most > q.Calls {
			t.Fatalf("%d calls in a window of %v", most, q)
		}
	})
}

// The database's clock is set back, however far and often: calls go on after a window at most, and what passed unseen,
// and no window of the CRM's, whose clock is another, holds more than the limit.
func TestLedgerWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := Quota{Calls: rapid.IntRange(1, 40).Draw(t, "calls"), Window: 10 * time.Second}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var l ledger
		var came arrivals
		truth, last, back := epoch, epoch, time.Duration(0)
		var gap, unseen time.Duration
		for range 400 {
			if rng.IntN(40) == 0 {
				unseen += gap
				back += time.Duration(rng.Int64N(int64(time.Millisecond) << rng.IntN(28))).Truncate(time.Microsecond)
			}
			now := truth.Add(-back)
			l.rewind(now)
			g := l.take(q, Ask{Want: 1 + rng.IntN(4), Lead: 20 * time.Millisecond}, now)
			for _, token := range g.Tokens {
				last, unseen = token.At.Add(back), 0
				came = append(came, last)
			}
			if waited := truth.Sub(last); waited > q.Window+q.margin()+unseen {
				t.Fatalf("no token for %v", waited)
			}
			gap = time.Duration(rng.Int64N(int64(q.Window) / int64(q.Calls))).Truncate(time.Microsecond)
			truth = truth.Add(gap)
		}
		if most := came.most(q.Window); most > q.Calls {
			t.Fatalf("%d calls in a window of %v", most, q)
		}
	})
}

// What was learned is worth as much after the database's clock was set back as before, and is forgotten as soon.
func TestLedgerKeepsWhatItLearnedWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	q := Quota{Calls: 190, Window: 10 * time.Second, Daily: 1000}
	var l ledger
	now := l.fill(Quota{Calls: 100, Window: q.Window, Daily: q.Daily}, epoch)
	used := l.dayUsed
	l.learn(q, Seen{At: now, Max: 190, Remaining: 30, Window: q.Window}, now)
	l.throttle(q, Refusal{Wait: 5 * time.Second, Asked: true}, now)
	limit := l.limit(q, now)
	l.rewind(now)
	before := now
	now = now.Add(-24 * time.Hour) // to the day before
	l.rewind(now)
	if got := l.limit(q, now); got != limit {
		t.Errorf("the limit is %d, and was %d", got, limit)
	}
	if g := l.take(q, Ask{Want: 1}, now); len(g.Tokens) > 0 || g.Wait != 5*time.Second-tokenHorizon || l.dayUsed != used {
		t.Errorf("%+v; %d used today, want %d", g, l.dayUsed, used)
	}
	l.learn(q, Seen{At: before, Max: 190, Remaining: 0, Window: q.Window}, now) // the answer to a call of before
	if got := l.limit(q, now); got != limit {
		t.Errorf("the limit is %d, and was %d", got, limit)
	}
	if got := l.limit(q, now.Add(40*time.Second)); got != 190 {
		t.Errorf("the limit is %d in the end", got)
	}
	if g := l.take(q, Ask{Want: 1}, now.Add(24*time.Hour)); len(g.Tokens) != 1 || l.dayUsed != 1 {
		t.Errorf("the next day: %+v, %d used", g, l.dayUsed)
	}
}

// Under a backlog nearly all of the quota is used, tokens given back included, by one worker or many.
func TestLedgerGivesAllOut(t *testing.T) {
	t.Parallel()
	q := Quota{Calls: 190, Window: 10 * time.Second}
	for _, back := range []int{0, 50} { // one in so many tokens is not used
		rng := rand.New(rand.NewPCG(uint64(back), 0))
		var l ledger
		var made arrivals
		now := epoch
		for now.Sub(epoch) < 2*time.Minute {
			if back == 0 && made != nil && now.Sub(epoch) < 32*time.Second && now.Sub(epoch) > 31*time.Second {
				now = now.Add(time.Second) // nobody could ask; it is caught up with
			}
			g := l.take(q, Ask{Want: 3, Lead: 20 * time.Millisecond}, now)
			for _, token := range g.Tokens {
				if back > 0 && rng.IntN(back) == 0 {
					l.refund([]time.Time{token.At})
					continue
				}
				made = append(made, token.At)
			}
			now = now.Add(max(g.Wait, 10*time.Millisecond)).Truncate(time.Microsecond)
		}
		var steady int
		for _, at := range made {
			if since := at.Sub(epoch); since >= 20*time.Second && since < 2*time.Minute {
				steady++
			}
		}
		if used := float64(steady) / (190 * 10); used < 0.982 || used > 1 {
			t.Errorf("one in %d unused: %.4f of the quota is used", back, used)
		}
	}
}

// In a quiet time an eighth of a window may be used at once, and from there on tokens are spread evenly.
func TestLedgerSpreads(t *testing.T) {
	t.Parallel()
	q := Quota{Calls: 100, Window: 10 * time.Second}
	var l ledger
	const lead = 20 * time.Millisecond
	g := l.take(q, Ask{Want: 100, Lead: lead}, epoch)
	if n := len(g.Tokens); n < 16 || n > 18 {
		t.Fatalf("%d tokens at once", n)
	}
	for i, token := range g.Tokens {
		if early := i < 13; token.Early != early || early && token.In != lead {
			t.Errorf("token %d is %+v", i, token)
		}
	}
	for i := 13; i < len(g.Tokens); i++ {
		if d := g.Tokens[i].At.Sub(g.Tokens[i-1].At); d < 90*time.Millisecond || d > 105*time.Millisecond {
			t.Errorf("%v between tokens", d)
		}
	}
	if g.Wait != 0 {
		t.Errorf("tokens and a wait of %v", g.Wait)
	}
	if g = l.take(q, Ask{Want: 1, Lead: lead}, epoch); len(g.Tokens) > 0 || g.Wait <= 0 || g.Wait > 105*time.Millisecond {
		t.Errorf("beyond the horizon: %+v", g)
	}
	// As long as nothing is in its way, a call need not wait for its time.
	if g = l.take(q, Ask{Want: 2, Lead: lead}, epoch.Add(2*time.Second)); len(g.Tokens) != 2 || !g.Tokens[0].Early || g.Tokens[1].Early {
		t.Errorf("granted %+v", g)
	}
	// What is given back is made up for.
	l.refund([]time.Time{g.Tokens[0].At, g.Tokens[1].At})
	g = l.take(q, Ask{Want: 3, Lead: lead}, epoch.Add(2*time.Second))
	if d := g.Tokens[2].At.Sub(g.Tokens[1].At); d < 45*time.Millisecond || d > 55*time.Millisecond {
		t.Errorf("%v between tokens", d)
	}
}

// fill uses the quota up for half a minute, and returns when.
func (l *ledger) fill(q Quota, now time.Time) time.Time {
	for end := now.Add(30 * time.Second); now.Before(end); now = now.Add(20 * time.Millisecond) {
		l.take(q, Ask{Want: 2}, now)
	}
	return now
}

// What an answer tells of the window says how many calls others make, and they are left to them.
func TestLedgerLearns(t *testing.T) {
	t.Parallel()
	q := Quota{Calls: 190, Window: 10 * time.Second}
	var l ledger
	now := l.fill(Quota{Calls: 120, Window: q.Window}, epoch)
	saw := func(others int) Seen {
		at := now.Add(-50 * time.Millisecond)
		return Seen{At: at, Max: 190, Remaining: 190 - l.between(at.Add(-q.Window), at) - others, Window: q.Window}
	}
	limit := func(from, to int) {
		t.Helper()
		if n := l.limit(q, now); n < from || n > to {
			t.Errorf("the limit is %d, want %d to %d", n, from, to)
		}
	}
	limit(190, 190)
	l.learn(q, saw(2), now)
	limit(190, 190) // noise
	l.learn(q, saw(57), now)
	limit(127, 131)
	l.learn(q, saw(0), now)
	limit(127, 131) // not forgotten at once
	now = now.Add(2 * time.Second)
	limit(145, 155)
	now = now.Add(18 * time.Second)
	limit(190, 190)

	l.learn(q, Seen{At: now.Add(-time.Minute), Max: 10, Remaining: 0}, now) // too late to compare
	limit(190, 190)
	l.learn(q, Seen{At: now, Max: 100, Remaining: -1, Window: time.Second}, now) // another window
	limit(190, 190)
	l.learn(q, Seen{At: now, Max: 100, Remaining: -1, Window: q.Window}, now)
	limit(100, 100)
	l.learn(q, Seen{At: now, Max: 250, Remaining: -1, Window: q.Window}, now)
	limit(190, 190) // no more than configured
	l.learn(q, Seen{At: now, Max: 190, Remaining: 0, Window: q.Window}, now)
	limit(1, 1) // others use all; we find out when they don't
}

func TestLedgerReserve(t *testing.T) {
	t.Parallel()
	q := Quota{Calls: 190, Window: 10 * time.Second, Reserve: 0.2}
	var l ledger
	now := l.fill(q, epoch)
	if n := l.limit(q, now); n != 152 {
		t.Errorf("the limit is %d", n)
	}
	if n := l.between(now.Add(-q.Window), now); n > 152 || n < 148 {
		t.Errorf("%d calls are made", n)
	}
	l = ledger{}
	now = l.fill(Quota{Calls: 100, Window: q.Window}, epoch)
	others := func(n int) Seen {
		return Seen{At: now, Max: 190, Remaining: 190 - l.between(now.Add(-q.Window), now) - n, Window: q.Window}
	}
	l.learn(q, others(30), now)
	if n := l.limit(q, now); n != 152 {
		t.Errorf("others keep to their share, and the limit is %d", n)
	}
	l.learn(q, others(60), now)
	if n := l.limit(q, now); n < 124 || n > 130 {
		t.Errorf("others use more than their share, and the limit is %d", n)
	}
}

func TestLedgerThrottle(t *testing.T) {
	t.Parallel()
	q := Quota{Calls: 190, Window: 10 * time.Second}
	var l ledger
	now := l.fill(q, epoch)
	last := l.calls[len(l.calls)-1]
	refused := Refusal{Seen: Seen{At: last, Max: 190, Remaining: 0, Window: q.Window}, Wait: 10 * time.Second, Why: "429"}
	others := 190 - (l.between(last.Add(-q.Window), last) - 1)
	l.throttle(q, refused, now)
	if _, still := slices.BinarySearchFunc(l.calls, last, time.Time.Compare); still {
		t.Error("a refused call counts")
	}
	if l.blockedUntil != nil || int(l.others) != others {
		t.Errorf("explained: blocked until %v, %v others, want %d", l.blockedUntil, l.others, others)
	}
	// The headers explain nothing if it goes on.
	for range believed {
		l.throttle(q, refused, now)
	}
	if l.blockedUntil == nil || !l.blockedUntil.Equal(now.Add(10*time.Second)) || l.share != cut {
		t.Errorf("blocked until %v, share %v", l.blockedUntil, l.share)
	}
	if g := l.take(q, Ask{Want: 1}, now); len(g.Tokens) > 0 || g.Wait != 10*time.Second-tokenHorizon {
		t.Errorf("while blocked: %+v", g)
	}

	l = ledger{}
	now = l.fill(q, epoch)
	for range 5 { // at once: it is one piece of news
		l.throttle(q, Refusal{Wait: 2 * time.Second, Why: "423"}, now)
	}
	for _, c := range []struct {
		after    time.Duration
		from, to int
	}{{0, 133, 133}, {10 * time.Second, 151, 153}, {20 * time.Second, 170, 172}, {40 * time.Second, 190, 190}} {
		if n := l.limit(q, now.Add(c.after)); n < c.from || n > c.to {
			t.Errorf("%v after: the limit is %d, want %d to %d", c.after, n, c.from, c.to)
		}
	}
	l.throttle(q, Refusal{Wait: time.Second, Asked: true, Seen: refused.Seen, Why: "Retry-After"}, now)
	if *l.blockedWhy != "423" || !l.blockedUntil.Equal(now.Add(2*time.Second)) {
		t.Errorf("the longer wait holds: %v %v", *l.blockedWhy, l.blockedUntil)
	}
}

func TestLedgerDaily(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	q := Quota{Calls: 10, Window: time.Second, Daily: 5, Reserve: 0.2, Location: berlin}
	var l ledger
	now := time.Date(2026, 3, 1, 22, 30, 0, 0, time.UTC) // half past eleven there
	if g := l.take(q, Ask{Want: 10}, now); len(g.Tokens) != 4 {
		t.Fatalf("%d tokens", len(g.Tokens))
	}
	g := l.take(q, Ask{Want: 1}, now)
	if !g.Day || g.Wait != 30*time.Minute || len(g.Tokens) > 0 {
		t.Errorf("the day is used up: %+v", g)
	}
	l.refund(l.calls[3:])
	if g := l.take(q, Ask{Want: 2}, now); len(g.Tokens) != 1 || g.Day {
		t.Errorf("what was not used: %+v", g)
	}
	now = now.Add(30 * time.Minute)
	if g := l.take(q, Ask{Want: 1}, now); len(g.Tokens) != 1 || l.dayUsed != 1 {
		t.Errorf("a new day: %+v", g)
	}

	// Other apps use the account's day, too: the reserve is left to them.
	q.Daily = 0
	l.learn(q, Seen{At: now, Max: -1, Remaining: -1, DailyMax: 1000, DailyRemaining: 201}, now)
	if g := l.take(q, Ask{Want: 1}, now.Add(time.Second)); len(g.Tokens) != 1 {
		t.Errorf("one is left: %+v", g)
	}
	now = now.Add(2 * time.Second)
	l.learn(q, Seen{At: now, Max: -1, Remaining: -1, DailyMax: 1000, DailyRemaining: 200}, now)
	if g := l.take(q, Ask{Want: 1}, now); !g.Day || g.Wait != dayStale {
		t.Errorf("the reserve is left: %+v", g)
	}
	if g := l.take(q, Ask{Want: 1}, now.Add(dayStale)); len(g.Tokens) != 1 {
		t.Errorf("the account's day may have turned: %+v", g)
	}
}

// A day ends with the first moment of the next date, which is no 00:00 where clocks go forward then, and the first of
// two where they go back.
func TestNextDay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, now, want string }{
		{"America/Santiago", "2026-09-06T02:30:00Z", "2026-09-06T04:00:00Z"}, // forward at midnight
		{"America/Santiago", "2026-09-06T03:59:59Z", "2026-09-06T04:00:00Z"},
		{"America/Santiago", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"America/Santiago", "2026-04-05T02:30:00Z", "2026-04-05T04:00:00Z"}, // back from midnight to 23:00
		{"America/Santiago", "2026-04-05T03:30:00Z", "2026-04-05T04:00:00Z"}, // the second 23:30
		{"America/Havana", "2026-03-08T04:30:00Z", "2026-03-08T05:00:00Z"},
		{"America/Havana", "2026-11-01T03:30:00Z", "2026-11-01T04:00:00Z"}, // back from 01:00 to midnight
		{"America/Havana", "2026-11-01T04:30:00Z", "2026-11-02T05:00:00Z"},
		{"Asia/Beirut", "2026-03-28T21:30:00Z", "2026-03-28T22:00:00Z"},
		{"Asia/Beirut", "2026-10-24T20:30:00Z", "2026-10-24T22:00:00Z"},
		{"Africa/Cairo", "2026-04-23T21:59:00Z", "2026-04-23T22:00:00Z"},
		{"Africa/Cairo", "2026-10-29T21:30:00Z", "2026-10-29T22:00:00Z"},
		{"Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"}, // a day was left out
		{"Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T22:00:00Z"},
		{"Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"UTC", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Quota{Location: zone}).midnight(now).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%s at %s: %s, want %s", c.zone, c.now, got, c.want)
		}
	}
}

// In the last hour before clocks go forward at midnight, the wait for the new day ends with the day.
func TestLedgerDailyWhereMidnightIsLeftOut(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/Santiago")
	if err != nil {
		t.Fatal(err)
	}
	q := Quota{Calls: 10, Window: time.Second, Daily: 1, Location: zone}
	now := time.Date(2026, 9, 6, 3, 15, 0, 0, time.UTC) // 23:15
	var l ledger
	l.take(q, Ask{Want: 1}, now)
	if g := l.take(q, Ask{Want: 1}, now); !g.Day || g.Wait != 45*time.Minute {
		t.Errorf("%+v", g)
	}
	if g := l.take(q, Ask{Want: 1}, now.Add(45*time.Minute)); len(g.Tokens) != 1 {
		t.Errorf("the day after: %+v", g)
	}
}
