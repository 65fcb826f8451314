package pipeline_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// A paused object type stays in the stream, however much of it there is: nobody fetches it, and others go on. So do
// others once it is no longer paused, though all of it is before them.
func TestPausedBacklogIsLeftAlone(t *testing.T) {
	t.Parallel()
	const backlog = 100_000
	for name, faults := range map[string][]hubspottest.Fault{
		"by a person": nil,
		"by a 403":    {hubspottest.Answer403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hubspottest.Config{})
			ann := r.ann()
			cfg := config()
			cfg.InFlight, cfg.TrialInterval = 2, time.Hour
			if faults == nil {
				r.publish(named("contracts", "c", backlog)...)
				_, err := ann.Pauses.Pause(t.Context(), "contracts", "wait")
				r.must(err)
			}
			var workers []*running
			for _, cfg.Name = range []string{"one", "other"} {
				workers = append(workers, r.start(cfg, hubspot.StaticToken(token)))
			}
			r.until(`SELECT count(*) FROM worker`, "2")
			if faults != nil { // only now: a worker that starts has a trial made
				r.crm.Script(faults...)
				r.publish(named("contracts", "c", backlog)...)
			}
			r.until(`SELECT object_type FROM pause`, "contracts")
			r.rounds() // fetches of before the pause have ended
			r.until(`SELECT count(*) FROM outbox WHERE status = 'sending'`, "0")
			received, before := workers[0].Stats().Received.Load()+workers[1].Stats().Received.Load(), r.consumer()

			r.publish(named("deals", "d", 100)...)
			r.until(`SELECT count(*) FROM outbox WHERE object_type = 'deals' AND status = 'created'`, "100")
			r.rounds()
			after := r.consumer()
			if n := workers[0].Stats().Received.Load() + workers[1].Stats().Received.Load() - received; n != 100 {
				t.Errorf("%d events were fetched to create 100", n)
			}
			if after.Delivered.Consumer != before.Delivered.Consumer || after.NumRedelivered != before.NumRedelivered {
				t.Errorf("paused events were delivered: %d, %d again; before %d, %d", after.Delivered.Consumer, after.NumRedelivered,
					before.Delivered.Consumer, before.NumRedelivered)
			}
			if _, err := r.js().Consumer(t.Context(), streamName, consumerName+"-contracts"); err == nil {
				t.Error("contracts have a consumer, though nobody may fetch them")
			}

			_, err := ann.Pauses.Resume(t.Context(), "contracts")
			r.must(err)
			r.until(`SELECT count(*) >= 200 FROM outbox WHERE object_type = 'contracts' AND status = 'created'`, "true")
			r.publish(named("deals", "e", 100)...)
			r.until(`SELECT count(*) FROM outbox WHERE object_type = 'deals' AND status = 'created'`, "200")
			r.expect(fmt.Sprintf(`SELECT count(*) < %d FROM outbox WHERE object_type = 'contracts'`, backlog), "true")
			r.expect(`SELECT count(*) FROM outbox WHERE attempts > 1 AND object_type = 'deals'`, "0")
			for _, w := range workers {
				w.stop()
			}
			if log := r.log.String(); strings.Contains(log, "slow down the others") {
				t.Errorf("the log:\n%s", log)
			}
		})
	}
}

// What was in hand when its object type was paused is sent at once when that ends, and when all is done there is one
// consumer again.
func TestPauseEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.remakeConsumer(2 * time.Minute)
	ann := r.ann()
	cfg := config()
	cfg.Batch.Wait = time.Minute
	w := r.start(cfg, hubspot.StaticToken(token))
	for round := range 2 { // at first the events are the shared consumer's, then their own's
		prefix := fmt.Sprint("c", round)
		received, back := w.Stats().Received.Load(), w.Stats().GivenBack.Load()
		r.publish(named("contracts", prefix, 60)...)
		r.eventually("the events are in hand", func() bool { return w.Stats().Received.Load() == received+60 })
		_, err := ann.Pauses.Pause(t.Context(), "contracts", "wait")
		r.must(err)
		r.eventually("they are given back", func() bool { return w.Stats().GivenBack.Load() == back+60 })
		r.rounds()
		if round == 0 {
			r.publish(named("deals", "d", 1)...) // keeps the stream from becoming empty
			r.eventually("others are fetched", func() bool { return w.Stats().Received.Load() == received+61 })
		}
		_, err = ann.Pauses.Resume(t.Context(), "contracts")
		r.must(err)
		r.publish(named("contracts", prefix+"-more", 40)...)
		r.untilWithin(20*time.Second, // less than what is put off is put off for
			`SELECT count(*) FROM outbox WHERE object_type = 'contracts' AND status = 'created'`, fmt.Sprint(100*(round+1)))
	}
	w.stop()
	r.drain(config())
	r.exactlyOnce("contracts", 200)
	last := r.start(config(), hubspot.StaticToken(token))
	r.eventually("there is one consumer again", func() bool { return r.consumer().Config.FilterSubject == "crm.create.>" })
	r.publish(named("contracts", "last", 100)...)
	r.until(`SELECT count(*) FROM outbox WHERE object_type = 'contracts' AND status = 'created'`, "300")
	last.stop()
}

