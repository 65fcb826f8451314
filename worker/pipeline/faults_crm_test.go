package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// padded makes n good events of about so many bytes.
func padded(objectType, prefix string, n, bytes int) []message {
	list := named(objectType, prefix, n)
	for k := range list {
		list[k].body = fmt.Sprintf(`{"properties":{"name":%q}}`, list[k].id+strings.Repeat(".", bytes-40))
	}
	return list
}

// What is refused as too large is halved by bytes, and later batches, fresh ones and retries, are not so large again.
func TestTooLargeIsRemembered(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	r := newRig(t, hubspottest.Config{MaxRequest: limit})
	cfg := config()
	cfg.InFlight = 1
	cfg.Batch.Wait = 3 * time.Second // batches fill up, however slowly they are published
	w := r.start(cfg, hubspot.StaticToken(token))
	r.publish(padded("contracts", "a", 100, 3000)...) // 300 kB, and then 2 × 150 kB
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 100")
	const refused = `SELECT count(*) FROM attempt WHERE http_status = 413`
	learned := r.rows(refused)[0]
	r.crm.Script(hubspottest.Answer503, hubspottest.Answer503)
	r.publish(padded("contracts", "b", 300, 3000)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 400")
	w.stop()
	r.exactlyOnce("contracts", 400)
	r.expect(refused, learned)
	r.expect(`SELECT count(*) > 0 FROM attempt WHERE http_status = 503`, "true")
	if n := strings.Count(r.log.String(), "refuses requests of this size"); n < 1 || n > 2 {
		t.Errorf("the limit was lowered %d times, from 300 kB to below 100 kB:\n%s", n, r.log)
	}
	// Half of the limit is the least that is learned, so batches stay full.
	r.expect(fmt.Sprintf(`SELECT max(inputs) >= %d FROM attempt WHERE http_status = 201 AND parent_id IS NULL`, limit/2/3000), "true")
}

// A proxy that refuses everything for a while leaves no tiny batches behind.
func TestTooLargeForAWhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(slices.Repeat([]hubspottest.Fault{hubspottest.Answer413}, 6)...)
	cfg := config()
	cfg.InFlight = 1
	cfg.Batch.Wait = 3 * time.Second // batches fill up, however slowly they are published
	w := r.start(cfg, hubspot.StaticToken(token))
	r.publish(padded("contracts", "a", 100, 400)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 100")
	r.expect(`SELECT count(*) FROM attempt WHERE http_status = 413`, "6")
	if !strings.Contains(r.log.String(), "batches are smaller from now on") {
		t.Error("nothing was learned")
	}
	r.publish(padded("contracts", "b", 1000, 400)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 1100")
	w.stop()
	r.exactlyOnce("contracts", 1100)
	// A few that grow, and full ones.
	r.expect(`SELECT count(*) < 25 FROM attempt WHERE parent_id IS NULL`, "true")
}

// One event that is too large by itself is a dead letter. The others are created, in few calls: halves are by bytes.
func TestOneTooLargeEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{MaxRequest: 30_000})
	list := named("contracts", "c", 100)
	list[37] = padded("contracts", "c-37", 1, 50_000)[0]
	list[37].id = "c-37"
	r.publish(list...)
	cfg := config()
	cfg.InFlight = 1
	cfg.Batch.Wait = 3 * time.Second
	r.drain(cfg)
	r.expect(`SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status`, "created 99", "dead 1")
	r.expect(`SELECT reason FROM outbox WHERE event_id = 'c-37'`, "rejected")
	if n := r.crm.Stats().Statuses[201]; n > 3 {
		t.Errorf("%d calls for what is not too large, want at most 3", n)
	}
	if n := r.crm.Len("contracts"); n != 99 {
		t.Errorf("%d records, want 99", n)
	}
}

// Two events of one batch that claim the same unique value do not fail the others.
func TestTheSameUniqueValueTwiceInABatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault hubspottest.Fault // of the first call, "" for none
		twins []string
	}{
		"told by name":                 {"", []string{"created <nil>", "dead conflict"}},
		"told of the batch as a whole": {hubspottest.WholeBatch, []string{"created <nil>", "dead conflict"}},
		// What the record holds can't tell which of the two made it.
		"not told": {hubspottest.BreakAfter, []string{"dead unknown_outcome", "dead unknown_outcome"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hubspottest.Config{})
			if c.fault != "" {
				r.crm.Script(c.fault)
			}
			list := named("contracts", "c", 50)
			for _, k := range []int{10, 40} {
				list[k].body = fmt.Sprintf(`{"properties":{"name":"n","%s":"the same"}}`, idProperty)
			}
			r.publish(list...)
			cfg := config()
			cfg.Batch.Wait = 3 * time.Second // for all to be one call, however slow the machine
			r.drain(cfg)
			r.expect(`SELECT status, reason FROM outbox WHERE event_id IN ('c-10', 'c-40') ORDER BY status`, c.twins...)
			r.expect(`SELECT count(*) FROM outbox WHERE status = 'created' AND event_id NOT IN ('c-10', 'c-40')`, "48")
			for value, n := range r.crm.Count("contracts", idProperty) {
				if n != 1 {
					t.Errorf("%d records with %q", n, value)
				}
			}
			if n := r.crm.Len("contracts"); n != 49 {
				t.Errorf("%d records, want 49", n)
			}
		})
	}
}
