package pipeline_test

import (
	"testing"
	"time"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// Whoever rewrites tables and indexes while a worker works holds it up for that time, and nothing else.
func TestVacuumFullAndReindexBeside(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{MinLatency: 50 * time.Millisecond})
	const events = 3000
	cfg := config()
	cfg.Batch.Size = 20
	w := r.start(cfg, hubspot.StaticToken(token))
	r.publish(named("contracts", "c", events)...)
	r.until(`SELECT count(*) > 100 FROM outbox WHERE status = 'created'`, "true")
	a := r.admin()
	rounds := 0
	for r.rows(`SELECT count(*) < 3000 FROM outbox WHERE status = 'created'`)[0] == "true" {
		rounds++
		for _, table := range []string{"event", "attempt", "outbox_error", "quota", "worker"} {
			a.exec(`VACUUM FULL ` + table)
			a.exec(`REINDEX TABLE CONCURRENTLY ` + table)
		}
	}
	w.stop()
	if rounds == 0 {
		t.Error("all was done before any table was rewritten")
	}
	r.exactlyOnce("contracts", events)
	r.expect(`SELECT count(*) FROM pg_index WHERE NOT indisvalid`, "0")
}
