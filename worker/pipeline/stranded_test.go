package pipeline_test

import (
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// A consumer whose max_deliver gave up on events says that it has nothing, also when that is taken back: a drain
// creates them all the same.
func TestDrainTakesWhatWasGivenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	js, err := natsjs.New(r.nc)
	r.must(err)
	c, err := js.Consumer(t.Context(), "CRM_EVENTS", "crmintake")
	r.must(err)
	edited := c.CachedInfo().Config
	edited.MaxDeliver = 2
	_, err = js.UpdateConsumer(t.Context(), "CRM_EVENTS", edited)
	r.must(err)
	r.publish(named("contracts", "c", 20)...)
	r.eventually("the consumer has given up", func() bool {
		batch, err := c.Fetch(20, natsjs.FetchMaxWait(100*time.Millisecond))
		r.must(err)
		for m := range batch.Messages() {
			r.must(m.Nak())
		}
		info, err := c.Info(t.Context())
		r.must(err)
		return info.NumPending == 0 && info.NumAckPending == 0
	})
	edited.MaxDeliver = -1
	_, err = js.UpdateConsumer(t.Context(), "CRM_EVENTS", edited)
	r.must(err)
	r.drain(config())
	if n := len(r.rows("SELECT event_id FROM outbox WHERE status = 'created'")); n != 20 {
		t.Errorf("%d of 20 are created", n)
	}
}

// What nobody can be given is a failure of the drain, which says what to type, and in the metrics. The rest is done.
func TestDrainFailsWhereEventsAreLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	js, err := natsjs.New(r.nc)
	r.must(err)
	stream, err := js.Stream(t.Context(), "CRM_EVENTS")
	r.must(err)
	moved := stream.CachedInfo().Config
	moved.SubjectTransform = &natsjs.SubjectTransformConfig{Source: "crm.create.>", Destination: "made.>"}
	_, err = js.UpdateStream(t.Context(), moved)
	r.must(err)
	r.publish(named("contracts", "moved", 3)...)
	moved.SubjectTransform = nil
	_, err = js.UpdateStream(t.Context(), moved)
	r.must(err)
	r.publish(named("contracts", "c", 2)...)

	cfg := config()
	cfg.Drain = true
	m := r.measure(&cfg)
	w := r.start(cfg, hubspot.StaticToken(token))
	r.eventually("the metric tells", func() bool { return m.series()["backlog_stranded_events"] == 3 })
	w.once.Do(func() {
		err := <-w.done
		w.cancel()
		if err == nil || !strings.Contains(err.Error(), "not all is done: 3 messages") ||
			!strings.Contains(err.Error(), `type 'export CRMINTAKE_SUBJECT="made.>"'`) {
			t.Errorf("the drain ended with %v", err)
		}
	})
	if n := len(r.rows("SELECT event_id FROM outbox WHERE status = 'created'")); n != 2 {
		t.Errorf("%d of 2 are created", n)
	}
}
