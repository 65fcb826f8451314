package pipeline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"crmintake/deploy/local/proxy"
	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
	"crmintake/worker/pipeline"
)

const (
	streamName   = "CRM_EVENTS"
	consumerName = "crmintake"
)

// Events that are in hand for longer than the ack wait, because the database takes so long, are not delivered again.
func TestInHandForLongerThanTheAckWait(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	const ackWait = 5 * time.Second
	r.remakeConsumer(ackWait)
	w := r.start(config(), hubspot.StaticToken(token))
	unlock := r.lock()
	r.publish(named("contracts", "c", 300)...)
	r.eventually("all are in hand", func() bool { return r.consumer().NumAckPending == 300 })
	<-time.After(ackWait + time.Second) // the ack wait is the server's, which nothing but time moves on
	unlock()
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 300")
	w.stop()
	r.exactlyOnce("contracts", 300)
	if s := w.Stats(); s.Received.Load() != 300 || s.Duplicates.Load() != 0 {
		t.Errorf("received %d, and %d of them again; want 300, each once", s.Received.Load(), s.Duplicates.Load())
	}
}

// When the stream does not hear that events are in hand, it delivers them again while the first delivery is, to the
// same worker and to another: that does no harm.
func TestRedeliveryWhileInHand(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.remakeConsumer(2 * time.Second)
	r.wrap = func(s worker.Source) worker.Source { return mute{s} }
	one, other := r.start(config(), hubspot.StaticToken(token)), r.start(config(), hubspot.StaticToken(token))
	both := func(counter func(*pipeline.Stats) int64) int64 { return counter(one.Stats()) + counter(other.Stats()) }
	received := func(s *pipeline.Stats) int64 { return s.Received.Load() }
	unlock := r.lock()
	r.publish(named("contracts", "c", 300)...)
	r.eventually("all are in hand twice", func() bool { return both(received) >= 600 })
	unlock()
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 300")
	r.eventually("all are acked", func() bool { return r.consumer().NumAckPending == 0 })
	// A worker that stops before it has looked at a second delivery gives it back, and does not know it for one.
	r.eventually("all second deliveries are known", func() bool {
		return both(func(s *pipeline.Stats) int64 { return s.Duplicates.Load() }) >= 300
	})
	one.stop()
	other.stop()
	r.exactlyOnce("contracts", 300)
}

// A message whose id is taken by another content is a dead letter of its own. Delivered twice before it is one, it is
// acked when it is, and not before: a worker that ends in between would leave it nowhere.
func TestRedeliveryOfAReusedID(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.publish(message{"contracts", "x", `{"properties":{"name":"first"}}`})
	r.drain(config())
	r.must(r.remakeStream()) // it takes the id again
	r.remakeConsumer(2 * time.Second)
	cfg := config()
	cfg.InFlight, cfg.ShutdownTimeout = 1, time.Second
	r.wrap = func(s worker.Source) worker.Source { return mute{s} }
	unlock, busy := r.lock(), r.admin()
	w := r.start(cfg, hubspot.StaticToken(token))
	r.publish(message{"deals", "y", `{"properties":{"name":"in the way"}}`}) // has the only slot
	r.eventually("the slot is taken", busy.waiting)
	r.publish(message{"contracts", "x", `{"properties":{"name":"second"}}`})
	r.eventually("both are in hand twice", func() bool { return w.Stats().Received.Load() >= 4 })
	a := r.admin()
	a.exec(`BEGIN; LOCK TABLE outbox_error IN ACCESS EXCLUSIVE MODE`)
	unlock()
	r.eventually("the worker waits to write the dead letter", func() bool {
		return len(r.rows(`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%dead AS%INSERT INTO event%'`)) > 0
	})
	w.cancel() // its time to stop is too short
	if err := <-w.done; err == nil {
		t.Error("it stopped without the dead letter, and says nothing of it")
	}
	w.once.Do(func() {}) // it is stopped
	a.exec(`ROLLBACK`)
	r.wrap = nil
	r.drain(config())
	r.expect(`SELECT status, convert_from(payload, 'UTF8') FROM outbox WHERE status = 'dead'`, `dead {"properties":{"name":"second"}}`)
	r.expect(`SELECT count(*) FROM outbox`, "3")
}

