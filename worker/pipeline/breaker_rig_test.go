package pipeline_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

func breakerConfig() pipeline.Config {
	cfg := config()
	cfg.Batch.Size, cfg.InFlight = 10, 1
	cfg.Breaker.Window = 100
	return cfg
}

// When most inputs are rejected, the object type is paused for the fleet; each trial costs one batch, and when it passes all goes on.
// Other object types know nothing of it, and what was rejected stays dead.
func TestBreaker(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.RejectAll: 1}})
	r.publish(named("contracts", "c", 400)...)
	var fleet []*running
	for _, name := range []string{"one", "two"} {
		cfg := breakerConfig()
		cfg.Name = name
		fleet = append(fleet, r.start(cfg, hubspot.StaticToken(token)))
	}
	const dead = `SELECT count(*) FROM outbox WHERE status = 'dead'`
	r.until(`SELECT object_type, cause, reason LIKE '% of the last 100 inputs were rejected: VALIDATION_ERROR%' FROM pause`, "contracts breaker true")
	r.until(`SELECT count(*) FROM attempt WHERE closed_at IS NULL`, "0")
	var first int
	_, err := fmt.Sscan(r.rows(dead)[0], &first)
	r.must(err)
	if first < 51 || first > 100 {
		t.Errorf("%d events were dead when the object type was paused", first)
	}
	// The second trial is later than the first: two seconds, and four.
	r.until(`SELECT trials FROM pause`, "2")
	r.expect(fmt.Sprintf(`SELECT count(*) <= %d FROM outbox WHERE status = 'dead'`, first+20), "true")
	r.expect(`SELECT reason LIKE '10 of the 10 inputs of a trial were rejected%' AND trial_at - now() > interval '2 s' FROM pause`, "true")
	r.must(r.crm.SetRates(nil))
	r.publish(named("deals", "d", 20)...)
	r.until(`SELECT status, count(*) FROM outbox WHERE object_type = 'deals' GROUP BY status`, "created 20")
	r.untilWithin(againAfterNaks, `SELECT count(*) FROM outbox WHERE object_type = 'contracts'`, "400")
	r.until(`SELECT count(*) FROM attempt WHERE closed_at IS NULL`, "0")
	for _, w := range fleet {
		w.stop()
	}
	r.expect(`SELECT count(*) FROM pause`, "0")
	r.expect(`SELECT DISTINCT status, reason, attempts FROM outbox WHERE object_type = 'contracts' ORDER BY status`, "created <nil> 1", "dead rejected 1")
	r.loggedOnce("calls are paused; events wait")
}

