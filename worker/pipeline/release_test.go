package pipeline_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// watched remembers what it delivered, without keeping it.
type watched struct {
	worker.Source
	mu     sync.Mutex
	events []weak.Pointer[worker.Event]
}

func (s *watched) Fetch(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	return s.Source.Fetch(ctx, max, maxBytes, func(e *worker.Event) {
		s.mu.Lock()
		s.events = append(s.events, weak.Make(e))
		s.mu.Unlock()
		deliver(e)
	})
}

// alive counts what is still in memory.
func (s *watched) alive() (n int) {
	runtime.GC()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Value() != nil {
			n++
		}
	}
	return n
}

// While a call is under way, its events' messages are in the database, and in memory is only what is sent.
func TestMessagesAreLetGoBeforeTheCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	seen := make(chan struct{})
	answer := sync.OnceFunc(func() { close(seen) })
	r.beforeCalls(func() { <-seen })
	var source *watched
	r.wrap = func(s worker.Source) worker.Source {
		source = &watched{Source: s}
		return source
	}
	r.publish(named("contracts", "c", 100)...)
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second // for all to be one call, however slow the machine
	cfg.CallTimeout, cfg.Lease = time.Minute, 2*time.Minute
	r.start(cfg, hubspot.StaticToken(token))
	defer answer()
	const sending = `SELECT count(*) FROM outbox WHERE status = 'sending'`
	r.until(sending, "100")
	r.eventually("all is let go of", func() bool { return source.alive() == 0 })
	r.expect(sending, "100") // as they were, so that the call is not over
}
