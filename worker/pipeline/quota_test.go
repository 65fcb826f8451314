package pipeline

import (
	"context"
	"testing"
	"time"

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
