package pipeline_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"crmintake/outbox"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

// Whose a record is, where several events may have made it and each learns of it in a way of its own.

// exchanged is a request of a worker with what the simulated CRM answers.
type exchanged struct {
	read bool
	body string
	*httptest.ResponseRecorder
}

// between has each answer of the CRM pass through a function before it is sent.
func (r *rig) between(before func(e *exchanged) (answered bool), after func(e *exchanged)) {
	crm := r.crm.CRM
	r.answer(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		e := &exchanged{strings.HasSuffix(req.URL.Path, "/batch/read"), string(body), httptest.NewRecorder()}
		if before == nil || !before(e) {
			req.Body = io.NopCloser(strings.NewReader(e.body))
			crm.ServeHTTP(e, req)
		}
		if after != nil {
			after(e)
		}
		for name, values := range e.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(e.Code)
		_, _ = w.Write(e.Body.Bytes())
	})
}

// missAll answers a read as if none of its values had a record.
func (e *exchanged) missAll() {
	var ids []string
	for _, part := range strings.Split(e.body, `{"id":`)[1:] {
		ids = append(ids, part[:strings.Index(part, "}")])
	}
	e.Header().Set("Content-Type", "application/json")
	e.WriteHeader(http.StatusMultiStatus)
	fmt.Fprintf(e, `{"status":"COMPLETE","results":[],"numErrors":1,"errors":[{"status":"error",`+
		`"category":"OBJECT_NOT_FOUND","message":"Could not get some objects","context":{"ids":[%s]}}]}`, strings.Join(ids, ","))
}

// inDoubt publishes an event whose call breaks off, before it reaches the CRM or after that has worked on it.
func (r *rig) inDoubt(fault hubspottest.Fault, e message) {
	r.t.Helper()
	r.crm.Script(fault)
	r.publish(e)
	r.until(fmt.Sprintf(`SELECT in_doubt FROM outbox WHERE event_id = '%s'`, e.id), "true")
}

// A record whose event is in doubt is adopted by no other, though the CRM names it as having the other's value.
func TestAdoptedWhileItsEventIsInDoubt(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	cfg := dealingConfig()
	cfg.OnConflict, cfg.Settle = pipeline.Adopt, 3*time.Second
	w := r.start(cfg, hubspot.StaticToken(token))
	r.inDoubt(hubspottest.BreakAfter, deal("maker", `"ext":"T-1","source_event_id":"SAME"`))
	r.publish(deal("other", `"ext":"T-2","source_event_id":"SAME"`))
	r.until(`SELECT count(*) FROM outbox WHERE status NOT IN ('created', 'dead')`, "0")
	w.stop()
	r.expect(`SELECT event_id, status, reason FROM outbox ORDER BY 1`, "maker created <nil>", "other dead conflict")
}

// Two events in doubt have one value, reads see no record of it for too long, and both are told its id as they are sent
// again.
func TestTwoInDoubtAreToldOneRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	r.between(func(e *exchanged) bool {
		late := e.read && strings.Contains(e.body, `"idProperty"`)
		if late {
			e.missAll()
		}
		return late
	}, nil)
	w := r.start(dealingConfig(), hubspot.StaticToken(token))
	r.inDoubt(hubspottest.BreakAfter, deal("z maker", `"ext":"T-1","source_event_id":"SAME"`))
	r.inDoubt(hubspottest.BreakBefore, deal("a other", `"ext":"T-2","source_event_id":"SAME"`))
	r.until(`SELECT count(*) FROM outbox WHERE status NOT IN ('created', 'dead')`, "0")
	w.stop()
	r.expect(`SELECT event_id, status, reason FROM outbox ORDER BY 1`, "a other dead conflict", "z maker created <nil>")
}

// A record that is older than an event in doubt is not its own, though it has the event's value and the CRM names it.
func TestToldAnOlderRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	_, err := r.crm.Add("deals", map[string]string{"dealname": "theirs", sourceID: "E-1"}, time.Now().Add(-time.Hour))
	r.must(err)
	r.between(func(e *exchanged) bool {
		late := e.read && strings.Contains(e.body, `"idProperty"`)
		if late {
			e.missAll()
		}
		return late
	}, nil)
	r.crm.Script(hubspottest.BreakBefore)
	r.publish(threeDeals()[0])
	r.drain(dealingConfig())
	r.expect(`SELECT status, reason, in_doubt FROM outbox`, "dead conflict true")
}

// An event says in its id property what another's id is: one record is one event's all the same.
func TestAnothersIDForValue(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	r.publish(deal("maker", `"ext":"T-1","source_event_id":"d1"`))
	r.drain(dealingConfig())
	r.crm.Script(hubspottest.BreakBefore)
	r.publish(deal("d1", `"ext":"T-2"`))
	r.drain(dealingConfig())
	r.expect(`SELECT event_id, status, reason FROM outbox ORDER BY 1`, "d1 dead conflict", "maker created <nil>")
}

