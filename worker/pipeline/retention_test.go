package pipeline_test

import (
	"testing"
	"time"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// Created rows go when they have been kept for long enough, by whichever worker; dead ones stay, and so does all with no limit.
func TestRetention(t *testing.T) {
	r := newRig(t, hubspottest.Config{})
	r.publish(named("contracts", "good", 20)...)
	r.publish(message{"contracts", "bad", `{"properties":{"nmae":"bad"}}`})
	cfg := config()
	cfg.KeepCreated = -1
	r.drain(cfg)
	const counts = `SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status`
	r.expect(counts, "created 20", "dead 1")
	r.expect(`SELECT bool_and(due_at = '-infinity') FROM retention`, "true") // nobody has looked
	cfg.KeepCreated = time.Hour
	r.drain(cfg)
	r.expect(counts, "created 20", "dead 1")

	cfg.KeepCreated = 50 * time.Millisecond
	r.rows(`UPDATE retention SET due_at = now() RETURNING 1`) // the last worker thought in hours
	one, other := r.start(cfg, hubspot.StaticToken(token)), r.start(cfg, hubspot.StaticToken(token))
	r.until(counts, "dead 1")
	r.until(`SELECT count(*) FROM attempt`, "1") // the one that tells why
	one.stop()
	other.stop()
	if n := one.Stats().Removed.Load() + other.Stats().Removed.Load(); n != 20 {
		t.Errorf("the workers counted %d removed rows, want 20", n)
	}
}
