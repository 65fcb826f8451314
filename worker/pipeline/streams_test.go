package pipeline_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

// Streams that others configure: each event of each arrives once, and a drain knows when it has all.
func TestStreamsOfOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	js, err := natsjs.New(r.nc)
	r.must(err)
	type change = func(*natsjs.StreamConfig)
	total := 0
	for _, one := range []struct {
		name    string
		stream  change
		other   change // of a stream that the events are published to instead
		publish func([]message)
		keeps   bool // what is acked
	}{
		{name: "limits", stream: func(s *natsjs.StreamConfig) { s.Retention = natsjs.LimitsPolicy }, keeps: true},
		{name: "interest", stream: func(s *natsjs.StreamConfig) { s.Retention = natsjs.InterestPolicy }},
		{name: "compressed", stream: func(s *natsjs.StreamConfig) { s.Compression = natsjs.S2Compression }},
		{name: "republished", stream: func(s *natsjs.StreamConfig) {
			s.RePublish = &natsjs.RePublish{Source: ">", Destination: "told.>"}
		}},
		{name: "atomic", stream: func(s *natsjs.StreamConfig) { s.AllowAtomicPublish = true },
			publish: r.publishAtOnce},
		{name: "mirror", stream: func(s *natsjs.StreamConfig) {
			s.Subjects, s.Mirror, s.Retention = nil, &natsjs.StreamSource{Name: "OTHER"}, natsjs.LimitsPolicy
		}, other: func(*natsjs.StreamConfig) {}, keeps: true},
		{name: "sourced", stream: func(s *natsjs.StreamConfig) {
			s.Subjects, s.Sources = nil, []*natsjs.StreamSource{{Name: "OTHER",
				SubjectTransforms: []natsjs.SubjectTransformConfig{{Source: "raw.>", Destination: "crm.create.>"}}}}
		}, other: func(s *natsjs.StreamConfig) {
			s.SubjectTransform = &natsjs.SubjectTransformConfig{Source: "crm.create.>", Destination: "raw.>"}
		}},
	} {
		r.must(js.DeleteStream(t.Context(), "CRM_EVENTS"))
		usual := natsjs.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
			Retention: natsjs.WorkQueuePolicy}
		if one.other != nil {
			other := natsjs.StreamConfig{Name: "OTHER", Subjects: usual.Subjects}
			one.other(&other)
			_, err := js.CreateStream(t.Context(), other)
			r.must(err)
		}
		one.stream(&usual)
		_, err = js.CreateStream(t.Context(), usual)
		r.must(err)
		_, err = jetstream.Init(t.Context(), r.nc, jetstream.InitConfig{})
		r.must(err)
		events := named("contracts", one.name, 250)
		switch {
		case one.publish != nil:
			one.publish(events)
		case one.other != nil:
			for _, e := range events {
				_, err := js.PublishMsg(t.Context(), messageOf(e))
				r.must(err)
			}
		default:
			r.publish(events...)
		}
		total += len(events)
		r.drain(config())
		r.expect(`SELECT status, attempts, count(*) FROM outbox GROUP BY 1, 2`, fmt.Sprint("created 1 ", total))
		stream, err := js.Stream(t.Context(), "CRM_EVENTS")
		r.must(err)
		if left := int(stream.CachedInfo().State.Msgs); left != 0 && !one.keeps || left != len(events) && one.keeps {
			t.Errorf("%s: %d messages are left", one.name, left)
		}
		if one.other != nil {
			r.must(js.DeleteStream(t.Context(), "OTHER"))
		}
	}
	r.exactlyOnce("contracts", total)
}

// messageOf is what publish makes of an event.
func messageOf(e message) *nats.Msg {
	return &nats.Msg{Subject: "crm.create." + e.objectType, Data: []byte(e.body),
		Header: nats.Header{"Nats-Msg-Id": {e.id}}}
}

// publishAtOnce publishes all events as one batch, which the stream takes as a whole.
func (r *streamRig) publishAtOnce(list []message) {
	r.t.Helper()
	for i, e := range list {
		m := messageOf(e)
		m.Header.Set("Nats-Batch-Id", list[0].id)
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i < len(list)-1 {
			r.must(r.nc.PublishMsg(m))
			continue
		}
		m.Header.Set("Nats-Batch-Commit", "1")
		answer, err := r.nc.RequestMsgWithContext(r.t.Context(), m)
		r.must(err)
		if want := fmt.Sprintf(`"count":%d`, len(list)); !strings.Contains(string(answer.Data), want) {
			r.t.Fatalf("the batch was not taken: %s", answer.Data)
		}
	}
}

// All servers of a cluster stop at once under load, and come back: what was confirmed arrives once, and nothing is
// taken for stranded.
func TestAllServersOfTheClusterStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{MinLatency: 10 * time.Millisecond})
	c := r.onCluster()
	cfg := config()
	cfg.InFlight, cfg.Batch.Size = 2, 20
	m := r.measure(&cfg)
	w := r.start(cfg, hubspot.StaticToken(token))
	const each = 100
	r.publish(named("contracts", "before", each)...)
	r.until(fmt.Sprintf(`SELECT count(*) > %d FROM outbox`, each/5), "true")
	published := r.publishMeanwhile(named("contracts", "meanwhile", each))
	for k := range 3 {
		c.StopServer(k)
	}
	for k := range 3 {
		r.must(c.StartServer(k))
	}
	r.must(<-published)
	// What was on its way to the worker comes again, and not soon: the servers take their time with it.
	r.untilWithin(againAfterNaks, `SELECT status, count(*) FROM outbox GROUP BY status`, fmt.Sprintf("created %d",
		2*each))
	r.eventually("all are acked", func() bool { i := r.consumer(); return i.NumPending == 0 && i.NumAckPending == 0 })
	if n := m.series()["backlog_stranded_events"]; n != 0 {
		t.Errorf("%v events are stranded", n)
	}
	w.stop()
	r.drain(config())
	r.exactlyOnce("contracts", 2*each)
}
