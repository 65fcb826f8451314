package pipeline_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"crmintake/deploy/local"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

// The servers that lead the stream and the consumer go away under load, one after the other, and come back. Events are
// published all the while.
func TestLeadersOfTheClusterStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{MinLatency: 10 * time.Millisecond})
	c := r.onCluster()
	cfg := config()
	cfg.InFlight, cfg.Batch.Size = 2, 20
	var workers []*running
	for k := range 3 {
		cfg.Name = fmt.Sprint("worker-", k)
		workers = append(workers, r.start(cfg, hubspot.StaticToken(token)))
	}
	leads := map[string]func() (int, bool){
		"stream":   func() (int, bool) { return c.StreamLeader(streamName) },
		"consumer": func() (int, bool) { return c.ConsumerLeader(streamName, consumerName) },
	}
	const each = 1200
	total := 0
	for _, what := range []string{"stream", "consumer", "stream"} {
		published := r.publishMeanwhile(named("contracts", fmt.Sprint(total), each))
		r.until(fmt.Sprintf(`SELECT count(*) > %d FROM outbox`, total+each/20), "true")
		var leader int
		r.eventually("the "+what+" has a leader", func() (ok bool) { leader, ok = leads[what](); return ok })
		c.StopServer(leader)
		r.eventually("the "+what+" has another leader", func() bool { now, ok := leads[what](); return ok && now != leader })
		r.must(c.StartServer(leader))
		r.must(<-published)
		total += each
		r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, fmt.Sprintf("created %d", total))
		r.eventually("all servers have all of the stream", func() bool { return c.Current(streamName) })
	}
	r.eventually("all are acked", func() bool { i := r.consumer(); return i.NumPending == 0 && i.NumAckPending == 0 })
	for _, w := range workers {
		if w.Stats().Received.Load() == 0 {
			t.Error("a worker got nothing")
		}
		w.stop()
	}
	r.exactlyOnce("contracts", total)
	r.expect(`SELECT count(*) FROM outbox WHERE attempts <> 1 OR possible_duplicate`, "0")
}

// publishMeanwhile publishes events beside what follows. The stream answers before: what follows may stop its servers.
func (r *streamRig) publishMeanwhile(list []message) (published <-chan error) {
	r.t.Helper()
	p, err := jetstream.OpenPublisher(r.t.Context(), r.nc, jetstream.PublisherConfig{})
	r.must(err)
	done := make(chan error, 1)
	go func() {
		defer p.Close()
		for _, e := range list {
			m := jetstream.Message{Subject: "crm.create." + e.objectType, ID: e.id, Data: []byte(e.body)}
			if err := p.Publish(r.t.Context(), m); err != nil {
				done <- err
				return
			}
		}
		done <- p.Flush(r.t.Context())
	}()
	return done
}

// onCluster gives the rig three servers instead of one, with a stream and a consumer on all of them.
func (r *rig) onCluster() *local.NATSCluster {
	r.t.Helper()
	c, err := local.StartNATSCluster(local.NATSClusterConfig{})
	r.must(err)
	r.t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			r.t.Error(err)
		}
	})
	r.natsURL = c.URL()
	r.nc, err = jetstream.Connect(c.URL(), "test", slog.New(slog.NewTextHandler(r.log, nil)))
	r.must(err)
	r.t.Cleanup(r.nc.Close)
	// The ack wait is short, for acks that are lost with a server.
	_, err = jetstream.Init(r.t.Context(), r.nc, jetstream.InitConfig{Replicas: 3, AckWait: 2 * time.Second})
	r.must(err)
	return c
}
