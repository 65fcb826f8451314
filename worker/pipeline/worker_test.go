package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/migrations"
	"crmintake/outbox"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/event"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

func TestEventsBecomeRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.publish(named("contracts", "c", 1050)...)
	r.publish(named("deals", "d", 70)...)
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second // for calls to be full, however slow the machine
	r.drain(cfg)
	r.exactlyOnce("contracts", 1050)
	r.exactlyOnce("deals", 70)
	for value, n := range r.crm.Count("contracts", idProperty) {
		if n != 1 || !strings.HasPrefix(value, "c-") {
			t.Errorf("%d records of event %q", n, value)
		}
	}
	r.expect(`SELECT count(*) FROM outbox WHERE payload IS NOT NULL OR record_id IS NULL OR attempts <> 1 OR stream <> 'CRM_EVENTS'`, "0")
	r.expect(`SELECT count(DISTINCT record_id) FROM outbox`, "1120")
	r.expect(`SELECT sum(inputs), sum(created), count(*) FILTER (WHERE closed_at IS NULL) FROM attempt`, "1120 1120 0")
	if s := r.crm.Stats(); s.Malformed > 0 || s.Creates > 20 {
		t.Errorf("%d calls, %d of them malformed, for 12 full batches", s.Creates, s.Malformed)
	}
}

func TestBadEventsAreKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.publish(
		message{"contracts", "good", `{"properties":{"name":"n"}}`},
		message{"contracts", "not-json", "\x00\xff{"},
		message{"contracts", "no-properties", `{}`},
		message{"contracts", "unknown-property", `{"properties":{"nmae":"n"}}`},
		message{"con.tracts", "bad-subject", `{"properties":{}}`},
		message{"contracts", strings.Repeat("long", 100), `{"properties":{}}`},
	)
	r.drain(config())
	r.expect(`SELECT `+placeless+`, status, reason FROM outbox WHERE status <> 'created' ORDER BY stream_seq`,
		"not-json dead invalid_event", "no-properties dead invalid_event", "unknown-property dead rejected",
		"bad-subject dead invalid_event", "CRM_EVENTS@:6 dead invalid_event")
	r.expect(`SELECT encode(payload, 'hex') FROM outbox WHERE event_id = 'not-json'`, "00ff7b")
	r.expect(`SELECT count(*) FROM outbox_error WHERE event_id = 'unknown-property' AND category = 'VALIDATION_ERROR'
		AND convert_from(raw, 'UTF8') LIKE '%PROPERTY_DOESNT_EXIST%'`, "1")
	r.expect(`SELECT count(*) FROM outbox WHERE status = 'created'`, "1")
}

func TestTheSameEventAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	// The stream's own window for duplicates would drop the second message by its id, so here the ids are CloudEvents'.
	send := func(id, body string) {
		t.Helper()
		m := nats.NewMsg("crm.create.contracts")
		m.Header.Set("ce-source", "src")
		m.Header.Set("ce-id", id)
		m.Data = []byte(body)
		if _, err := r.nc.RequestMsg(m, time.Minute); err != nil { // the answer is the stream's confirmation
			t.Fatal(err)
		}
	}
	const one, other = `{"properties":{"name":"one"}}`, `{"properties":{"name":"other"}}`
	send("a", one)
	send("a", one) // in the same batch
	send("b", one)
	send("b", other)
	r.drain(config())
	send("a", one) // later
	send("a", other)
	send("b", "not JSON")
	r.drain(config())
	r.expect(`SELECT `+placeless+`, status, reason FROM outbox ORDER BY stream_seq`,
		"src/a created <nil>", "src/b created <nil>", "src/b#CRM_EVENTS@:4 dead id_reused", "src/a#CRM_EVENTS@:6 dead id_reused", "src/b#CRM_EVENTS@:7 dead id_reused")
	if n := r.crm.Len("contracts"); n != 2 {
		t.Errorf("%d records", n)
	}

	// A stream that was made anew counts from 1 again.
	if err := r.remakeStream(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		send("c", one)
	}
	send("b", "yet another")
	r.drain(config())
	r.expect(`SELECT `+placeless+`, convert_from(payload, 'UTF8') FROM outbox WHERE event_id LIKE 'src/b#%:4' ORDER BY received_at`,
		"src/b#CRM_EVENTS@:4 "+other, "src/b#CRM_EVENTS@:4 yet another")
}

