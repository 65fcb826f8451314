package pipeline

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"crmintake/batcher"
	"crmintake/outbox"
	"crmintake/worker"
)

// What goes first gets the next turn, and the others get theirs in the order of their coming.
func TestTokensInTurn(t *testing.T) {
	var line tokens
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
	if n := line.line(); n != 3 {
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
	var in tokens
	now := time.Now()
	at := func(d time.Duration) token {
		return token{at: now.Add(d), start: now.Add(d), end: now.Add(d + time.Second)}
	}
	late, soon, far := at(-time.Minute), at(-time.Second/2), at(time.Minute)
	in.have = []token{late, soon, far}
	if got, ok := in.pop(time.Hour); ok {
		t.Errorf("%v for what takes an hour", got)
	}
	in.have, in.unused = []token{late, soon, far}, nil
	if got, _ := in.pop(0); got != soon {
		t.Errorf("got %v", got)
	}
	in.refund(token{})
	in.refund(soon)
	in.drop()
	if diff := cmp.Diff([]time.Time{late.at, soon.at, far.at}, in.unused); diff != "" || in.have != nil {
		t.Errorf("given back: %s; in hand: %v", diff, in.have)
	}
}

// The newest answer counts, also when its time is by a clock that was set back.
func TestNewestAnswer(t *testing.T) {
	var in tokens
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

// While the quota limits, full batches go before such as only have waited; but those don't wait for ever.
func TestRipeUnderAQuota(t *testing.T) {
	begin := time.Now()
	w := &Worker{
		cfg:     Config{Quota: Quota{Calls: 1, Window: 10 * time.Second}},
		waiting: batcher.New[*item](batcher.Config{Size: 2, Wait: time.Second}),
	}
	open := func(string) bool { return false }
	w.waiting.Add("rare", nil, 1, begin)
	w.waiting.Add("usual", nil, 1, begin.Add(time.Second))
	w.waiting.Add("other", nil, 1, begin.Add(2*time.Second))
	ripe := func(after time.Duration, shut func(string) bool, want string) {
		t.Helper()
		if key, _ := w.ready(begin.Add(after), shut); key != want {
			t.Errorf("%v after: %q, want %q", after, key, want)
		}
	}
	w.tokens.scarce.Store(true)
	ripe(5*time.Second, open, "rare") // none is full
	w.waiting.Add("other", nil, 1, begin.Add(5*time.Second))
	ripe(5*time.Second, open, "other")
	w.waiting.Add("usual", nil, 1, begin.Add(5*time.Second))
	ripe(5*time.Second, open, "usual") // of those that are full it has waited longest
	ripe(5*time.Second, func(key string) bool { return key == "usual" }, "other")
	ripe(20*time.Second, open, "rare")
	w.tokens.scarce.Store(false)
	ripe(5*time.Second, open, "rare")
}

func TestSignals(t *testing.T) {
	// 190 calls in 10 s: 1,900 records a second.
	usual := Load{
		Backlog: 190_000, Batch: 100, Calls: 190, Window: 10 * time.Second, Used: 150, Workers: 2, Rate: 20_000,
		Target: time.Minute,
	}
	inf := math.Inf(1)
	for name, c := range map[string]struct {
		change func(*Load)
		want   Signals
	}{
		"the quota limits": {func(*Load) {}, Signals{190_000, 40, 1900, 40_000, 100 * time.Second, true, 1}},
		"blocked": {func(l *Load) { l.Blocked = time.Minute }, Signals{190_000, 0, 1900, 40_000,
			160 * time.Second, true, 1}},
		"more used than allowed": {func(l *Load) { l.Used = 200 }, Signals{190_000, 0, 1900, 40_000,
			100 * time.Second, true, 1}},
		"no backlog": {func(l *Load) { l.Backlog = 0 }, Signals{0, 40, 1900, 40_000, 0, false, 1}},
		"no quota": {func(l *Load) { l.Calls = 0 }, Signals{190_000, -1, inf, 40_000,
			4750 * time.Millisecond, false, 1}},
		"no quota, five million": {func(l *Load) { l.Calls, l.Backlog = 0, 5_000_000 }, Signals{5_000_000, -1, inf,
			40_000, 125 * time.Second, false, 5}},
		"slow calls": {func(l *Load) { l.Rate = 200 }, Signals{190_000, 40, 1900, 400,
			475 * time.Second, false, 10}},
		"slow calls, no hurry": {func(l *Load) { l.Rate, l.Backlog = 200, 24_000 }, Signals{24_000, 40, 1900,
			400, 60 * time.Second, false, 2}},
		"slow calls, paused": {func(l *Load) { l.Rate, l.Paused = 200, true }, Signals{190_000, 40, 1900, 400,
			-1, false, 1}},
		"slow calls, partly paused": {func(l *Load) { l.Rate, l.Partly = 200, true }, Signals{190_000, 40, 1900, 400,
			-1, false, 10}},
		"little, which can go now": {func(l *Load) { l.Backlog = 4000 }, Signals{4000, 40, 1900, 40_000,
			4000 * time.Second / 1900, false, 1}},
		"no worker": {func(l *Load) { l.Workers = 0 }, Signals{190_000, 40, 1900, 0, -1, false, 1}},
		"nothing was called yet": {func(l *Load) { l.Rate = 0 }, Signals{190_000, 40, 1900, 0, 100 * time.Second,
			false, 1}},
		"no quota and no call yet": {func(l *Load) { l.Rate, l.Calls = 0, 0 }, Signals{190_000, -1, inf, 0, -1,
			false, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			l := usual
			c.change(&l)
			if diff := cmp.Diff(c.want, l.Signals()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What a worker can do is known from calls that the CRM looked at, and from no other.
func TestCallsThatTellNothing(t *testing.T) {
	w := &Worker{}
	w.cfg.InFlight, w.cfg.Batch.Size = 1, 100
	can := func(when string, want float64) {
		t.Helper()
		if got := w.capacity().Rate; got != want {
			t.Errorf("%s: %v records a second, want %v", when, got, want)
		}
	}
	for _, class := range []worker.Class{worker.Ambiguous, worker.Throttled, worker.Unavailable, worker.PauseAccount, worker.PauseObjectType} {
		w.tokens.called(class, &worker.Call{Duration: time.Minute})
	}
	w.tokens.called(worker.Refused, &worker.Call{Unsent: true, Duration: time.Minute})
	can("before", 0)
	w.tokens.called(worker.Answered, &worker.Call{Duration: time.Second})
	can("one call", 100)
	for range 100 {
		w.tokens.called(worker.Ambiguous, &worker.Call{Duration: time.Minute})
		w.tokens.called(worker.Unavailable, &worker.Call{})
	}
	can("while the CRM is down", 100)
	for _, class := range []worker.Class{worker.Refused, worker.TooLarge} {
		w.tokens.called(class, &worker.Call{Duration: time.Second})
	}
	can("refused ones", 100)
	w.cfg.InFlight = 1 << 20
	can("no worker does more", mostRate)
}

// While everything is paused, no more workers are wanted; while an object type is, what there is to do counts.
func TestLoadWhilePaused(t *testing.T) {
	s := snapshot{pending: 600_000, workers: []outbox.Capacity{{Batch: 100, Rate: 1000}}}
	for key, want := range map[string]int{"contracts": 10, outbox.Account: 1} {
		w := &Worker{pauses: pauseSet{key: {cause: outbox.ByAnswer}}}
		if got := w.load(&s).Signals().WorkersWanted; got != want {
			t.Errorf("%s is paused: %d workers are wanted, want %d", key, got, want)
		}
	}
}

// The metric of the day's limit is what the outbox goes by.
func TestDayLimitMetric(t *testing.T) {
	w := &Worker{metrics: NewMetrics(nil)}
	w.cfg.Quota = Quota{Calls: 100, Window: time.Second, Daily: 1000, Reserve: .9}
	w.showFleet(&snapshot{})
	var m dto.Metric
	if err := w.metrics.fleet.dayLimit.Write(&m); err != nil || m.GetGauge().GetValue() != 100 {
		t.Errorf("%v, %v; want 100", m.GetGauge().GetValue(), err)
	}
}
