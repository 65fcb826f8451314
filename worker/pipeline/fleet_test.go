package pipeline_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

// A call of any kind takes its part of the quota: creates, those that are sent again, the parts of a refused batch, and
// reads.
func TestEveryCallTakesAToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{
		hubspottest.WholeBatch: 0.7, hubspottest.BreakAfter: 0.1, hubspottest.Answer503: 0.1,
	}})
	list := named("contracts", "c", 500)
	for k := 7; k < len(list); k += 100 {
		list[k].body = `{"properties":{"nmae":"misspelled"}}`
	}
	r.publish(list...)
	cfg := config()
	cfg.Batch.Size = 20
	cfg.Quota = pipeline.Quota{Calls: 1000, Window: time.Second}
	r.drain(cfg)
	st := r.crm.Stats()
	if st.Reads == 0 || st.Creates <= 25 || st.Statuses[400]+st.Statuses[409] < 2 {
		t.Errorf("stats %+v", st)
	}
	var taken int
	if _, err := fmt.Sscan(r.rows(`SELECT day_used FROM quota`)[0], &taken); err != nil || taken < st.Calls {
		t.Errorf("%d calls with %d tokens, %v", st.Calls, taken, err)
	}
	if strings.Contains(r.log.String(), "without its part of the quota") {
		t.Errorf("a call had no token:\n%s", r.log)
	}
}

// A quota that is set too high is corrected by what the answers tell; nothing is lost by the refusals meanwhile.
func TestQuotaIsLearned(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Limit: hubspottest.Limit{Calls: 10, Window: time.Second}})
	r.publish(named("contracts", "c", 400)...)
	cfg := config()
	cfg.Batch.Size = 10
	cfg.Quota = pipeline.Quota{Calls: 100, Window: time.Second}
	for range 2 {
		r.start(cfg, hubspot.StaticToken(token))
	}
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 400")
	r.exactlyOnce("contracts", 400)
	r.expect(`SELECT limit_calls, header_max, effective <= 10 FROM quota`, "100 10 true")
}

// The day's calls are a budget: then everything pauses, and nobody pays for it.
func TestQuotaOfTheDay(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	cfg := config()
	now := time.Now().UTC()
	noon := time.FixedZone("noon", 12*3600-(now.Hour()*60+now.Minute())*60) // no midnight is near there
	cfg.Quota = pipeline.Quota{Calls: 100, Window: time.Second, Daily: 5, Reserve: 0.2, Location: noon}
	cfg.Batch.Size = 10
	r.publish(named("contracts", "c", 100)...)
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT object_type, trial_at > now() + interval '11 hours' FROM pause`, "* true")
	w.stop()
	if got := r.rows(`SELECT reason FROM pause`); !strings.Contains(got[0], "the day's calls are used up") {
		t.Errorf("reason %q", got)
	}
	if n := r.crm.Stats().Calls; n != 4 {
		t.Errorf("%d calls", n)
	}
	r.expect(`SELECT count(*) FROM outbox WHERE attempts <> 1 AND status = 'created'`, "0")

	// A trial comes too early: the day has not turned.
	r.rows(`UPDATE pause SET trial_at = now()`)
	w = r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT trial_at > now() + interval '11 hours' FROM pause`, "true")
	w.stop()
	if n := r.crm.Stats().Calls; n != 4 {
		t.Errorf("%d calls", n)
	}
	r.rows(`UPDATE quota SET day = day - 1`)
	r.rows(`UPDATE pause SET trial_at = now()`)
	cfg.Quota.Daily = 0
	r.drain(cfg)
	r.exactlyOnce("contracts", 100)
}

// While there is a backlog of several object types and the quota limits, calls are full and every type has its turn,
// also what is to be sent again.
func TestFullBatchesOfSeveralTypes(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	var list []message
	for k := range 600 {
		objectType := "contracts"
		if k%4 == 3 {
			objectType = "deals"
		}
		list = append(list, message{objectType, fmt.Sprint("e-", k), fmt.Sprintf(`{"properties":{"name":"n%d"}}`, k)})
	}
	r.publish(list...)
	cfg := config()
	cfg.Batch.Size, cfg.Batch.Wait, cfg.InFlight = 10, time.Millisecond, 4
	cfg.Quota = pipeline.Quota{Calls: 20, Window: time.Second}
	r.drain(cfg)
	r.exactlyOnce("contracts", 450)
	r.exactlyOnce("deals", 150)
	st := r.crm.Stats()
	if st.Creates > 66 { // 60 full ones, and what the first moment and the end have left
		t.Errorf("%d calls for 600 records of 10 a call", st.Creates)
	}
}

// What Autoscale says is what the stream, the outbox and the quota hold.
func TestAutoscaleOfAWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.Answer403: 1}})
	cfg := config()
	cfg.Quota = pipeline.Quota{Calls: 50, Window: time.Hour}
	cfg.TrialInterval = time.Hour
	r.crm.Script(hubspottest.None) // one that tells how long calls take
	r.publish(named("deals", "d", 1)...)
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT status FROM outbox`, "created")
	r.publish(named("contracts", "c", 300)...)
	r.until(`SELECT count(*) FROM pause`, "1")
	r.until(`SELECT count(*) FROM attempt WHERE closed_at IS NULL`, "0")        // what is in a call is no backlog
	r.until(`SELECT batch_size, events_per_second > 0 FROM worker`, "100 true") // as its next heartbeat tells
	s, err := w.Fleet().Autoscale(t.Context())
	r.must(err)
	if s.Backlog < 300 || s.Headroom < 1 || s.Headroom > 49 || s.QuotaRate != 5000./3600 || s.QuotaLimits ||
		s.Empty >= 0 || s.WorkersWanted != 1 {
		t.Errorf("signals %+v", s)
	}
}
