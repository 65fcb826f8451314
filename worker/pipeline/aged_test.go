package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

// replayAll has a person send all dead events again.
func (r *rig) replayAll(ann *operator.Operator) {
	r.t.Helper()
	records := operator.Records{Property: map[string]string{"contracts": idProperty}, Value: pipeline.IDValue}
	plan, err := ann.Replays.Plan(r.t.Context(), operator.Filter{All: true}, records, false)
	r.must(err)
	_, err = ann.Replays.Now(r.t.Context(), operator.Replay{Plan: plan})
	r.must(err)
}

// What a refused call left in `retry` does not wait for the pause's end for ever: it is dead once it is too old, and
// metrics and log say so. Replayed after the pause it is created.
func TestRetryGetsOldInAPause(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(hubspottest.Answer403) // the only call
	r.publish(named("contracts", "c", 100)...)
	cfg := config()
	m := r.measure(&cfg)
	cfg.TrialInterval = time.Hour
	cfg.InFlight = 1
	cfg.Retry.Age = 2 * time.Second
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT object_type, cause FROM pause`, "contracts answer")
	r.until(`SELECT status, reason, count(*) FROM outbox GROUP BY 1, 2`, "dead exhausted 100")
	r.until(`SELECT count(*) FILTER (WHERE error LIKE 'became too old while calls were paused; before that: %403%'),
		sum(attempts) FROM outbox`, "100 0")
	r.logged("events became too old while calls were paused")
	w.stop()
	m.expect(map[string]float64{
		"events_total outcome=dead reason=exhausted": 100, "events_total outcome=retry reason=": 100,
	}, "events_total")
	ann := r.ann()
	_, err := ann.Pauses.Resume(t.Context(), "contracts")
	r.must(err)
	r.replayAll(ann)
	r.drain(config())
	r.exactlyOnce("contracts", 100)
}

// What is in doubt gets old where everything is paused, and then nobody says that it has no record: replayed, it is
// asked about first, and its record found.
func TestDoubtGetsOldInAPause(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(hubspottest.BreakAfter) // created, and nobody was told
	r.publish(message{"contracts", "a", fmt.Sprintf(`{"properties":{"name":"a",%q:"a"}}`, idProperty)})
	cfg := config()
	cfg.Settle = time.Hour
	cfg.Retry.Age = 2 * time.Second
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT status FROM outbox`, "unknown")
	ann := r.ann()
	_, err := ann.Pauses.Pause(t.Context(), outbox.Account, "wait")
	r.must(err)
	r.until(`SELECT status, reason, in_doubt FROM outbox`, "dead unknown_outcome true")
	w.stop()
	_, err = ann.Pauses.Resume(t.Context(), outbox.Account)
	r.must(err)
	r.replayAll(ann)
	r.expect(`SELECT status, misses FROM outbox`, "unknown 0")
	r.drain(config())
	r.exactlyOnce("contracts", 1)
}