// Only what differs from the outbox's content is another event, in whichever order a batch has them: not the repeat
// behind an impostor, nor, after a crash, the event behind it.
func TestTheSameEventBehindAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	const one, other = `{"properties":{"name":"one"}}`, `{"properties":{"name":"other"}}`
	r.publishCloudEvents([]message{{"contracts", "a", one}})
	r.drain(config())
	store, err := outbox.Open(t.Context(), r.database, 1)
	r.must(err)
	defer store.Close()
	crashed := outbox.Event{ID: "src/b", ObjectType: "contracts", Payload: []byte(one), Stream: "CRM_EVENTS", StreamSeq: 5}
	crashed.ContentHash = event.Hash("crm.create.contracts", crashed.Payload)
	attempt := outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "contracts", Worker: "crashed", Lease: time.Millisecond, IDProperty: idProperty}
	_, err = store.Batches.Intend(t.Context(), attempt, []outbox.Event{crashed})
	r.must(err)
	r.publishCloudEvents([]message{{"contracts", "a", other}, {"contracts", "a", one}, {"contracts", "b", other}, {"contracts", "b", one}})
	r.drain(config())
	r.expect(`SELECT `+placeless+`, status, convert_from(payload, 'UTF8') FROM outbox ORDER BY event_id`, "src/a created <nil>",
		"src/a#CRM_EVENTS@:2 dead "+other, "src/b created <nil>", "src/b#CRM_EVENTS@:4 dead "+other)
	if n := r.crm.Len("contracts"); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// Each fault of the CRM's list in turn, each met by a batch of its own: what can be created is created, once, and the
// rest is dead.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	faults := slices.DeleteFunc(hubspottest.All(), func(f hubspottest.Fault) bool {
		return f == hubspottest.Answer429Daily // its pause takes a quarter of an hour
	})
	r := newRig(t, hubspottest.Config{Delay: 1500 * time.Millisecond, RetryAfter: time.Second})
	for _, f := range faults {
		r.crm.Script(f, hubspottest.None) // never so many in a row that a lone event is sent ahead
	}
	r.crm.ScriptReads(hubspottest.Answer500, hubspottest.BreakAfter, hubspottest.Answer429RetryAfter, hubspottest.TruncatedBody)
	cfg := config()
	cfg.Batch.Size, cfg.InFlight = 4, 2
	cfg.CallTimeout, cfg.Settle = time.Second, time.Second
	events := 4 * 2 * len(faults)
	r.publish(named("contracts", "c", events)...)
	r.drain(cfg)

	met := r.crm.Stats().Faults
	for _, f := range faults {
		if met[f] == 0 {
			t.Errorf("fault %s was not met", f)
		}
	}
	if n := r.crm.Stats().Malformed; n > 0 {
		t.Errorf("%d malformed requests", n)
	}
	// A lone event may meet the 409, one in doubt too: that no record has its value then contradicts the answer.
	r.expect(`SELECT event_id, status, reason, error FROM outbox
		WHERE status NOT IN ('created', 'dead') OR status = 'dead' AND reason NOT IN ('rejected', 'conflict')
			AND NOT (reason = 'unknown_outcome' AND error LIKE 'CONFLICT: %')`)
	r.expect(`SELECT count(*) FROM outbox`, fmt.Sprint(events))
	r.expect(`SELECT count(*) FROM outbox WHERE possible_duplicate`, "0")
	records := r.crm.Count("contracts", idProperty)
	for _, row := range r.rows(`SELECT event_id, status FROM outbox`) {
		id, status, _ := strings.Cut(row, " ")
		if n := records[id]; n > 1 || (n == 1) != (status == "created") {
			t.Errorf("%s is %s and has %d records", id, status, n)
		}
	}
	r.expect(`SELECT count(*) FROM attempt WHERE state = 'settled' AND inputs <> created + rejected + not_applied + unknown`, "0")
}

