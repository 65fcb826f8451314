package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// Workers come and go under load, as an autoscaler makes them. The ack wait is so long that what a worker leaves behind, and does
// not give back, is missed.
func TestWorkersJoinAndLeave(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{MinLatency: 5 * time.Millisecond, MaxLatency: 20 * time.Millisecond})
	r.remakeConsumer(10 * time.Minute)
	const events = 6000
	published := r.publishMeanwhile(named("contracts", "c", events))
	cfg := config()
	cfg.InFlight, cfg.Batch.Size = 2, 20
	join := func(k int) *running {
		cfg.Name = fmt.Sprint("worker-", k)
		return r.start(cfg, hubspot.StaticToken(token))
	}
	fleet := []*running{join(0)}
	var all []*running
	for k := range 8 {
		fleet = append(fleet, join(k+1))
		all = append(all, fleet[0])
		r.eventually("the worker has work", func() bool {
			return fleet[0].Stats().Created.Load() > 0 || r.rows(fmt.Sprintf(`SELECT count(*) = %d FROM outbox`, events))[0] == "true"
		})
		fleet[0].stop() // in the midst of it
		fleet = fleet[1:]
	}
	r.must(<-published)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, fmt.Sprintf("created %d", events))
	r.eventually("all are acked", func() bool { i := r.consumer(); return i.NumPending == 0 && i.NumAckPending == 0 })
	for _, w := range fleet {
		all = append(all, w)
		w.stop()
	}
	r.exactlyOnce("contracts", events)
	r.expect(`SELECT count(*) FROM outbox WHERE attempts <> 1 OR possible_duplicate`, "0")
	var created, duplicates int64
	for _, w := range all {
		created += w.Stats().Created.Load()
		duplicates += w.Stats().Duplicates.Load()
	}
	if created != events || duplicates != 0 {
		t.Errorf("the workers created %d and met %d again, want %d and none", created, duplicates, events)
	}
}

// What is in hand stays within the bound, be it a few large events or many small ones, and yet is as much as has room.
func TestMemoryInHand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events                  []message
		memory, inFlight, least int
	}{
		"large": {large(60), 32 << 20, 16, 10},
		"small": {named("contracts", "c", 12_000), 8 << 20, 64, 4000}, // so that bytes are what limits it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, roomy(hubspottest.Config{}))
			cfg := config()
			cfg.Memory, cfg.InFlight = c.memory, c.inFlight
			hand := &inHand{}
			r.wrap = hand.watch
			unlock := r.lock() // nothing gets out of hand
			r.publish(c.events...)
			w := r.start(cfg, hubspot.StaticToken(token))
			r.eventually("much is in hand", func() bool { return r.consumer().NumAckPending >= c.least })
			unlock()
			r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, fmt.Sprintf("created %d", len(c.events)))
			w.stop()
			r.exactlyOnce("contracts", len(c.events))
			if peak := hand.peakBytes(); peak > cfg.Memory {
				t.Errorf("%d bytes were in hand at once, want %d at most", peak, cfg.Memory)
			}
		})
	}
}

// Large events that are due again, all at once, are claimed as they find room.
func TestMemoryOfDueRows(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy(hubspottest.Config{MinLatency: 200 * time.Millisecond, RetryAfter: time.Second}))
	const events, size = 32, 4
	for range events / size {
		r.crm.Script(hubspottest.Answer429RetryAfter) // after which nobody is sent ahead
	}
	cfg := config()
	cfg.Breaker.Off = true // several calls at once from the first on
	cfg.Memory, cfg.Batch.Size = 16<<20, size
	cfg.CallTimeout, cfg.Lease = 20*time.Second, time.Minute
	r.publish(large(events)...)
	w := r.start(cfg, hubspot.StaticToken(token))
	peak := 0
	r.eventually("all are created", func() bool {
		var bytes, created int
		_, err := fmt.Sscan(r.rows(`SELECT coalesce(sum(2 * octet_length(payload)) FILTER (WHERE status = 'sending'), 0),
			count(*) FILTER (WHERE status = 'created') FROM outbox`)[0], &bytes, &created)
		r.must(err)
		peak = max(peak, bytes)
		return created == events
	})
	w.stop()
	r.exactlyOnce("contracts", events)
	if peak == 0 || peak > cfg.Memory {
		t.Errorf("%d bytes were being sent at once, want some, and %d at most", peak, cfg.Memory)
	}
}

// roomy is an account whose contracts have properties enough for large events: a value has a bound of its own.
func roomy(cfg hubspottest.Config) hubspottest.Config {
	properties := []string{"name"}
	for k := range largeProperties {
		properties = append(properties, fmt.Sprint("p", k))
	}
	cfg.ObjectTypes = map[string]hubspottest.ObjectType{"contracts": {Properties: properties, Unique: []string{idProperty}}}
	return cfg
}

const largeProperties = 20

// large makes n good events of a megabyte.
func large(n int) []message {
	var body strings.Builder
	body.WriteString(`{"properties":{"name":"large"`)
	for k := range largeProperties {
		fmt.Fprintf(&body, `,"p%d":"%s"`, k, strings.Repeat("x", 1_000_000/largeProperties-20))
	}
	body.WriteString(`}}`)
	list := named("contracts", "c", n)
	for k := range list {
		list[k].body = body.String()
	}
	return list
}

// inHand counts what workers have fetched and not answered yet, each event as it came and as it will be sent.
type inHand struct {
	mu          sync.Mutex
	bytes, peak int
}

func (h *inHand) add(bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes += bytes
	h.peak = max(h.peak, h.bytes)
}

func (h *inHand) peakBytes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.peak
}

func (h *inHand) watch(s worker.Source) worker.Source { return handSource{s, h} }

type handSource struct {
	worker.Source
	hand *inHand
}

func (s handSource) Fetch(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	return s.Source.Fetch(ctx, max, maxBytes, func(e *worker.Event) {
		m := &handMessage{e.Message, s.hand, 2 * len(e.Payload), sync.Once{}}
		s.hand.add(m.bytes)
		e.Message = m
		deliver(e)
	})
}

type handMessage struct {
	worker.Message
	hand  *inHand
	bytes int
	once  sync.Once
}

func (m *handMessage) Ack() error {
	m.once.Do(func() { m.hand.add(-m.bytes) })
	return m.Message.Ack()
}

func (m *handMessage) Nak(delay time.Duration) error {
	m.once.Do(func() { m.hand.add(-m.bytes) })
	return m.Message.Nak(delay)
}
