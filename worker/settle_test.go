package worker_test

import (
	"testing"
	"time"

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
