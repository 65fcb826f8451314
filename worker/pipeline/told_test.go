package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

// What is in a worker's way it tells all who look, and itself: a CRM that is down, settings that differ, a lock; and
// that it is over.
func TestWorkersTellWhatIsInTheirWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	store, err := outbox.Open(t.Context(), r.database, 2)
	r.must(err)
	t.Cleanup(store.Close)
	looks := operator.New(store, operator.Config{})
	cfg := config()
	cfg.Name, cfg.Quota = "one", pipeline.Quota{Calls: 500, Window: time.Second}
	r.measure(&cfg) // which has it look at the fleet
	one := r.start(cfg, hubspot.StaticToken(token))

	seen := func() operator.Verdict {
		s, err := looks.Status(t.Context())
		r.must(err)
		return operator.Judge(operator.Sight{At: s.At, Status: &s, Stream: &operator.Stream{}})
	}
	says := func(what string) {
		t.Helper()
		for who, verdict := range map[string]func() operator.Verdict{"the database": seen, "the worker": one.Fleet().Verdict} {
			r.eventually(who+" tells: "+what, func() bool { return strings.HasPrefix(verdict().Text, what) })
		}
	}
	says("idle: nothing waits")
	r.must(r.crm.SetRates(map[hubspottest.Fault]float64{hubspottest.Answer502: 1}))
	r.must(r.crm.SetReadRates(map[hubspottest.Fault]float64{hubspottest.Answer502: 1}))
	r.publish(named("contracts", "c", 20)...)
	says("in trouble: the CRM answers with faults of its own")
	if f := seen().Findings[0]; !strings.Contains(f.Why, "502") || !f.Stops || f.Person || f.Since.IsZero() {
		t.Errorf("%+v", f)
	}
	r.must(r.crm.SetRates(nil))
	r.must(r.crm.SetReadRates(nil))
	r.until(`SELECT count(*) FROM outbox WHERE status = 'created'`, "20")
	says("idle: nothing waits")

	cfg = config()
	cfg.Name, cfg.Quota = "two", pipeline.Quota{Calls: 400, Window: time.Second}
	two := r.start(cfg, hubspot.StaticToken(token))
	says("in trouble: workers differ in --quota: 400/1s (two), 500/1s (one)")
	two.stop()
	says("idle: nothing waits")

	unlock := r.lock()
	r.publish(named("contracts", "d", 1)...)
	says("in trouble: session ")
	unlock()
	r.until(`SELECT count(*) FROM outbox WHERE status = 'created'`, "21")
	says("idle: nothing waits")
}