// mute is a source whose stream never hears that an event is in hand.
type mute struct{ worker.Source }

type muteMessage struct{ worker.Message }

func (muteMessage) InProgress() error { return nil }

func (m mute) Fetch(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	return m.Source.Fetch(ctx, max, maxBytes, func(e *worker.Event) {
		e.Message = muteMessage{e.Message}
		deliver(e)
	})
}

// A consumer that is deleted is told of once, with what to type. Made again, it is used again.
func TestConsumerDeleted(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	w := r.start(config(), hubspot.StaticToken(token))
	r.publish(named("contracts", "a", 100)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 100")
	r.must(r.js().DeleteConsumer(t.Context(), streamName, consumerName))
	r.publish(named("contracts", "b", 100)...)
	const advice = "has no consumer crmintake; type 'crmintake init' to create it"
	r.logged(advice)
	_, err := jetstream.Init(t.Context(), r.nc, jetstream.InitConfig{AckWait: 5 * time.Second})
	r.must(err)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 200")
	r.logged("the stream works again")
	w.stop()
	r.exactlyOnce("contracts", 200)
	r.loggedOnce(advice, "the stream fails", "the stream works again")
}

// A paused consumer is no fault: nothing comes while it is paused, and all that came since when it is resumed.
func TestConsumerPaused(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	fetches := r.countFetches()
	w := r.start(config(), hubspot.StaticToken(token))
	_, err := r.js().PauseConsumer(t.Context(), streamName, consumerName, time.Now().Add(time.Hour))
	r.must(err)
	r.publish(named("contracts", "c", 100)...)
	before := fetches.Load()
	r.eventually("it has been fetched in vain", func() bool { return fetches.Load() >= before+2 })
	if n := w.Stats().Received.Load(); n != 0 {
		t.Errorf("%d events came while the consumer was paused", n)
	}
	_, err = r.js().ResumeConsumer(t.Context(), streamName, consumerName)
	r.must(err)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 100")
	w.stop()
	r.exactlyOnce("contracts", 100)
	if log := r.log.String(); strings.Contains(log, "the stream fails") {
		t.Errorf("the pause is logged as a failure:\n%s", log)
	}
}

// What was in hand when the stream was purged becomes records all the same, and so does what comes later.
func TestStreamPurged(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	w := r.start(config(), hubspot.StaticToken(token))
	unlock := r.lock()
	r.publish(named("contracts", "a", 500)...)
	r.eventually("all are in hand", func() bool { return r.consumer().NumAckPending == 500 })
	stream, err := r.js().Stream(t.Context(), streamName)
	r.must(err)
	r.must(stream.Purge(t.Context()))
	unlock()
	r.publish(named("contracts", "b", 100)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 600")
	w.stop()
	r.exactlyOnce("contracts", 600)
}

// A stream that is made anew under a running worker counts from 1 again. Events that are known by their place only are
// no older ones' repeats then.
func TestStreamRemade(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	w := r.start(config(), hubspot.StaticToken(token))
	r.publish(withoutIDs("contracts", "a", 20)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 20")
	r.eventually("all are acked", func() bool { return r.consumer().NumAckPending == 0 })
	r.must(r.remakeStream())
	r.publish(withoutIDs("contracts", "b", 20)...)
	r.publish(named("contracts", "named", 20)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 60")
	w.stop()
	r.exactlyOnce("contracts", 60)
}

func TestNATSRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{MinLatency: 20 * time.Millisecond})
	r.remakeConsumer(2 * time.Second)
	cfg := config()
	cfg.InFlight = 2
	w := r.start(cfg, hubspot.StaticToken(token))
	for round := range 2 {
		r.publish(named("contracts", fmt.Sprint("round", round), 1000)...)
		r.until(fmt.Sprintf(`SELECT count(*) > %d FROM outbox`, 1000*round), "true")
		r.must(r.nats.Restart())
	}
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 2000")
	w.stop()
	r.exactlyOnce("contracts", 2000)
}

// The connection breaks in the middle of a fetch, with messages on their way, and with acks on their way.
func TestConnectionBreaksInAFetch(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.remakeConsumer(2 * time.Second)
	// One message of so many breaks the connection instead of passing, as often as wanted.
	breaks := func(is func(proxy.Message) bool, every, times int64) (*atomic.Int64, func(proxy.Message) bool) {
		var seen, broken atomic.Int64
		return &broken, func(m proxy.Message) bool {
			return !is(m) || seen.Add(1)%every != 0 || broken.Add(1) > times
		}
	}
	deliveries, received := breaks(proxy.Message.Delivery, 550, 2)
	acks, sent := breaks(proxy.Message.Ack, 450, 2)
	p, err := proxy.StartNATS(strings.TrimPrefix(r.nats.URL(), "nats://"), proxy.NATSHooks{Sent: sent, Received: received})
	r.must(err)
	t.Cleanup(p.Close)
	r.natsURL = "nats://" + p.Addr()
	r.publish(named("contracts", "c", 2000)...)
	w := r.start(config(), hubspot.StaticToken(token))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 2000")
	r.eventually("all are acked", func() bool { return r.consumer().NumAckPending == 0 })
	w.stop()
	r.exactlyOnce("contracts", 2000)
	if deliveries.Load() < 2 || acks.Load() < 2 {
		t.Errorf("broken at %d deliveries and %d acks, want 2 and 2", deliveries.Load(), acks.Load())
	}
}

// A connection over which nothing passes for a while, and nobody is told: when it does again, events flow.
func TestSilenceEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.remakeConsumer(2 * time.Second)
	p, err := proxy.Start(strings.TrimPrefix(r.nats.URL(), "nats://"))
	r.must(err)
	t.Cleanup(p.Close)
	r.natsURL = "nats://" + p.Addr()
	fetches := r.countFetches()
	w := r.start(config(), hubspot.StaticToken(token))
	r.publish(named("contracts", "a", 100)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 100")
	p.Pause()
	r.publish(named("contracts", "b", 100)...)
	before := fetches.Load()
	r.eventually("fetches were lost", func() bool { return fetches.Load() >= before+2 })
	r.expect(`SELECT count(*) FROM outbox`, "100")
	p.Resume()
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 200")
	r.eventually("all are acked", func() bool { return r.consumer().NumAckPending == 0 })
	w.stop()
	r.exactlyOnce("contracts", 200)
}

// Each event is in the stream twice, and two workers get both at once.
func TestTheSameEventInTwoWorkersAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	list := named("contracts", "c", 500)
	list = append(list, list...)
	shuffleNearby(list)
	r.publishCloudEvents(list)
	r.drainTwo()
	r.exactlyOnce("contracts", 500)
}

// Each id is in the stream with two contents, and two workers get both at once: one wins, and the other is kept.
func TestTheSameIDInTwoWorkersAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	list := named("contracts", "c", 300)
	other := named("contracts", "c", 300)
	for k := range other {
		other[k].body = `{"properties":{"name":"other"}}`
	}
	list = append(list, other...)
	shuffleNearby(list)
	r.publishCloudEvents(list)
	r.drainTwo()
	r.expect(`SELECT status, reason, count(*) FROM outbox GROUP BY status, reason ORDER BY status`, "created <nil> 300", "dead id_reused 300")
	r.expect(`SELECT count(DISTINCT split_part(event_id, '#', 1)) FROM outbox WHERE reason = 'id_reused' AND payload IS NOT NULL`, "300")
	r.expect(`SELECT count(DISTINCT stream_seq) FROM outbox`, "600")
	if n := r.crm.Len("contracts"); n != 300 {
		t.Errorf("%d records, want 300", n)
	}
}

