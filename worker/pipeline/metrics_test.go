package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

// measured is a worker's registry.
type measured struct {
	r *rig
	*prometheus.Registry
}

// measure has a worker's settings tell a registry of its own.
func (r *rig) measure(cfg *pipeline.Config) measured {
	registry := prometheus.NewRegistry()
	cfg.Metrics = pipeline.NewMetrics(registry)
	return measured{r, registry}
}

// series are all of them by name and labels; of a histogram it is how much it has measured.
func (m measured) series() map[string]float64 {
	m.r.t.Helper()
	families, err := m.Gather()
	m.r.must(err)
	series := map[string]float64{}
	for _, f := range families {
		for _, s := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "crmintake_")
			for _, l := range s.Label {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			series[name] = s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return series
}

// counted are those that are not zero, and begin with one of the prefixes.
func (m measured) counted(prefixes ...string) map[string]float64 {
	m.r.t.Helper()
	series := m.series()
	maps.DeleteFunc(series, func(name string, v float64) bool {
		return v == 0 || !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
	return series
}

func (m measured) expect(want map[string]float64, prefixes ...string) {
	m.r.t.Helper()
	if diff := cmp.Diff(want, m.counted(prefixes...)); diff != "" {
		m.r.t.Error(diff)
	}
}

// What is counted is what became of the events, and no series comes to be by it.
func TestMetricsOfOutcomes(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.publish(named("contracts", "c", 250)...)
	r.publish(
		message{"contracts", "invalid", `{`},
		message{"contracts", "rejected", `{"properties":{"nmae":"n"}}`},
		message{"con.tracts", "also-invalid", `{"properties":{"a":"b"}}`},
	)
	for _, name := range []string{"one", "one", "other"} { // by CloudEvents' id, or the stream would drop the second
		e := nats.NewMsg("crm.create.contracts")
		e.Header.Set("ce-source", "src")
		e.Header.Set("ce-id", "a")
		e.Data = fmt.Appendf(nil, `{"properties":{"name":%q}}`, name)
		_, err := r.nc.RequestMsg(e, time.Minute)
		r.must(err)
	}
	cfg := config()
	m := r.measure(&cfg)
	before := slices.Sorted(maps.Keys(m.series()))
	r.drain(cfg)
	m.expect(map[string]float64{
		"events_total outcome=created reason=": 251, "events_total outcome=dead reason=invalid_event": 2,
		"events_total outcome=dead reason=rejected": 1, "events_total outcome=dead reason=id_reused": 1,
		"event_duration_seconds": 255,
		"received_total":         256, "duplicates_total": 1,
	}, "event", "received", "duplicates", "redeliveries", "given_back", "retries", "leases", "reconciliations", "removed")
	series := m.series()
	calls := series["calls_total kind=create status=2xx"] + series["calls_total kind=create status=207"]
	if n := series["calls_total kind=create status=207"]; n != 1 || calls < 3 || calls != series["call_duration_seconds kind=create"] ||
		calls != series["batch_events"] || calls != series["commit_duration_seconds commit=outcome"] {
		t.Errorf("%v calls, %v of them answered by 207: %v", calls, n, m.counted("call", "batch", "commit"))
	}
	batches := 0.0
	for name, n := range m.counted("batches_total") {
		batches += n
		if name == "batches_total cut=due" || name == "batches_total cut=split" {
			t.Errorf("%s: %v", name, n)
		}
	}
	if batches != calls {
		t.Errorf("%v batches in %v calls", batches, calls)
	}
	m.expect(map[string]float64{}, "events_in_hand", "bytes_in_hand", "calls_in_flight", "paused")
	if diff := cmp.Diff(before, slices.Sorted(maps.Keys(m.series()))); diff != "" {
		t.Errorf("series have come or gone: %s", diff)
	}
}

// Retries, splits, and what becomes of events in doubt.
func TestMetricsOfRetries(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(hubspottest.Answer503, hubspottest.BreakAfter)
	r.publish(named("contracts", "c", 100)...)
	cfg := config()
	cfg.InFlight, cfg.Batch.Wait = 1, 3*time.Second
	m := r.measure(&cfg)
	r.drain(cfg)
	r.exactlyOnce("contracts", 100)
	m.expect(map[string]float64{
		"events_total outcome=retry reason=": 100, "events_total outcome=unknown reason=": 100, "events_total outcome=created reason=": 100,
		"retries_total": 100, "reconciliations_total result=created": 100, "event_duration_seconds": 100,
		"calls_total kind=create status=5xx": 1, "calls_total kind=create status=none": 1,
		"calls_total kind=read status=2xx": 1, "batches_total cut=count": 1, "batches_total cut=due": 1,
	}, "event_", "events_total", "retries", "reconciliations", "calls_total", "batches_total")
}

func TestMetricsOfBisection(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.WholeBatch: 1}})
	list := named("contracts", "c", 4)
	list[0].body = `{"properties":{"nmae":"misspelled"}}`
	r.publish(list...)
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second
	m := r.measure(&cfg)
	r.drain(cfg)
	m.expect(map[string]float64{"batches_total cut=age": 1, "batches_total cut=split": 4}, "batches_total") // 4 = 2 + 2, 2 = 1 + 1
	m.expect(map[string]float64{"calls_total kind=create status=400": 3, "calls_total kind=create status=2xx": 2}, "calls_total")
}

// noCredential is a credential that is not there.
type noCredential struct{}

func (noCredential) Token(context.Context) (string, error) { return "", errors.New("no file") }

// A call that could not be made is none.
func TestMetricsOfCallsThatAreNotMade(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.publish(named("contracts", "c", 3)...)
	cfg := config()
	cfg.TrialInterval = time.Hour
	m := r.measure(&cfg)
	r.start(cfg, noCredential{})
	r.until(`SELECT object_type, cause FROM pause`, "* credential")
	m.expect(map[string]float64{}, "calls_total", "call_duration", "calls_in_flight")
}

