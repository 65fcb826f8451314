package pipeline_test

import (
	"fmt"
	"testing"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// While the CRM is down one event at a time finds it out, be it one to create or one in doubt to ask about: what is
// in doubt, and without an id property is dead, is what was under way when it began, and one for each trial. Then all
// goes on in full batches.
func TestOutageCostsAnEventATrial(t *testing.T) {
	t.Parallel()
	const slots, size, good, events = 4, 20, 20, 600
	for objectType, fault := range map[string]hubspottest.Fault{
		"deals": hubspottest.Answer502, "contracts": hubspottest.BreakBefore,
	} {
		t.Run(objectType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hubspottest.Config{KeepCalls: 1000})
			cfg := config()
			cfg.InFlight, cfg.Batch.Size, cfg.Breaker.Off = slots, size, true
			w := r.start(cfg, hubspot.StaticToken(token))
			r.publish(named(objectType, "a", good)...)
			r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 20")
			before := len(r.crm.Calls())
			down := map[hubspottest.Fault]float64{fault: 1}
			r.must(r.crm.SetReadRates(down))
			r.must(r.crm.SetRates(down))
			r.publish(named(objectType, "b", events)...)
			single := func() (n int) {
				for _, call := range r.crm.Calls()[before:] {
					if call.Fault == fault && call.Inputs == 1 {
						n++
					}
				}
				return n
			}
			r.eventually("three trials have failed", func() bool { return single() >= 3 })
			r.must(r.crm.SetReadRates(nil))
			r.must(r.crm.SetRates(nil))
			r.untilWithin(againAfterNaks, `SELECT count(*) FROM outbox WHERE status IN ('created', 'dead')`, "620")
			w.stop()

			lost, full, largest := 0, 0, 0
			for _, call := range r.crm.Calls()[before:] {
				switch {
				case call.Fault == fault:
					lost += call.Inputs
					if call.Inputs > 1 {
						full++
					}
				default:
					largest = max(largest, call.Inputs)
				}
			}
			// Two failures are taken for bad luck, and give their slots to others.
			if full > slots+2 {
				t.Errorf("%d calls of more than one event met the outage, want %d at most", full, slots+2)
			}
			if largest != size {
				t.Errorf("the largest call after it had %d events, want %d", largest, size)
			}
			if objectType == "contracts" {
				r.exactlyOnce(objectType, good+events)
				return
			}
			var dead int
			_, err := fmt.Sscan(r.rows(`SELECT count(*) FROM outbox WHERE reason = 'unknown_outcome'`)[0], &dead)
			r.must(err)
			if dead != lost || r.crm.Len(objectType) != good+events-dead {
				t.Errorf("%d events are dead and %d records exist, of %d events that met the outage", dead, r.crm.Len(objectType), lost)
			}
		})
	}
}