// The stream knows an id for a while only. The outbox knows it afterwards.
func TestTheSameEventAfterTheStreamForgotIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	stream, err := r.js().Stream(t.Context(), streamName)
	r.must(err)
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	_, err = r.js().UpdateStream(t.Context(), cfg)
	r.must(err)
	again := func(body string) {
		t.Helper()
		r.eventually("the stream takes the id anew", func() bool {
			ack, err := r.js().Publish(t.Context(), "crm.create.contracts", []byte(body), natsjs.WithMsgID("id"))
			r.must(err)
			return !ack.Duplicate
		})
	}
	again(`{"properties":{"name":"one"}}`)
	w := r.start(config(), hubspot.StaticToken(token))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 1")
	again(`{"properties":{"name":"one"}}`)
	again(`{"properties":{"name":"other"}}`)
	r.until(`SELECT `+placeless+`, status, reason FROM outbox ORDER BY stream_seq`, "id created <nil>\nid#CRM_EVENTS@:3 dead id_reused")
	w.stop()
	if n := w.Stats().Duplicates.Load(); n != 1 {
		t.Errorf("%d duplicates, want 1", n)
	}
	if n := r.crm.Len("contracts"); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func (r *streamRig) js() natsjs.JetStream {
	r.t.Helper()
	js, err := natsjs.New(r.nc)
	r.must(err)
	return js
}