// An event in doubt asks for a record while another's call that made it is under way: it waits for what comes of that
// call. The other call has the value escaped, or begins while it is asked.
func TestRivalIsBeingSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value     string // as JSON
		whileRead bool
	}{
		"escaped":          {`"M\u00fcller"`, false},
		"while it is read": {`"SAME"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, dealing())
			made, asked := make(chan struct{}), make(chan struct{})
			answer := sync.OnceFunc(func() { close(asked) })
			defer answer()
			var once sync.Once
			maker := deal("maker", `"ext":"T","source_event_id":`+c.value)
			r.between(func(e *exchanged) bool {
				if e.read {
					once.Do(func() {
						if c.whileRead {
							r.publish(maker)
						}
					})
					<-made
				}
				return false
			}, func(e *exchanged) {
				if !e.read && e.Code == http.StatusCreated {
					close(made)
					<-asked
				}
			})
			cfg := dealingConfig()
			cfg.CallTimeout, cfg.Lease, cfg.Batch.Wait = 20*time.Second, time.Minute, time.Millisecond
			w := r.start(cfg, hubspot.StaticToken(token))
			mine := strings.ReplaceAll(c.value, `\u00fc`, "ü")
			r.inDoubt(hubspottest.BreakBefore, deal("mine", `"ext":"T","source_event_id":`+mine))
			if !c.whileRead {
				r.publish(maker)
			}
			r.until(`SELECT count(*) > 0 FROM attempt WHERE kind = 'read' AND state = 'settled'`, "true")
			answer()
			r.until(`SELECT count(*) FROM outbox WHERE status NOT IN ('created', 'dead')`, "0")
			w.stop()
			r.expect(`SELECT event_id, status, reason FROM outbox ORDER BY 1`, "maker created <nil>", "mine dead conflict")
		})
	}
}

// One call after the other has the value of an event in doubt: it does not wait for them for ever.
func TestRivalsWithoutEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	made, asked := make(chan struct{}), make(chan struct{})
	answer := sync.OnceFunc(func() { close(asked) })
	defer answer()
	r.between(func(e *exchanged) bool {
		if e.read {
			<-made
		}
		return false
	}, func(e *exchanged) {
		if !e.read && e.Code == http.StatusCreated {
			close(made)
			<-asked
		}
	})
	cfg := dealingConfig()
	cfg.CallTimeout, cfg.Lease, cfg.Retry.Age = 40*time.Second, 2*time.Minute, 2*time.Second
	w := r.start(cfg, hubspot.StaticToken(token))
	r.inDoubt(hubspottest.BreakBefore, deal("mine", `"ext":"T","source_event_id":"SAME"`))
	r.publish(deal("maker", `"ext":"T","source_event_id":"SAME"`))
	r.untilWithin(20*time.Second, `SELECT status, reason FROM outbox WHERE event_id = 'mine'`, "dead unknown_outcome")
	answer()
	r.until(`SELECT status FROM outbox WHERE event_id = 'maker'`, "created")
	w.stop()
}

// A refusal that is believed once the record is missing twice stays known, in its words, while the questions are put off
// by a stop.
func TestStopKeepsWhatIsPending(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	cfg := dealingConfig()
	cfg.Quota = pipeline.Quota{Calls: 1, Window: time.Minute}
	w := r.start(cfg, hubspot.StaticToken(token))
	r.publish(threeDeals()[0])
	r.until(`SELECT status FROM outbox`, "created") // with the only call of the next minute
	store, err := outbox.Open(t.Context(), r.database, 2)
	r.must(err)
	defer store.Close()
	a := outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "deals", Worker: "other", Lease: time.Minute,
		IDProperty: sourceID}
	d2 := outbox.Event{ID: "d2", ObjectType: "deals", Stream: "S", Payload: []byte(threeDeals()[1].body)}
	_, err = store.Batches.Intend(t.Context(), a, []outbox.Event{d2})
	r.must(err)
	r.must(store.Batches.Settle(t.Context(), a.ID, outbox.Call{Rejected: 1}, []outbox.Settlement{{EventID: d2.ID,
		Status: outbox.Unknown, InDoubt: true, Reason: outbox.Rejected, Error: "no such stage", IDProperty: sourceID,
		IDValue: "E-2"}}))
	r.until(`SELECT count(*) FROM attempt WHERE kind = 'read' AND state = 'open'`, "1")
	w.stop()
	r.expect(`SELECT status, reason, error FROM event WHERE event_id = 'd2'`, "unknown rejected no such stage")
}
