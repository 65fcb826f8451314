package pipeline_test

import (
	"testing"
	"time"

	"crmintake/worker/hubspot/hubspottest"
)

// The clocks of the database and of the CRM may be minutes apart: what a call in doubt has made is its events' own
// all the same, and what is really older is another's.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{
		"the database's ahead": -2 * time.Minute,
		"the CRM's ahead":      2 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account := dealing()
			account.Now = func() time.Time { return time.Now().Add(ahead) }
			r := newRig(t, account)
			r.crm.Script(hubspottest.BreakAfter)
			r.publish(threeDeals()...)
			r.drain(dealingConfig())
			r.exactlyOnce("deals", 3)
			r.expect(`SELECT count(DISTINCT record_id), bool_and(in_doubt) FROM outbox`, "3 true")

			_, err := r.crm.Add("deals", map[string]string{"dealname": "theirs", sourceID: "E-4"}, account.Now().Add(-time.Hour))
			r.must(err)
			r.crm.Script(hubspottest.BreakBefore)
			r.publish(deal("d4", `"dealname":"Deal 4","source_event_id":"E-4"`))
			r.drain(dealingConfig())
			r.expect(`SELECT status, reason, in_doubt FROM outbox WHERE event_id = 'd4'`, "dead conflict true")
		})
	}
}
