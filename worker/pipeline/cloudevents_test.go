package pipeline_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/nats-io/nats.go"

	"crmintake/worker/hubspot/hubspottest"
)

func (r *streamRig) publishMessage(body string, headers ...string) {
	r.t.Helper()
	m := &nats.Msg{Subject: "crm.create.contracts", Data: []byte(body), Header: nats.Header{}}
	for k := 0; k < len(headers); k += 2 {
		m.Header.Set(headers[k], headers[k+1])
	}
	_, err := r.js().PublishMsg(r.t.Context(), m)
	r.must(err)
}

const inStructuredMode = "application/cloudevents+json; charset=utf-8"

// A CloudEvent is the same event in either mode, with or without a content type, and however its envelope is written.
func TestCloudEventsInBothModes(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	const good, misspelled = `{"properties":{"name":"n"}}`, `{"properties":{"nmae":"n"}}`
	for range 2 {
		r.publishMessage(good, "ce-specversion", "1.0", "ce-source", "/s", "ce-id", "eu/1", "content-type", "application/json")
		r.publishMessage(`{"specversion":"1.0","id":"eu/1","source":"/s","type":"t","data":` + good + `}`)
		r.publishMessage(`{"data":`+good+`,"source":"/s","id":"eu/1","time":"2026-11-28T12:00:00Z","specversion":"1.0"}`, "Content-Type", inStructuredMode)
		r.publishMessage(`{"specversion":"1.0","id":"2","source":"/s","data":` + misspelled + `}`)
		r.publishMessage(`{"specversion":"1.0","id":"3","source":"/s","data":`+good+`}`, "Nats-Msg-Id", "mine", "content-type", inStructuredMode)
		// Each of these is one dead letter, however often it comes.
		r.publishMessage(`{"specversion":"1.0","id":"4","source":"/s","time":"2026-11-28T12:00:00Z","data_base64":"e30="}`)
		r.publishMessage(`{"specversion":"1.0","id":"5","source":"/s","datacontenttype":"text/xml","data":"<a/>"}`, "content-type", inStructuredMode)
		r.drain(config())
		r.must(r.remakeStream()) // it takes the id again
	}
	r.publishMessage(`[{"specversion":"1.0","id":"6","source":"/s","data":`+good+`}]`, "content-type", "application/cloudevents-batch+json")
	r.drain(config())
	r.expect(`SELECT `+placeless+`, status, reason FROM outbox ORDER BY event_id COLLATE "C"`, "/s/2 dead rejected", "/s/4 dead invalid_event",
		"/s/5 dead invalid_event", "/s/eu%2F1 created <nil>", "CRM_EVENTS@:1 dead invalid_event", "mine created <nil>")
	r.expect(`SELECT convert_from(payload, 'UTF8') FROM outbox WHERE event_id IN ('/s/2', '/s/4') ORDER BY event_id`, misspelled,
		`{"specversion":"1.0","id":"4","source":"/s","time":"2026-11-28T12:00:00Z","data_base64":"e30="}`)
	r.expect(`SELECT error FROM outbox WHERE event_id LIKE 'CRM_EVENTS%'`,
		`the content type is "application/cloudevents-batch+json", a batch of CloudEvents; send each of them as a message of its own`)
	r.expect(`SELECT count(*) FROM outbox_error WHERE category = 'invalid_event'`, "3")
	if n := r.crm.Count("contracts", idProperty); len(n) != 2 || n["/s/eu%2F1"] != 1 || n["mine"] != 1 {
		t.Errorf("records: %v", n)
	}
}

// What an older program made of CloudEvents in structured mode is known when the same messages come again.
func TestStructuredModeOfAnOlderProgram(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	const body = `{"specversion":"1.0","id":"1","source":"/s","data":{"properties":{"name":"n"}}}`
	r.publishMessage(body)
	r.bury(1, "CRM_EVENTS:1", body)
	r.drain(config())
	r.expect(`SELECT event_id, status FROM outbox`, "CRM_EVENTS:1 dead")
	if n := r.crm.Len("contracts"); n != 0 {
		t.Errorf("%d records, want none", n)
	}
}

// What the official JavaScript SDK makes of events: see emit.mjs beside it.
func TestCloudEventsOfTheJavaScriptSDK(t *testing.T) {
	t.Parallel()
	type message struct {
		Headers map[string]string
		Body    string
	}
	var events map[string]map[string]message
	text, err := os.ReadFile("testdata/cloudevents/js.json")
	if err == nil {
		err = json.Unmarshal(text, &events)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, hubspottest.Config{})
	for _, mode := range []string{"structured", "alone", "binary", "structured"} {
		for name, modes := range events {
			m, ok := modes[mode]
			if !ok {
				t.Fatalf("%s has no mode %s", name, mode)
			}
			var headers []string
			for name, value := range m.Headers {
				headers = append(headers, name, value)
			}
			r.publishMessage(m.Body, headers...)
		}
		r.drain(config())
	}
	// With data that is given to it as bytes or as text, the two modes are of different content: in binary mode it is
	// the event itself, and in structured mode bytes in base64, and a string with JSON in it.
	r.expect(`SELECT DISTINCT `+placeless+`, status, error FROM outbox WHERE reason IS DISTINCT FROM 'id_reused' ORDER BY 1`,
		"/shop/eu/js%2F2 created <nil>", "/shop/eu/js-1 created <nil>",
		"/shop/eu/js-3 dead data_base64: the event comes as bytes; send its object as data, in JSON",
		"/shop/eu/js-4 dead the event: found a string, want an object (byte 40)")
	r.expect(`SELECT split_part(event_id, '#', 1) FROM outbox WHERE reason = 'id_reused' ORDER BY 1`, "/shop/eu/js-3", "/shop/eu/js-4")
	if n := r.crm.Count("contracts", idProperty); len(n) != 2 || n["/shop/eu/js-1"] != 1 || n["/shop/eu/js%2F2"] != 1 {
		t.Errorf("records: %v", n)
	}
}