// A trial that is refused as a whole is split, and is one trial all the same.
func TestBreakerOfRefusedBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.WholeBatch: 1}})
	list := named("contracts", "c", 40)
	for k := range list[:30] {
		list[k].body = `{"properties":{"nmae":"misspelled"}}`
	}
	r.publish(list...)
	cfg := breakerConfig()
	cfg.Batch.Size = 4
	cfg.Breaker.Window = 20
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT object_type, cause, reason LIKE '%: VALIDATION_ERROR PROPERTY_DOESNT_EXIST nmae' FROM pause`, "contracts breaker true")
	r.until(`SELECT trials >= 1 FROM pause`, "true")
	r.expect(`SELECT count(*) <= 24 FROM outbox WHERE status = 'dead'`, "true")
	_, err := r.ann().Pauses.Resume(t.Context(), "contracts")
	r.must(err)
	r.until(`SELECT count(*) FROM outbox WHERE status IN ('created', 'dead')`, "40")
	w.stop()
	r.expect(`SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status`, "created 10", "dead 30")
}

func TestBreakerOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.RejectAll: 1}})
	r.publish(named("contracts", "c", 200)...)
	cfg := breakerConfig()
	cfg.Breaker.Off, cfg.TrialInterval = true, time.Hour
	r.drain(cfg)
	r.expect(`SELECT status, count(*) FROM outbox GROUP BY status`, "dead 200")
	r.expect(`SELECT count(*) FROM breaker`, "0")
}

// Answers that tell of no input are nothing to weigh, and what the database refuses is no outage of it.
func TestBreakerWithoutAnythingToWeigh(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	cfg := breakerConfig()
	cfg.IDProperty = nil
	w := r.start(cfg, hubspot.StaticToken(token))
	bad := message{"contracts", "bad", `{"properties":{"nmae":"misspelled"}}`}
	r.publish(bad)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "dead 1")
	r.crm.Script(hubspottest.HTMLBody)
	r.publish(named("contracts", "c", 5)...)
	r.until(`SELECT count(*) > 0 FROM attempt WHERE unknown > 0`, "true")
	r.rounds()
	if h := w.Health(); h.DatabaseFails > 0 || strings.Contains(r.log.String(), "the database") {
		t.Errorf("the database is said to fail, for %v:\n%s", h.DatabaseFails, r.log)
	}

	r.admin().exec(`ALTER TABLE breaker ADD CONSTRAINT nothing CHECK (reason = 'nothing') NOT VALID`)
	bad.id = "bad too"
	r.publish(append(named("contracts", "d", 5), bad)...)
	r.until(`SELECT count(*) FROM outbox WHERE reason = 'rejected'`, "2")
	r.publish(named("contracts", "e", 5)...)
	r.until(`SELECT count(*) >= 10 FROM outbox WHERE status = 'created'`, "true")
	r.logged("sqlstate=23514")
	r.rounds()
	r.loggedOnce("the database refuses what it was to write")
	if h := w.Health(); h.DatabaseFails > 0 || strings.Contains(r.log.String(), "the database fails") {
		t.Errorf("the database is said to fail, for %v:\n%s", h.DatabaseFails, r.log)
	}
	w.stop()
}

// The default breaker trips before much of a full stream is dead: the rest stays in the stream, and another object type
// goes on at full speed.
func TestBreakerIsInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{MinLatency: 20 * time.Millisecond, KeepCalls: 100_000})
	cfg := config()
	cfg.InFlight, cfg.TrialInterval = pipeline.DefaultInFlight, time.Hour
	list := named("contracts", "c", 2000)
	for k := range list {
		list[k].body = `{"properties":{"nmae":"misspelled"}}`
	}
	r.publish(list...)
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT cause, reason LIKE '2__ of the last 500 inputs were rejected: %' FROM pause`, "breaker true")
	r.until(`SELECT count(*) FROM attempt WHERE closed_at IS NULL`, "0")
	r.publish(named("deals", "d", 1000)...)
	r.until(`SELECT count(*) FROM outbox WHERE object_type = 'deals' AND status = 'created'`, "1000")
	w.stop()
	var dead int
	_, err := fmt.Sscan(r.rows(`SELECT count(*) FROM outbox WHERE status = 'dead'`)[0], &dead)
	r.must(err)
	if dead < 251 || dead >= 300 {
		t.Errorf("%d events are dead, want 251 at least and fewer than 300", dead)
	}
	if i := r.consumer(); int(i.NumPending)+i.NumAckPending != 2000-dead {
		t.Errorf("%d dead, %d pending and %d given back, want 2000 in all", dead, i.NumPending, i.NumAckPending)
	}
	few := 0
	for _, call := range r.crm.Calls() {
		if call.Inputs == 10 && call.Created == 0 {
			few++
		}
	}
	if few < 10 {
		t.Errorf("%d calls carried 10 rejected events, want 10 at least", few)
	}
}

// The first good call opens all slots to its object type again.
func TestFullSpeedAfterRejections(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	const slots, closed = 4, 4 // three rejected, and one good
	var calls, under atomic.Int64
	all := make(chan struct{}) // closed once all slots are in use
	crm, met := r.crm.CRM, sync.OnceFunc(func() { close(all) })
	r.answer(func(w http.ResponseWriter, req *http.Request) {
		n := under.Add(1)
		if calls.Add(1) <= closed {
			if n > 1 {
				t.Errorf("%d calls are under way before anything was created", n)
			}
		} else {
			if n == slots {
				met()
			}
			<-all
		}
		under.Add(-1) // before the answer: who has it may call again
		crm.ServeHTTP(w, req)
	})
	r.crm.Script(hubspottest.RejectAll, hubspottest.RejectAll, hubspottest.RejectAll)
	cfg := config()
	cfg.InFlight, cfg.CallTimeout, cfg.Lease = slots, time.Minute, 2*time.Minute
	cfg.Batch.Wait = 3 * time.Second // batches are full, however slow the machine
	cfg.Breaker.Window = 100_000
	r.publish(named("contracts", "c", 1000)...)
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status`, "created 700\ndead 300")
	w.stop()
}
