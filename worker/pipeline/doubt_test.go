package pipeline_test

import (
	"testing"
	"time"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

// The CRM is asked about an event in doubt a settle time after its call was over, and again a settle time after that,
// by the database's clock, and only then is it sent again.
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

// What is asked about alone is so one after the other, and not one at each round of the worker, none of which ends
// here.
func TestQuestionsFollowEachOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(hubspottest.BreakAfter)
	r.publish(named("contracts", "c", 40)...)
	cfg := config()
	cfg.Batch.Wait = time.Second // for one call
	cfg.Settle = time.Hour
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT count(*) FROM outbox WHERE in_doubt`, "40")
	w.stop()
	lock := r.admin()
	lock.exec(`UPDATE event SET untold = 1, next_attempt_at = now()`)
	locked := make(chan struct{})
	r.beforeCalls(func() { <-locked })
	w = r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT count(*) > 0 FROM attempt WHERE kind = 'read'`, "true")
	lock.exec(`BEGIN; LOCK TABLE worker IN ACCESS EXCLUSIVE MODE`) // so no round comes past its heartbeat
	close(locked)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 40")
	lock.exec(`COMMIT`)
	w.stop()
	r.expect(`SELECT count(*), max(inputs) FROM attempt WHERE kind = 'read'`, "40 1")
	r.exactlyOnce("contracts", 40)
}

// Reads that are refused are made less and less often, one for all rows, so that they leave the quota to creates.
func TestRefusedReadsGrowRare(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{ReadRates: map[hubspottest.Fault]float64{hubspottest.Answer403: 1}})
	r.crm.Script(hubspottest.BreakAfter)
	r.publish(named("contracts", "c", 60)...)
	cfg := config()
	cfg.Batch.Wait = time.Second // for one call
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT least(count(*), 4) FROM attempt WHERE kind = 'read'`, "4")
	r.publish(named("contracts", "d", 60)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status`, "created 60\nunknown 60")
	w.stop()
	// By the database's clock, which the worker does not see: nearly the trial interval of a second, twice, and four
	// times that.
	r.expect(`SELECT extract(epoch FROM started_at - before) > 0.9 * power(2, n - 2) FROM (
		SELECT started_at, lag(closed_at) OVER w AS before, row_number() OVER w AS n FROM attempt WHERE kind = 'read' WINDOW w AS (ORDER BY started_at)) a
		WHERE n BETWEEN 2 AND 4 ORDER BY n`, "true", "true", "true")
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
	cfg.OnUnknown = pipeline.Resend
	cfg.OnUnknownOf = map[string]pipeline.OnUnknown{"notes": pipeline.Park, "tasks": pipeline.Resend}
	r.drain(cfg)
	r.expect(`SELECT DISTINCT object_type, status, reason, possible_duplicate, attempts FROM outbox ORDER BY object_type`,
		"deals created <nil> true 2", "notes dead unknown_outcome false 1", "tasks created <nil> true 2")
	for k, want := range []int{6, 3, 6} {
		if n := r.crm.Len(types[k]); n != want {
			t.Errorf("%d records of %s, want %d", n, types[k], want)
		}
	}
}