func TestWithoutIDProperty(t *testing.T) {
	t.Parallel()
	for onUnknown, want := range map[pipeline.OnUnknown]string{
		pipeline.Park:   "dead unknown_outcome false 1",
		pipeline.Resend: "created <nil> true 2",
	} {
		t.Run(string(onUnknown), func(t *testing.T) {
			r := newRig(t, hubspottest.Config{})
			r.crm.Script(hubspottest.BreakAfter)
			r.publish(named("deals", "d", 3)...)
			cfg := config()
			cfg.OnUnknown = onUnknown
			cfg.Batch.Wait = 3 * time.Second // for all to be one call, however slow the machine
			r.drain(cfg)
			r.expect(`SELECT DISTINCT status, reason, possible_duplicate, attempts FROM outbox`, want)
		})
	}
}

// An answer that is lost after the work was done is no second record: the first is found by its id property.
func TestCreatesThenBreaks(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(hubspottest.BreakAfter)
	r.publish(named("contracts", "c", 100)...)
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second // for all to be one call, however slow the machine
	r.drain(cfg)
	r.exactlyOnce("contracts", 100)
	if s := r.crm.Stats(); s.Creates != 1 || s.Reads == 0 {
		t.Errorf("%d creates and %d reads; want one create, and its outcome read", s.Creates, s.Reads)
	}
	r.expect(`SELECT DISTINCT attempts, in_doubt FROM outbox`, "1 true")
}

func TestBisection(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.WholeBatch: 1}})
	list := named("contracts", "c", 100)
	list[37].body = `{"properties":{"nmae":"misspelled"}}`
	r.publish(list...)
	cfg := config()
	cfg.Batch.Wait = 3 * time.Second // for all to be one call, however slow the machine
	r.drain(cfg)
	r.expect(`SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status`, "created 99", "dead 1")
	r.expect(`SELECT reason FROM outbox WHERE event_id = 'c-37'`, "rejected")
	if n := r.crm.Stats().Creates; n > 15 {
		t.Errorf("%d calls, want at most 15", n)
	}
	r.expect(`SELECT DISTINCT attempts FROM outbox`, "1")
	r.expect(`SELECT count(*) FROM attempt WHERE parent_id IS NULL`, "1")
	r.expect(`SELECT count(*) FROM attempt WHERE closed_at IS NULL`, "0")
}

// A refused credential stops all calls and harms no event. A new one is tried at once.
func TestCredential(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.publish(named("contracts", "c", 250)...)
	secret := &credential{token: "expired"}
	cfg := config()
	cfg.TrialInterval = time.Hour
	w := r.start(cfg, secret)
	r.until(`SELECT object_type FROM pause`, "*")
	calls := r.crm.Stats().Requests
	r.until(`SELECT count(*) FROM attempt WHERE closed_at IS NULL`, "0")
	secret.set(token)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 250")
	w.stop()
	r.exactlyOnce("contracts", 250)
	r.expect(`SELECT DISTINCT attempts FROM outbox`, "1") // the refused calls are not counted
	r.expect(`SELECT count(*) FROM pause`, "0")
	if calls > cfg.InFlight {
		t.Errorf("%d calls with a refused credential", calls)
	}
	if n := strings.Count(r.log.String(), "calls are paused"); n != 1 {
		t.Errorf("the pause is logged %d times:\n%s", n, r.log)
	}
}

// An object type that the account refuses is paused, and the others go on.
func TestRefusedObjectType(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{ObjectTypes: map[string]hubspottest.ObjectType{
		"contracts": {ReadOnly: true}, "deals": {},
	}})
	r.publish(named("contracts", "c", 10)...)
	r.publish(named("deals", "d", 10)...)
	w := r.start(config(), hubspot.StaticToken(token))
	r.until(`SELECT object_type FROM pause`, "contracts")
	r.until(`SELECT status, count(*) FROM outbox WHERE object_type = 'deals' GROUP BY status`, "created 10")
	w.stop()
	r.expect(`SELECT count(*) FROM outbox WHERE object_type = 'contracts' AND (status <> 'retry' OR attempts > 0)`, "0")
}