// consumer tells how the consumer stands.
func (r *streamRig) consumer() *natsjs.ConsumerInfo {
	r.t.Helper()
	c, err := r.js().Consumer(r.t.Context(), streamName, consumerName)
	r.must(err)
	return c.CachedInfo()
}

// remakeConsumer makes the consumer with another ack wait.
func (r *streamRig) remakeConsumer(ackWait time.Duration) {
	r.t.Helper()
	r.must(r.js().DeleteConsumer(r.t.Context(), streamName, consumerName))
	_, err := jetstream.Init(r.t.Context(), r.nc, jetstream.InitConfig{AckWait: ackWait})
	r.must(err)
}

// countFetches counts how many fetches workers have ended.
func (r *rig) countFetches() *atomic.Int64 {
	var n atomic.Int64
	r.wrap = func(s worker.Source) worker.Source { return counted{s, &n} }
	return &n
}

type counted struct {
	worker.Source
	n *atomic.Int64
}

func (c counted) Fetch(ctx context.Context, max, maxBytes int, deliver func(*worker.Event)) error {
	defer c.n.Add(1)
	return c.Source.Fetch(ctx, max, maxBytes, deliver)
}

// shuffleNearby changes the order of events among those that two workers have in hand at once, the same each time.
func shuffleNearby(list []message) {
	random := rand.New(rand.NewPCG(1, 2))
	half := len(list) / 2
	mixed := make([]message, 0, len(list))
	for k := range half {
		mixed = append(mixed, list[k], list[half+k])
	}
	copy(list, mixed)
	for k := 0; k < len(list); k += 40 {
		part := list[k:min(k+40, len(list))]
		random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
}

// publishCloudEvents publishes events whose ids the stream does not look at.
func (r *streamRig) publishCloudEvents(list []message) {
	r.t.Helper()
	for _, e := range list {
		m := nats.NewMsg("crm.create." + e.objectType)
		m.Header.Set("ce-source", "src")
		m.Header.Set("ce-id", e.id)
		m.Data = []byte(e.body)
		_, err := r.nc.RequestMsg(m, time.Minute) // the answer is the stream's confirmation
		r.must(err)
	}
}

// drainTwo runs two workers with small batches until nothing is left to do.
func (r *rig) drainTwo() {
	r.t.Helper()
	cfg := config()
	cfg.Drain = true
	cfg.InFlight, cfg.Batch.Size = 2, 10
	cfg.Name = "one"
	unlock := r.lock() // none is done before both have begun
	one := r.start(cfg, hubspot.StaticToken(token))
	cfg.Name = "other"
	other := r.start(cfg, hubspot.StaticToken(token))
	r.eventually("both have events in hand", func() bool { return one.Stats().Received.Load() > 0 && other.Stats().Received.Load() > 0 })
	unlock()
	one.wait()
	other.wait()
}
