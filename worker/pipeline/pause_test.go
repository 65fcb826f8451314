package pipeline_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

func (r *outboxRig) store() *outbox.Store {
	r.t.Helper()
	s, err := outbox.Open(r.t.Context(), r.database, 2)
	r.must(err)
	r.t.Cleanup(s.Close)
	return s
}

// ann is a person.
func (r *outboxRig) ann() *operator.Operator {
	r.t.Helper()
	return operator.New(r.store(), operator.Config{Name: "ann"})
}

// rounds waits until each worker has looked at the database a few times more.
func (r *outboxRig) rounds() {
	r.t.Helper()
	now := r.rows(`SELECT clock_timestamp()::text`)[0]
	r.until(fmt.Sprintf(`SELECT min(seen_at) > '%s'::timestamptz + interval '3 s' FROM worker`, now), "true")
}

// What an answer pauses is paused for the fleet, lifts itself by a trial, and costs no event an attempt.
func TestPausesLiftThemselves(t *testing.T) {
	t.Parallel()
	for fault, want := range map[hubspottest.Fault]string{
		hubspottest.Answer401: "* credential",
		hubspottest.Answer403: "contracts answer",
		hubspottest.Answer404: "contracts answer",
		hubspottest.Answer405: "contracts answer",
		hubspottest.Answer477: "* answer",
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hubspottest.Config{RetryAfter: 3 * time.Second, KeepCalls: 10})
			cfg := config()
			cfg.TrialInterval = 3 * time.Second
			cfg.InFlight = 1
			r.crm.Script(fault, fault) // the first trial fails
			r.publish(named("contracts", "c", 250)...)
			w := r.start(cfg, hubspot.StaticToken(token))
			r.until(`SELECT object_type, cause, paused_by FROM pause`, want+" test")
			r.untilWithin(againAfterNaks, `SELECT status, count(*) FROM outbox GROUP BY status`, "created 250")
			w.stop()
			r.exactlyOnce("contracts", 250)
			r.expect(`SELECT DISTINCT attempts FROM outbox`, "1")
			r.expect(`SELECT count(*) FROM pause`, "0")
			// A trial is one event; one that comes to nothing leaves no attempt behind.
			r.expect(fmt.Sprintf(`SELECT count(*) FROM attempt WHERE http_status = %s`, fault), "1")
			calls := r.crm.Calls()
			if calls[0].Inputs == 1 || calls[1].Inputs != 1 || calls[2].Inputs != 1 || calls[1].Status != calls[0].Status || calls[2].Created != 1 {
				t.Errorf("the first calls: %+v", calls[:3])
			}
		})
	}
}

// A used-up day pauses the account until the answer's time, which no start of a worker brings forward, and a person
// can.
func TestDailyQuotaPauses(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.crm.Script(hubspottest.Answer429Daily)
	r.publish(named("contracts", "c", 50)...)
	w := r.start(config(), hubspot.StaticToken(token))
	r.until(`SELECT object_type, cause FROM pause`, "* answer")
	cfg := config()
	cfg.Name = "second"
	second := r.start(cfg, hubspot.StaticToken(token))
	r.logged(`by=test reason="429`)
	r.expect(`SELECT trial_at > now() + interval '14 min' FROM pause`, "true")
	was, err := r.ann().Pauses.Resume(t.Context(), outbox.Account)
	if r.must(err); was == nil {
		t.Error("there was no pause")
	}
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 50")
	w.stop()
	second.stop()
}

// A new token in the file is tried at once.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	path := filepath.Join(t.TempDir(), "token")
	r.must(os.WriteFile(path, []byte("expired"), 0o600))
	r.publish(named("contracts", "c", 50)...)
	cfg := config()
	cfg.TrialInterval = time.Hour
	w := r.start(cfg, hubspot.NewFileToken(path))
	r.until(`SELECT object_type, cause FROM pause`, "* credential")
	r.must(os.WriteFile(path+".next", []byte(token), 0o600))
	r.must(os.Rename(path+".next", path))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 50")
	w.stop()
	r.exactlyOnce("contracts", 50)
}

// A trial whose time has come while nobody was there is not due in less than no time.
func TestNextTrialIsNotInThePast(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.admin().exec(`INSERT INTO pause (object_type, cause, reason, trial_at) VALUES ('deals', 'answer', 'x', now() - interval '1 minute')`)
	w := r.start(config(), hubspot.StaticToken(token))
	r.logged("next_trial_in=0s")
	w.stop()
}