// A worker that is told to stop gives back what it has not sent, and commits what it has.
func TestStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	stopping := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(stopping) })
	var calls atomic.Int64
	r.beforeCalls(func() {
		if calls.Add(1) > 1 {
			<-stopping
		}
	})
	r.publish(named("contracts", "c", 3000)...)
	cfg := config()
	cfg.InFlight = 2
	cfg.CallTimeout, cfg.Lease = time.Minute, 2*time.Minute
	w := r.start(cfg, hubspot.StaticToken(token))
	defer goOn()
	r.until(`SELECT count(*) > 0 FROM outbox WHERE status = 'created'`, "true")
	// One call is done, and two are under way.
	r.eventually("more is in hand", func() bool { return w.Stats().Received.Load() > 300 })
	w.cancel()
	goOn()
	w.stop()
	r.expect(`SELECT count(*) FROM outbox WHERE status <> 'created'`, "0")
	r.expect(`SELECT count(*) FROM worker`, "0")
	if w.Stats().GivenBack.Load() == 0 {
		t.Error("nothing was given back: all was done before the stop")
	}
	r.drain(config())
	r.exactlyOnce("contracts", 3000)
}

// A call that hangs when the worker is told to stop is cut off in time, and what became of it is found out later.
func TestStopCutsOffAHangingCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Delay: time.Minute})
	r.crm.Script(hubspottest.SlowAnswer)
	r.publish(named("contracts", "c", 5)...)
	cfg := config()
	cfg.CallTimeout, cfg.Lease, cfg.ShutdownTimeout = 50*time.Second, time.Minute, 2*time.Second
	cfg.Batch.Wait = 3 * time.Second // for all to be one call, however slow the machine
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "sending 5")
	for r.crm.Len("contracts") < 5 {
		r.until(`SELECT 1`, "1") // the work is done before the answer hangs
	}
	w.stop()
	r.expect(`SELECT status, count(*) FROM outbox GROUP BY status`, "unknown 5")
	r.drain(config())
	r.exactlyOnce("contracts", 5)
}

func TestServersComeBack(t *testing.T) {
	t.Parallel()
	c := outboxtest.Cluster(t)
	if err := migrations.Up(t.Context(), c.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, hubspottest.Config{MinLatency: 5 * time.Millisecond}, c.URL("postgres"))
	cfg := config()
	cfg.InFlight = 4
	w := r.start(cfg, hubspot.StaticToken(token))
	r.publish(named("contracts", "a", 2000)...)
	r.until(`SELECT count(*) > 0 FROM outbox WHERE status = 'created'`, "true")
	r.must(c.Restart(t.Context()))
	r.publish(named("contracts", "b", 2000)...)
	r.must(r.nats.Restart())
	r.publish(named("contracts", "c", 2000)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 6000")
	w.stop()
	r.exactlyOnce("contracts", 6000)
	for _, once := range []string{"the database fails", "the database works again"} {
		if n := strings.Count(r.log.String(), once); n > 1 {
			t.Errorf("%q is logged %d times:\n%s", once, n, r.log)
		}
	}
}

// The pause of an object type that the account refuses does not keep the account's own from ending.
func TestAccountGoesOnBesideARefusedType(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{ObjectTypes: map[string]hubspottest.ObjectType{"contracts": {ReadOnly: true}, "deals": {}}})
	secret := &credential{token: token}
	cfg := config()
	cfg.IDProperty = nil
	w := r.start(cfg, secret)
	r.publish(named("contracts", "c", 3)...)
	r.until(`SELECT object_type FROM pause`, "contracts")
	secret.set("expired") // the refused type's own trial is the first to meet it
	r.until(`SELECT count(*) FROM pause`, "2")
	r.publish(named("deals", "d", 10)...)
	secret.set(token)
	r.until(`SELECT status, count(*) FROM outbox WHERE object_type = 'deals' GROUP BY status`, "created 10")
	r.until(`SELECT object_type FROM pause`, "contracts")
	w.stop()
}

