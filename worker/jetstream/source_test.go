package jetstream

import (
	"strings"
	"testing"
	"time"

	"crmintake/worker"
)

func TestServerRestart(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: 2 * time.Second})
	busy := s.view.waits
	s.view.waits.info, s.view.waits.idle = infoWait, fetchWait // a question may be lost with the server
	const total = 3000
	e.numbered(t, total)
	restarted := make(chan error, 1)
	seen := map[uint64]bool{}
	fetches := 0
	for limit := time.Now().Add(2 * patience); len(seen) < total; fetches++ {
		if fetches == 2 {
			go func() { restarted <- e.server.Restart() }()
		}
		// Errors are for the log; the source mends itself.
		if err := s.Fetch(t.Context(), 500, 1<<20, func(ev *worker.Event) {
			seen[ev.StreamSeq] = true
			_ = ev.Message.Ack()
		}); err != nil {
			t.Log(err)
		}
		if time.Now().After(limit) {
			t.Fatalf("%d of %d messages", len(seen), total)
		}
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	s.view.waits = busy
	for pending, unacked := 0, 1; pending+unacked > 0; { // acks that were lost, and those of the last messages
		_ = s.Fetch(t.Context(), 500, 1<<20, func(ev *worker.Event) { _ = ev.Message.Ack() })
		var err error
		if pending, unacked, err = s.Outstanding(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConsumerGone(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	ignore := func(*worker.Event) {}
	failed := make(chan error, 1)
	go func() {
		var err error
		for err == nil { // a request lives for a second, and may be over before the consumer is
			err = s.Fetch(t.Context(), 10, 1<<20, ignore)
		}
		failed <- err
	}()
	until(t, "the request is at the server", func() bool {
		info, err := s.view.shared.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.NumWaiting > 0
	})
	if err := e.js.DeleteConsumer(t.Context(), "CRM_EVENTS", "crmintake"); err != nil {
		t.Fatal(err)
	}
	for i, err := range []error{<-failed, s.Fetch(t.Context(), 10, 1<<20, ignore)} {
		if err == nil {
			t.Fatalf("fetch %d: no error", i)
		}
		contains(t, err.Error(), "has no consumer crmintake", "'crmintake init'")
	}
	if _, _, err := s.Outstanding(t.Context()); err == nil || !strings.Contains(err.Error(), "crmintake init") {
		t.Errorf("outstanding: %v", err)
	}
	if _, err := Init(t.Context(), e.nc, InitConfig{}); err != nil {
		t.Fatal(err)
	}
	e.numbered(t, 1)
	fetch(t, s, 1)

	if err := e.js.DeleteStream(t.Context(), "CRM_EVENTS"); err != nil {
		t.Fatal(err)
	}
	if err := s.Fetch(t.Context(), 10, 1<<20, ignore); err == nil || !strings.Contains(err.Error(),
		"the stream CRM_EVENTS does not exist") {
		t.Errorf("without a stream: %v", err)
	}
	e.nc.Close()
	if err := s.Fetch(t.Context(), 10, 1<<20, ignore); err == nil {
		t.Error("a closed connection gives no error")
	}
}

func TestPausedConsumer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	e.numbered(t, 1)
	if _, err := e.js.PauseConsumer(t.Context(), "CRM_EVENTS", "crmintake", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s, err := openSource(t, e.nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, strings.Join(s.Warnings(), "\n"), "is paused", "'nats consumer resume CRM_EVENTS crmintake --force'")
	n := 0
	if err := s.Fetch(t.Context(), 10, 1<<20, func(*worker.Event) { n++ }); err != nil || n != 0 {
		t.Errorf("paused: %d events, %v", n, err)
	}
	settled(t, s, 1, 0)
	if _, err := e.js.ResumeConsumer(t.Context(), "CRM_EVENTS", "crmintake"); err != nil {
		t.Fatal(err)
	}
	fetch(t, s, 1)
}
