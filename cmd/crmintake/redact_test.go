package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

// person marks values of properties: what a CRM holds of somebody.
const person = "jane-doe-at-example"

// personalEvents are events of all kinds of ends, each with the value in it. The last one has the first one's id.
var personalEvents = []string{
	`{"properties":{"name":"` + person + ` created","event_id":"a"}}`,
	`{"properties":{"nmae":"` + person + ` rejected","event_id":"b"}}`,
	`{"properties":{"stage":"` + person + ` no option","event_id":"c"}}`,
	`{"properties":{"name":"` + person + ` first of two","event_id":"` + person + `"}}`,
	`{"properties":{"name":"` + person + ` conflicting","event_id":"` + person + `"}}`,
	`{"properties":{"name":["` + person + ` invalid"]}}`,
	`{"properties":{"name":"` + person + ` no JSON`,
	`{"properties":{"name":"` + person + ` reused","event_id":"d"}}`,
}

// quoting is a CRM whose errors quote values, as the real one's do.
func quoting(t *testing.T) string {
	t.Helper()
	crm, err := hubspottest.New(hubspottest.Config{Token: secret, ObjectTypes: map[string]hubspottest.ObjectType{
		"contracts": {Properties: []string{"name", "stage"}, Unique: []string{"event_id"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		odd := strings.Contains(r.URL.Path, "/teapots/")
		if odd || bytes.Contains(body, []byte(`"stage"`)) {
			w.Header().Set("Content-Type", "application/json")
			if odd { // which pauses the object type
				w.WriteHeader(http.StatusTeapot)
			} else {
				w.WriteHeader(http.StatusBadRequest)
			}
			fmt.Fprintf(w, `{"status":"error","category":"VALIDATION_ERROR","message":%q}`,
				`Property values were not valid: [{"isValid":false,"message":"`+
					person+` no option was not one of the allowed options","error":"INVALID_OPTION","name":"stage"}]`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		crm.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte("already exists"),
			[]byte("with "+person+" already exists")))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// personalData has gone through a worker, whose log it returns. Commands find all that they need in the environment.
func personalData(t *testing.T) (log string) {
	t.Helper()
	server, js := startNATS(t)
	for name, value := range map[string]string{
		"NATS_URL": server.URL(), "DATABASE_URL": outboxtest.New(t), "HUBSPOT_URL": quoting(t), "HUBSPOT_TOKEN": secret,
		"BATCH_WAIT": "50ms", "AS": "ann",
		"ID_PROPERTY": "contracts=event_id",
	} {
		setenv(t, "CRMINTAKE_"+name, value)
	}
	crmintake(t, "", "init").want(t, 0)
	run := func(created string) {
		t.Helper()
		r := crmintake(t, "", "run", "--drain", "--log-level", "debug")
		r.want(t, 0, created)
		log += r.err
	}
	for i, event := range personalEvents {
		last := len(personalEvents) - 1
		if i == last {
			run("created=2")
		}
		m := nats.NewMsg("crm.create.contracts")
		m.Data = []byte(event)
		m.Header.Set("ce-source", "test")
		m.Header.Set("ce-id", fmt.Sprint(i%last))
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	run("dead=1")
	for _, reason := range []string{"rejected", "conflict", "invalid_event", "id_reused"} {
		crmintake(t, "", "dead", "list", "--dead-reason", reason).want(t, 0, "test/")
	}
	return log
}

// Logs never carry the values of properties, whatever becomes of an event.
func TestLogsHaveNoValues(t *testing.T) {
	t.Parallel()
	if log := personalData(t); strings.Contains(log, person) || !strings.Contains(log, "400 VALIDATION_ERROR") {
		t.Errorf("the log has a property's value, or does not tell of the answer that quoted it:\n%s", log)
	}
}

// Nor does the reason of a pause, which is logged and shown.
func TestPausesHaveNoValues(t *testing.T) {
	t.Parallel()
	personalData(t)
	crmintake(t, personalEvents[0], "publish", "--object-type", "teapots", "-").want(t, 0)
	_, log, stop := running(t, "run")
	until(t, "calls are paused", func() bool { return strings.Contains(log.String(), "calls are paused") })
	stop()
	r := crmintake(t, "", "status")
	r.want(t, 0, "teapots", "418 VALIDATION_ERROR")
	if strings.Contains(log.String()+r.out, person) {
		t.Errorf("a property's value is told: %s%s", log, r.out)
	}
}

// With --redact nothing that is shown has one; without it, what helps to mend an event is there.
func TestRedact(t *testing.T) {
	t.Parallel()
	personalData(t)
	crmintake(t, "", "dead", "edit", "test/1", "--set", "properties.name="+person, "--yes").want(t, 0)
	crmintake(t, "", "dead", "edit", "--text", person, "--set", "properties.name="+person+" too", "--yes").want(t, 0)
	crmintake(t, "", "dead", "replay", "--text", person, "--yes", "--rate", "0.001", "--detach").want(t, 0)
	shown := 0
	for _, command := range []string{
		"outbox list", "outbox get test/0", "outbox get test/1", "outbox get test/2", "outbox get test/5", "dead list",
		"dead groups",
		"dead show test/1", "dead show test/2", "dead show test/4", "dead show test/6", "audit", "replay list",
		"replay show 1",
		"dead discard --all --reason x --dry-run", "dead replay --all --dry-run",
		"dead edit --all --unset properties.x --dry-run",
	} {
		for _, format := range []string{"text", "json"} {
			args := append(strings.Fields(command), "--output", format)
			plain := crmintake(t, "", args...)
			plain.want(t, 0)
			if strings.Contains(plain.out, person) {
				shown++
			}
			r := crmintake(t, "", append(args, "--redact")...)
			r.want(t, 0)
			if strings.Contains(r.out+r.err, person) {
				t.Errorf("%s --output %s --redact shows a value:\n%s", command, format, r.out)
			}
		}
	}
	if shown < 20 {
		t.Errorf("only %d of these show a value without --redact: what is there to keep out?", shown)
	}
	crmintake(t, "", "dead", "list", "--redact").want(t, 0, redacted, "rejected", "test/2")
	crmintake(t, "", "dead", "show", "test/2", "--redact").want(t, 0, "VALIDATION_ERROR", "stage", "INVALID_OPTION")

	setenv(t, "CRMINTAKE_REDACT", "true")
	crmintake(t, "", "dead", "list").want(t, 0, redacted)
	crmintake(t, "", "dead", "export").want(t, 2, "--no-redact")
	crmintake(t, "", "dead", "export", "--no-redact").want(t, 0, person)
}