// What is always in doubt is not sent for ever.
func TestDoubtHasLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		objectType string
		fault      hubspottest.Fault
		want       string
		records    int
	}{
		"id property":    {"contracts", hubspottest.Answer500, "dead exhausted 3 false", 0},
		"no id property": {"deals", hubspottest.Answer500Written, "dead unknown_outcome 3 true", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{c.fault: 1}})
			r.publish(named(c.objectType, "e", 1)...)
			cfg := config()
			cfg.Retry.Attempts, cfg.OnUnknown = 3, pipeline.Resend
			r.drain(cfg)
			r.expect(`SELECT status, reason, attempts, possible_duplicate FROM outbox`, c.want)
			if n := r.crm.Len(c.objectType); n != c.records {
				t.Errorf("%d records, want %d", n, c.records)
			}
		})
	}
}

// What was answered while the database was away, for longer than the lease, is committed when it comes back.
func TestDatabaseAwayForLongerThanTheLease(t *testing.T) {
	t.Parallel()
	c := outboxtest.Cluster(t)
	if err := migrations.Up(t.Context(), c.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, hubspottest.Config{}, c.URL("postgres"))
	away := make(chan struct{})
	answer := sync.OnceFunc(func() { close(away) })
	var calls atomic.Int64
	r.beforeCalls(func() { calls.Add(1); <-away })
	cfg := config()
	cfg.Lease, cfg.CallTimeout = 8*time.Second, 6*time.Second
	w := r.start(cfg, hubspot.StaticToken(token))
	defer answer()
	r.publish(named("deals", "d", 400)...)
	r.eventually("a call is under way", func() bool { return calls.Load() > 0 })
	r.must(c.Kill())
	answer()
	// The lease is on the database's clock, which nothing but time moves on.
	<-time.After(cfg.Lease + time.Second)
	r.must(c.StartAgain(t.Context()))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 400")
	w.stop()
	r.exactlyOnce("deals", 400)
}

func TestSmallestWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.publish(named("contracts", "c", 5)...)
	cfg := config()
	cfg.InFlight, cfg.Batch.Size = 1, 1
	r.drain(cfg)
	r.exactlyOnce("contracts", 5)
}

// A credential that may create and not read leaves events in doubt, and creates the others.
func TestRefusedReads(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{ReadRates: map[hubspottest.Fault]float64{hubspottest.Answer403: 1}})
	r.crm.Script(hubspottest.BreakAfter)
	r.publish(named("contracts", "a", 10)...)
	w := r.start(config(), hubspot.StaticToken(token))
	r.until(`SELECT count(*) FROM attempt WHERE kind = 'read' AND http_status = 403`, "1")
	r.publish(named("contracts", "b", 100)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status`, "created 100\nunknown 10")
	r.must(r.crm.SetReadRates(nil))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status`, "created 110")
	w.stop()
	r.expect(`SELECT count(*) FROM pause`, "0")
	r.exactlyOnce("contracts", 110)
	if n := strings.Count(r.log.String(), "asking about events of contracts"); n != 2 {
		t.Errorf("the outage and its end are logged %d times:\n%s", n, r.log)
	}
}

// A bisection that waits for the quota for longer than its lease goes on all the same.
func TestBisectionUnderATightQuota(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{hubspottest.WholeBatch: 1}})
	list := named("deals", "d", 6)
	list[2].body = `{"properties":{"nmae":"misspelled"}}`
	r.publish(list...)
	cfg := config()
	cfg.CallTimeout, cfg.Lease = time.Second, 3*time.Second
	cfg.Quota = pipeline.Quota{Calls: 1, Window: 2 * time.Second}
	r.drain(cfg)
	r.expect(`SELECT status, reason, count(*) FROM outbox GROUP BY status, reason ORDER BY status`, "created <nil> 5", "dead rejected 1")
	r.expect(`SELECT count(*) FROM attempt WHERE state = 'expired'`, "0")
}