// fragile is a source whose fetches fail, but that tells what it has.
type fragile struct{ worker.Source }

func (fragile) Fetch(context.Context, int, int, func(*worker.Event)) error {
	return errors.New("no fetch")
}

// A worker that fetches nothing because of a pause learns nevertheless that the stream works again.
func TestHealthOfAStreamThatNobodyFetchesFrom(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.wrap = func(s worker.Source) worker.Source { return fragile{s} }
	cfg := config()
	r.measure(&cfg)
	w := r.start(cfg, hubspot.StaticToken(token))
	r.eventually("the stream fails", func() bool { return w.Health().StreamFails > 0 })
	_, err := r.ann().Pauses.Pause(t.Context(), outbox.Account, "a test")
	r.must(err)
	r.eventually("the worker is paused", func() bool { return len(w.Health().Paused) == 1 })
	r.eventually("it is known to work", func() bool { return w.Health().StreamFails == 0 })
	if len(w.Health().Paused) != 1 {
		t.Error("the pause has ended")
	}
}

// hanging is a source that does not tell what it has.
type hanging struct{ worker.Source }

func (hanging) Outstanding(ctx context.Context) (pending, unacked int, err error) {
	<-ctx.Done()
	return 0, 0, ctx.Err()
}

// A stream that does not answer keeps nobody from knowing what the outbox holds.
func TestMetricsBesideAHangingStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.wrap = func(s worker.Source) worker.Source { return hanging{s} }
	cfg := config()
	m := r.measure(&cfg)
	r.start(cfg, hubspot.StaticToken(token))
	r.eventually("the outbox was asked", func() bool { return m.series()["workers_alive"] == 1 })
	m.expect(map[string]float64{}, "fleet_seen", "workers_wanted", "backlog")
}

// The worker that finds a lost lease counts it, whoever lost it.
func TestMetricsOfLeases(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	a := r.admin()
	a.exec(`INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs)
		VALUES ('00000000-0000-0000-0000-000000000001', 'create', 'deals', 'killed', now() - interval '1 s', '{a,b}', 2)`)
	a.exec(`INSERT INTO event (event_id, object_type, status, payload, content_hash, attempt_id, stream, stream_seq)
		SELECT id, 'deals', 'sending', '{}', 'h', '00000000-0000-0000-0000-000000000001', 's', 1 FROM unnest('{a,b}'::text[]) id`)
	cfg := config()
	m := r.measure(&cfg)
	r.drain(cfg)
	m.expect(map[string]float64{
		"leases_lost_total": 1, "events_total outcome=unknown reason=": 2, "events_total outcome=dead reason=unknown_outcome": 2,
		"reconciliations_total result=parked": 2,
	}, "leases", "events_total", "reconciliations")
}

// What is the fleet's is what the stream, the outbox and the quota hold, and a pause is seen.
func TestMetricsOfTheFleet(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.Answer403: 1}})
	a := r.admin()
	a.exec(`INSERT INTO worker (name, seen_at, batch_size, events_per_second) VALUES ('another', now() + interval '1 hour', 100, 0)`)
	a.exec(`INSERT INTO event (event_id, object_type, status, payload, content_hash, next_attempt_at, stream, stream_seq)
		VALUES ('waits', 'contracts', 'retry', '{"properties":{"name":"n"}}', 'h', now() - interval '1 hour', 's', 1)`)
	r.publish(named("contracts", "c", 300)...)
	cfg := config()
	cfg.Quota = pipeline.Quota{Calls: 50, Window: time.Hour, Daily: 1000, Reserve: .1}
	cfg.TrialInterval = time.Hour
	m := r.measure(&cfg)
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT count(*) FROM pause`, "1")
	// The fleet is looked at now and then, and may be seen before the worker has said that it is there, or in the middle of its calls.
	// Two looks that are alike, since one may fall into the change of what is shown.
	var s map[string]float64
	held := func() float64 {
		return s["backlog_events"] + s["backlog_unacked_events"] + s["outbox_rows status=retry"]
	}
	r.eventually("the pause is seen, and the fleet after it", func() bool {
		was := s
		s = m.counted("paused", "workers", "backlog", "outbox", "quota")
		return maps.Equal(s, was) && s["paused cause=answer scope=object_type"] == 1 && s["workers_alive"] == 2 && s["quota_used_calls"] > 0 &&
			s["outbox_rows status=sending"] == 0 && held() >= 300
	})
	m.expect(map[string]float64{"paused cause=answer scope=object_type": 1}, "paused")
	for name, want := range map[string]float64{"quota_limit_calls": 50, "quota_day_limit_calls": 900, "workers_alive": 2, "workers_wanted": 1} {
		if s[name] != want {
			t.Errorf("%s is %v, want %v", name, s[name], want)
		}
	}
	if used := s["quota_used_calls"]; used > s["quota_day_used_calls"] || s["quota_left_calls"] <= 0 || s["quota_left_calls"] > 50-used ||
		s["quota_headroom_ratio"] <= 0 || s["quota_headroom_ratio"] > (50-used)/50+.05 {
		t.Errorf("of the quota: %v", m.counted("quota"))
	}
	if s["outbox_rows status=retry"] < 1 || s["outbox_oldest_due_seconds"] <= 0 {
		t.Errorf("of stream and outbox: %v", m.counted("backlog", "outbox"))
	}
	if h := w.Health(); fmt.Sprint(h.Paused) != "[contracts (answer)]" || h.DatabaseFails != 0 || h.StreamFails != 0 {
		t.Errorf("health: %+v", h)
	}
}