// An operator's pause of everything reaches all workers, new ones too. None fetches or calls anything until it is
// resumed.
func TestOperatorPausesEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	ann := r.ann()
	var fleet []*running
	lock := r.admin()
	for _, name := range []string{"one", "two", "three"} {
		cfg := config()
		cfg.Name = name
		if name == "three" { // it starts in the pause, and with events to fetch
			_, err := ann.Pauses.Pause(t.Context(), outbox.Account, "month's end")
			r.must(err)
			r.eventually("both workers know", func() bool { return strings.Count(r.log.String(), "by=ann") == 2 })
			r.rounds() // fetches that wait have ended
			r.publish(named("contracts", "c", 250)...)
			lock.exec(`BEGIN; LOCK TABLE pause`) // it can't know of it
		}
		fleet = append(fleet, r.start(cfg, hubspot.StaticToken(token)))
	}
	r.until(`SELECT count(*) FROM worker WHERE name = 'three'`, "1")
	r.rounds()
	lock.exec(`COMMIT`)
	r.eventually("all workers know", func() bool { return strings.Count(r.log.String(), "by=ann") == 3 })
	r.rounds()
	for k, w := range fleet {
		if n := w.Stats().Received.Load(); n > 0 {
			t.Errorf("worker %d fetched %d events in the pause", k, n)
		}
	}
	if n := r.crm.Stats().Requests; n > 0 {
		t.Errorf("%d calls in the pause", n)
	}
	_, err := ann.Pauses.Resume(t.Context(), outbox.Account)
	r.must(err)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 250")
	for _, w := range fleet {
		w.stop()
	}
	r.exactlyOnce("contracts", 250)
	r.expect(`SELECT DISTINCT attempts FROM outbox`, "1")
	r.expect(`SELECT count(*) FROM breaker`, "0") // where nothing is rejected, nothing is weighed
}

// An object type that a person pauses goes back to the stream, also from hand, and is not fetched when the stream has
// only its events. Others go on.
func TestOperatorPausesAnObjectType(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	r.remakeConsumer(2 * time.Minute) // longer than a batch may wait
	ann := r.ann()
	cfg := config()
	cfg.Batch.Wait = time.Minute // what does not fill a batch stays in hand
	w := r.start(cfg, hubspot.StaticToken(token))
	r.publish(named("contracts", "c", 20)...)
	r.eventually("the events are in hand", func() bool { return w.Stats().Received.Load() == 20 })
	_, err := ann.Pauses.Pause(t.Context(), "contracts", "wait")
	r.must(err)
	r.eventually("they are given back", func() bool { return w.Stats().GivenBack.Load() == 20 })
	r.rounds()
	received := w.Stats().Received.Load()
	r.publish(named("contracts", "d", 20)...)
	r.rounds()
	if n := w.Stats().Received.Load() - received; n > 20 { // a fetch that waited may have got them
		t.Errorf("%d events were fetched", n)
	}
	received = w.Stats().Received.Load()
	r.publish(named("contracts", "e", 20)...)
	r.rounds()
	if n := w.Stats().Received.Load(); n != received {
		t.Errorf("%d events of an object type that is paused, and alone, were fetched", n-received)
	}
	r.publish(named("deals", "x", 100)...)
	r.until(`SELECT object_type, status, count(*) FROM outbox GROUP BY 1, 2`, "deals created 100")
	_, err = ann.Pauses.Resume(t.Context(), "contracts")
	r.must(err)
	r.publish(named("contracts", "f", 100)...)
	r.until(`SELECT count(*) >= 100 FROM outbox WHERE object_type = 'contracts' AND status = 'created'`, "true")
	w.stop()
	r.expect(`SELECT count(*) FROM outbox WHERE status <> 'created' OR attempts <> 1`, "0")
}

// A pause is in force from the answer on, however long it takes to write it.
func TestPauseBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	w := r.start(config(), hubspot.StaticToken(token))
	r.publish(named("contracts", "a", 1)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 1")
	lock := r.admin()
	lock.exec(`BEGIN; LOCK TABLE pause IN EXCLUSIVE MODE`) // which lets everybody read
	r.crm.Script(hubspottest.Answer405)
	r.publish(named("contracts", "b", 1)...)
	r.eventually("the call is refused", func() bool { return r.crm.Stats().Requests == 2 })
	r.rounds()
	r.publish(named("contracts", "c", 1)...)
	r.rounds()
	if n := r.crm.Stats().Requests; n != 2 {
		t.Errorf("%d calls in the pause", n-2)
	}
	lock.exec(`COMMIT`)
	r.untilWithin(againAfterNaks, `SELECT status, count(*) FROM outbox GROUP BY status`, "created 3")
	w.stop()
}

// A wait that an answer asks for is obeyed by the fleet, and a person ends it, with a quota and without.
func TestResumeEndsAWaitThatWasAskedFor(t *testing.T) {
	t.Parallel()
	for name, quota := range map[string]pipeline.Quota{"quota": {Calls: 100, Window: time.Second}, "off": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hubspottest.Config{RetryAfter: time.Hour})
			r.crm.Script(hubspottest.Answer429RetryAfter)
			cfg := config()
			cfg.Quota = quota
			cfg.Name = "one"
			one := r.start(cfg, hubspot.StaticToken(token))
			r.publish(named("contracts", "a", 10)...)
			r.until(`SELECT DISTINCT http_status FROM attempt WHERE http_status IS NOT NULL`, "429")
			calls := r.crm.Stats().Requests
			if quota.Calls > 0 {
				cfg.Name = "two" // knows of it by the outbox alone
				two := r.start(cfg, hubspot.StaticToken(token))
				defer two.stop()
			}
			r.publish(named("contracts", "b", 10)...)
			r.rounds()
			if n := r.crm.Stats().Requests; n != calls {
				t.Errorf("%d calls in the wait", n-calls)
			}
			ended, err := r.ann().Pauses.Resume(t.Context(), outbox.Account)
			r.must(err)
			if (ended != nil) != (quota.Calls > 0) {
				t.Errorf("ended: %+v", ended)
			}
			r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 20")
			one.stop()
			r.exactlyOnce("contracts", 20)
		})
	}
}