// What a worker of before has in hand by the consumer that all shared, and lets lie, is not waited for, nor what it
// puts off: the first worker that fetches object types apart has all of it, once.
func TestEventsOfTheSharedConsumer(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.remakeConsumer(time.Hour)
	var list []message
	contracts, deals := named("contracts", "c", 200), named("deals", "d", 200)
	for k := range contracts {
		list = append(list, contracts[k], deals[k])
	}
	r.publish(list...)
	shared, err := r.js().Consumer(t.Context(), streamName, consumerName)
	r.must(err)
	held, err := shared.Fetch(200)
	r.must(err)
	n := 0
	for m := range held.Messages() {
		if n++; n <= 100 {
			r.must(m.NakWithDelay(time.Hour))
		}
	}
	r.eventually("half of them are in hand", func() bool { return r.consumer().NumAckPending == 200 })
	ann := r.ann()
	_, err = ann.Pauses.Pause(t.Context(), "contracts", "wait")
	r.must(err)
	w := r.start(config(), hubspot.StaticToken(token))
	r.until(`SELECT object_type, status, count(*) FROM outbox GROUP BY 1, 2`, "deals created 200")
	_, err = ann.Pauses.Resume(t.Context(), "contracts")
	r.must(err)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 400")
	w.stop()
	r.drain(config())
	r.exactlyOnce("contracts", 200)
	r.exactlyOnce("deals", 200)
	r.expect(`SELECT DISTINCT attempts FROM outbox`, "1")
}

// Three servers, of which one goes away while object types are fetched apart.
func TestPauseOnACluster(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	c := r.onCluster()
	ann := r.ann()
	_, err := ann.Pauses.Pause(t.Context(), "contracts", "wait")
	r.must(err)
	r.publish(named("contracts", "c", 500)...)
	var workers []*running
	cfg := config()
	for _, cfg.Name = range []string{"one", "other"} {
		workers = append(workers, r.start(cfg, hubspot.StaticToken(token)))
	}
	r.publish(named("deals", "d", 500)...)
	r.until(`SELECT object_type, status, count(*) FROM outbox GROUP BY 1, 2`, "deals created 500")
	var leader int
	r.eventually("the consumer has a leader", func() (ok bool) {
		leader, ok = c.ConsumerLeader(streamName, consumerName+"-deals")
		return ok
	})
	c.StopServer(leader)
	r.eventually("it has another", func() bool {
		now, ok := c.ConsumerLeader(streamName, consumerName+"-deals")
		return ok && now != leader
	})
	r.eventually("the stream answers", func() bool { _, err := r.js().Stream(t.Context(), streamName); return err == nil })
	r.publish(named("deals", "e", 500)...)
	r.until(`SELECT object_type, status, count(*) FROM outbox GROUP BY 1, 2`, "deals created 1000")
	r.must(c.StartServer(leader))
	_, err = ann.Pauses.Resume(t.Context(), "contracts")
	r.must(err)
	r.until(`SELECT object_type, status, count(*) FROM outbox GROUP BY 1, 2 ORDER BY 1`, "contracts created 500\ndeals created 1000")
	r.eventually("there is one consumer again", func() bool {
		i := r.consumer()
		return i.Config.FilterSubject == "crm.create.>" && i.NumPending == 0 && i.NumAckPending == 0
	})
	r.publish(named("contracts", "f", 100)...)
	r.until(`SELECT count(*) FROM outbox WHERE object_type = 'contracts' AND status = 'created'`, "600")
	for _, w := range workers {
		w.stop()
	}
	r.exactlyOnce("contracts", 600)
	r.exactlyOnce("deals", 1000)
}
