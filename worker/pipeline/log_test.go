package pipeline_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// answer has another take the CRM's place.
func (r *rig) answer(with http.HandlerFunc) {
	s := httptest.NewServer(with)
	r.t.Cleanup(s.Close)
	r.crm.URL = s.URL
}

// Whatever the CRM says of an event, the log says nothing of what is in it; the outbox does.
func TestLogHasNoValues(t *testing.T) {
	t.Parallel()
	const value = "a private matter"
	r := newRig(t, hubspottest.Config{})
	var calls atomic.Int32
	r.answer(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if !strings.Contains(string(body), value) {
			t.Errorf("the event was not sent as it came: %s", body)
		}
		w.Header().Set("Content-Type", "application/json")
		fault := fmt.Sprintf(`{"status":"error","category":"VALIDATION_ERROR","message":"no good: %s","context":{"name":["%[1]s"]}}`, value)
		switch calls.Add(1) {
		case 1: // of the whole batch, which is split
			w.WriteHeader(400)
		case 2: // of a part of it, with nobody named
			w.WriteHeader(207)
			fault = `{"status":"COMPLETE","results":[],"numErrors":1,"errors":[` + fault + `]}`
		default:
			w.WriteHeader(400)
		}
		_, _ = io.WriteString(w, fault)
	})
	for k := range 2 {
		r.publish(message{"deals", fmt.Sprint("e", k), fmt.Sprintf(`{"properties":{"name":%q}}`, value)})
	}
	r.drain(config())
	r.expect(`SELECT count(*) > 1 FROM outbox WHERE status = 'dead' AND error LIKE '%`+value+`%'`, "true")
	r.logged("msg=call")
	r.logged("VALIDATION_ERROR")
	if strings.Contains(r.log.String(), value) {
		t.Errorf("the log tells what is in an event:\n%s", r.log)
	}
}

// A CRM that is down is told of once, and so is its return; what its calls come to meanwhile is for debugging.
func TestLogOfAnOutage(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	for range 6 {
		r.crm.Script(hubspottest.Answer503)
	}
	r.publish(named("contracts", "c", 10)...)
	cfg := config()
	cfg.InFlight = 1
	r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 10")
	r.logged(`msg="the CRM works again"`)
	r.loggedOnce(`msg="the CRM fails; trying again until it works"`, `msg="the CRM works again"`)
	if !strings.Contains(r.log.String(), "failures=4") { // the first two may have been bad luck
		t.Errorf("the log does not count:\n%s", r.log)
	}
	if loud := strings.Count(r.log.String(), "level=INFO msg=call"); loud > 3 {
		t.Errorf("%d calls are logged loudly:\n%s", loud, r.log)
	}
}
