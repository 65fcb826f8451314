package pipeline

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"crmintake/batcher"
	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/limiter"
)

// While the quota limits, full batches go before such as only have waited; but those don't wait for ever.
func TestRipeUnderAQuota(t *testing.T) {
	begin := time.Now()
	w := &planner{parts: &parts{
		cfg:     Config{Quota: Quota{Calls: 1, Window: 10 * time.Second}},
		waiting: newWaiting(batcher.Config{Size: 2, Wait: time.Second}),
	}}
	open := []string{"rare", "usual", "other"}
	add := func(objectType string, after time.Duration) {
		w.waiting.add(&item{Event: &worker.Event{ObjectType: objectType}}, begin.Add(after))
	}
	add("rare", 0)
	add("usual", time.Second)
	add("other", 2*time.Second)
	ripe := func(after time.Duration, open []string, want string) {
		t.Helper()
		if key, _ := w.ready(begin.Add(after), open); key != want {
			t.Errorf("%v after: %q, want %q", after, key, want)
		}
	}
	scarce := &scarceStore{}
	w.limiter = limiter.New(limiter.Config{Quota: w.cfg.Quota.shared(), Store: scarce,
		Retry: func(ctx context.Context, do func(context.Context) error) error { return do(ctx) }})
	ask := func() {
		t.Helper()
		if _, err := w.limiter.Wait(t.Context(), limiter.Token{}, false, time.Second, func() bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	ripe(5*time.Second, open, "rare") // none is full
	add("other", 5*time.Second)
	ripe(5*time.Second, open, "other")
	add("usual", 5*time.Second)
	ripe(5*time.Second, open, "usual") // of those that are full it has waited longest
	ripe(5*time.Second, []string{"rare", "other"}, "other")
	ripe(20*time.Second, open, "rare")
	scarce.early = true
	ask()
	ripe(5*time.Second, open, "rare")
}

// scarceStore grants a token for now, which a call must have waited for unless it is early.
type scarceStore struct{ early bool }

func (s *scarceStore) Take(context.Context, outbox.Quota, outbox.Ask) (outbox.Grant, error) {
	now := time.Now()
	return outbox.Grant{Now: now, Late: time.Minute, Tokens: []outbox.Token{{At: now, Early: s.early}}}, nil
}

func (*scarceStore) Throttle(context.Context, outbox.Quota, outbox.Refusal) error { return nil }

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
	var calls callTime
	slots := 1
	can := func(when string, want float64) {
		t.Helper()
		if got := calls.capacity(slots, 100).Rate; got != want {
			t.Errorf("%s: %v records a second, want %v", when, got, want)
		}
	}
	for _, class := range []worker.Class{worker.Ambiguous, worker.Throttled, worker.Unavailable, worker.PauseAccount, worker.PauseObjectType} {
		calls.answered(class, &worker.Call{Duration: time.Minute})
	}
	calls.answered(worker.Refused, &worker.Call{Unsent: true, Duration: time.Minute})
	can("before", 0)
	calls.answered(worker.Answered, &worker.Call{Duration: time.Second})
	can("one call", 100)
	for range 100 {
		calls.answered(worker.Ambiguous, &worker.Call{Duration: time.Minute})
		calls.answered(worker.Unavailable, &worker.Call{})
	}
	can("while the CRM is down", 100)
	for _, class := range []worker.Class{worker.Refused, worker.TooLarge} {
		calls.answered(class, &worker.Call{Duration: time.Second})
	}
	can("refused ones", 100)
	slots = 1 << 20
	can("no worker does more", mostRate)
}

// While everything is paused, no more workers are wanted; while an object type is, what there is to do counts.
func TestLoadWhilePaused(t *testing.T) {
	s := snapshot{pending: 600_000, workers: []outbox.Capacity{{Batch: 100, Rate: 1000}}}
	for key, want := range map[string]int{"contracts": 10, outbox.Account: 1} {
		w := &Worker{parts: &parts{}}
		w.pauses.Close(outbox.Pause{ObjectType: key, Cause: outbox.ByAnswer}, time.Now())
		if got := w.load(&s).Signals().WorkersWanted; got != want {
			t.Errorf("%s is paused: %d workers are wanted, want %d", key, got, want)
		}
	}
}

// The metric of the day's limit is what the outbox goes by.
func TestDayLimitMetric(t *testing.T) {
	w := &Worker{parts: &parts{metrics: NewMetrics(nil)}}
	w.cfg.Quota = Quota{Calls: 100, Window: time.Second, Daily: 1000, Reserve: .9}
	w.showFleet(&snapshot{})
	var m dto.Metric
	if err := w.metrics.fleet.dayLimit.Write(&m); err != nil || m.GetGauge().GetValue() != 100 {
		t.Errorf("%v, %v; want 100", m.GetGauge().GetValue(), err)
	}
}
