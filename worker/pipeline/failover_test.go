package pipeline_test

import (
	"net/url"
	"testing"
	"time"

	"crmintake/deploy/local/pgcluster"
	"crmintake/migrations"
	"crmintake/outbox"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// The primary dies under load and its standby is promoted. Workers that know both by one address go on with the new
// one, and what was acked is there: its commit was the standby's, too.
func TestStandbyPromotedUnderLoad(t *testing.T) {
	t.Parallel()
	settings := pgcluster.Config{Settings: map[string]string{"synchronous_commit": "on"}}
	primary, err := pgcluster.Start(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	stopAfter(t, primary)
	if err := migrations.Up(t.Context(), primary.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	standby, err := pgcluster.Standby(t.Context(), primary, settings)
	if err != nil {
		t.Fatal(err)
	}
	stopAfter(t, standby)

	r := newRigOn(t, hubspottest.Config{MinLatency: 20 * time.Millisecond}, bothHosts(t, primary, standby))
	r.until(`SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`, "1")
	r.must(primary.Synchronous(t.Context()))
	r.until(`SELECT sync_state FROM pg_stat_replication`, "sync")
	r.remakeConsumer(2 * time.Second)
	cfg := config()
	cfg.InFlight, cfg.Batch.Size = 2, 20
	cfg.Lease, cfg.CallTimeout = 4*time.Second, 2*time.Second
	one := r.start(cfg, hubspot.StaticToken(token))
	cfg.Name = "other"
	other := r.start(cfg, hubspot.StaticToken(token))
	const events = 3000
	r.publish(named("contracts", "c", events)...)
	r.until(`SELECT count(*) > 500 FROM outbox WHERE status = 'created'`, "true")

	r.must(primary.Kill())
	r.logged(fails)
	// Nobody takes writes now. Whoever starts now is told to wait.
	if s, err := outbox.Open(t.Context(), r.database, 1); err == nil {
		s.Close()
		t.Error("a standby was taken for a primary")
	} else if !outbox.IsTransient(err) {
		t.Errorf("a failover is taken for a fault that stays: %v", err)
	}
	info := r.consumer()
	acked := events - int(info.NumPending) - info.NumAckPending
	r.must(standby.Promote(t.Context()))
	var rows int
	if rows = len(r.rows(`SELECT 1 FROM outbox`)); rows < acked {
		t.Errorf("%d events were acked before the promotion, and %d have a row after it", acked, rows)
	}
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 3000")
	r.logged(works)
	r.eventually("all are acked", func() bool { i := r.consumer(); return i.NumPending == 0 && i.NumAckPending == 0 })
	one.stop()
	other.stop()
	r.exactlyOnce("contracts", events)
}

func stopAfter(t *testing.T, c *pgcluster.Cluster) {
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// bothHosts is the address of whichever takes writes, which is looked for unasked.
func bothHosts(t *testing.T, primary, standby *pgcluster.Cluster) string {
	t.Helper()
	u, err := url.Parse(primary.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := url.Parse(standby.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	u.Host += "," + other.Host
	return u.String()
}
