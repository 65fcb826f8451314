package worker_test

import (
	"testing"
	"time"

	"crmintake/worker"
	"crmintake/worker/hubspot/hubspottest"
)

// The CRM is asked about an event in doubt a settle time after its call was over, and again a settle time after that, by the
// database's clock, and only then is it sent again.
func TestSettleTimeBeforeEachQuestion(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(hubspottest.Answer500) // and nothing was done
	r.publish(named("contracts", "c", 5)...)
	cfg := config()
	cfg.Settle = 1500 * time.Millisecond // longer than a round of the worker
	r.drain(cfg)
	r.exactlyOnce("contracts", 5)
	r.expect(`SELECT kind, waited FROM (
		SELECT kind, started_at >= lag(closed_at) OVER (ORDER BY started_at) + interval '1.5 seconds' AS waited FROM attempt) a
		WHERE kind = 'read'`, "read true", "read true")
}

// One worker parks what is in doubt of one object type, and sends that of others again.
func TestOnUnknownByObjectType(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{ObjectTypes: map[string]hubspottest.ObjectType{"deals": {}, "notes": {}, "tasks": {}}})
	r.crm.Script(hubspottest.BreakAfter, hubspottest.BreakAfter, hubspottest.BreakAfter) // the first call of each
	types := []string{"deals", "notes", "tasks"}
	for _, objectType := range types {
		r.publish(named(objectType, objectType, 3)...)
	}
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second // for each to be one call
	cfg.OnUnknown = worker.Resend
	cfg.OnUnknownOf = map[string]worker.OnUnknown{"notes": worker.Park, "tasks": worker.Resend}
	r.drain(cfg)
	r.expect(`SELECT DISTINCT object_type, status, reason, possible_duplicate, attempts FROM outbox ORDER BY object_type`,
		"deals created <nil> true 2", "notes dead unknown_outcome false 1", "tasks created <nil> true 2")
	for k, want := range []int{6, 3, 6} {
		if n := r.crm.Len(types[k]); n != want {
			t.Errorf("%d records of %s, want %d", n, types[k], want)
		}
	}
}
