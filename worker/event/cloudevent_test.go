package event

import (
	"crmintake/worker"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStructuredMode(t *testing.T) {
	for contentType, want := range map[string]string{ // "" for neither, "structured", or what the fault holds
		"":                 "",
		"application/json": "",
		"text/plain; format=application/cloudevents+json":  "",
		"application/cloudevents+json":                     "structured",
		"Application/CloudEvents+JSON ; charset=UTF-8":     "structured",
		"application/cloudevents-batch+json":               "message of its own",
		"application/cloudevents-batch+json;charset=utf-8": "message of its own",
		"application/cloudevents+xml":                      "application/cloudevents+json",
		"application/cloudevents":                          "application/cloudevents+json",
	} {
		structured, fault := StructuredMode(contentType)
		if structured != (want == "structured") || (fault == "") != (want == "" || structured) ||
			fault != "" && !strings.Contains(fault, want) {
			t.Errorf("%s: %v, %q", contentType, structured, fault)
		}
	}
}

func TestReadStructured(t *testing.T) {
	const good = `{"properties":{"name": "n"}}`
	envelope := func(more string) string { return `{"specversion":"1.0","id":"i","source":"/s","type":"t"` + more + `}` }
	for name, c := range map[string]struct {
		body string
		// What becomes of it: the whole body is kept with a fault, unless payload says otherwise.
		id, payload, fault string
	}{
		"usual":      {envelope(`,"data":` + good), "/s/i", good, ""},
		"data first": {`{"data": ` + good + ` ,"source":"/s","id":"i","specversion":"1.0"} `, "/s/i", good, ""},
		"JSON of a kind": {envelope(`,"datacontenttype":"Application/vnd.deal+JSON; charset=utf-8","data":` + good), "/s/i",
			good, ""},
		"null is absent": {envelope(`,"datacontenttype":null,"data_base64":null,"subject":null,"data":` + good), "/s/i", good,
			""},
		"extensions":      {envelope(`,"tenant":"eu","n":1,"x":{"specversion":[1]},"data":` + good), "/s/i", good, ""},
		"escaped":         {envelope(`,"d\u0061ta":` + good), "/s/i", good, ""},
		"slash in the id": {`{"specversion":"1.0","id":"eu/1","source":"/s","data":` + good + `}`, "/s/eu%2F1", good, ""},
		"bad data": {envelope(`,"data":{"properties":{"n":[]}}`), "/s/i", `{"properties":{"n":[]}}`,
			"properties.n: found an array"},
		"data is text": {envelope(`,"data":"{\"properties\":{}}"`), "/s/i", `"{\"properties\":{}}"`,
			"found a string, want an object"},
		"bytes":     {envelope(`,"data_base64":"eyJ9"`), "/s/i", "", "data_base64"},
		"not JSON":  {envelope(`,"datacontenttype":"text/xml","data":"<a/>"`), "/s/i", "", `datacontenttype is "text/xml"`},
		"no data":   {envelope(``), "/s/i", "", "data is missing"},
		"null data": {envelope(`,"data":null`), "/s/i", "", "data is missing"},
		"another version": {`{"specversion":"0.3","id":"i","source":"/s","data":` + good + `}`, "/s/i", "",
			`specversion is "0.3"`},
		"no id":     {`{"specversion":"1.0","source":"/s","data":` + good + `}`, hereName, "", "id is missing"},
		"no source": {`{"specversion":"1.0","id":"i","data":` + good + `}`, hereName, "", "source is missing"},
		"a number for an id": {`{"specversion":"1.0","id":1,"source":"/s","data":` + good + `}`, hereName, "",
			"id: found a number, want a string"},
		"id too long": {`{"specversion":"1.0","id":"` + strings.Repeat("i", 254) + `","source":"/s","data":` + good + `}`,
			hereName, "", "257 bytes"},
		"an attribute twice": {envelope(`,"data":` + good + `,"data":` + good), "/s/i", "",
			"data: the member appears twice"},
		"cut off":             {envelope(`,"data":` + good)[:60], "/s/i", "", "not JSON"},
		"something behind it": {envelope(`,"data":`+good) + `{}`, "/s/i", "", "something follows"},
		// Not of the kind, and what is wrong with it is what was wrong with it before.
		"a plain event":     {good, hereName, good, ""},
		"a bad plain event": {`{"properties":{},"data":{}}`, hereName, "", "data: unknown member"},
		"no event":          {`[{"specversion":"1.0"}]`, hereName, "", "found an array, want an object"},
		"within":            {`{"data":{"specversion":"1.0"}}`, hereName, "", "data: unknown member"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &worker.Event{ID: hereName, Former: "S:7", Subject: "crm.create.deals", ObjectType: "deals",
				Payload: []byte(c.body),
				Stream:  here.Stream, StreamSeq: here.Seq, Published: here.Published}
			content := Read(e, "key")
			if c.payload == "" {
				c.payload = c.body
			}
			if e.ID != c.id || string(e.Payload) != c.payload || (e.Invalid == "") != (c.fault == "") ||
				!strings.Contains(e.Invalid, c.fault) {
				t.Errorf("%s, %s, %q; want %s, %s, %q", e.ID, e.Payload, e.Invalid, c.id, c.payload, c.fault)
			}
			if e.Invalid == "" && (content.Hash != Hash(e.Subject, e.Payload) || content.Input.IDValue != c.id) {
				t.Errorf("the hash is not the data's, or the id property has %q", content.Input.IDValue)
			}
			if content.Former.ID != "S:7" || content.Former.Hash != Hash(e.Subject, []byte(c.body)) {
				t.Errorf("former: %+v", content.Former)
			}
		})
	}
}

// With a content type that says so, the body must be one. A header's id goes first.
func TestReadStructuredByItsHeader(t *testing.T) {
	for body, want := range map[string][2]string{
		`{"specversion":"1.0","id":"i","source":"/s","data":{"properties":{}}}`: {"mine", ""},
		`{"specversion":"1.0","data":{"properties":{}}}`:                        {"mine", ""},
		`{"properties":{}}`: {"mine", "specversion is \"\""},
		`not JSON`:          {"mine", "not JSON"},
	} {
		e := &worker.Event{ID: "mine", Structured: true, Payload: []byte(body)}
		Read(e, "")
		if e.ID != want[0] || (e.Invalid == "") != (want[1] == "") || !strings.Contains(e.Invalid, want[1]) {
			t.Errorf("%s: %s, %q", body, e.ID, e.Invalid)
		}
	}
}

func FuzzCloudEvent(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"i","source":"/s","datacontenttype":"application/json",` +
		`"data":{"properties":{}},"x":null}`))
	f.Add([]byte(`{"data_base64":"e30=","specversion":"1.0"}`))
	f.Add([]byte(`{"\u0069d":"\ud83d\ude00","data": [ 1 ] ,"data":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, found := openCloudEvent(body)
		if c.fault != "" {
			if !utf8.ValidString(c.fault) || strings.ContainsRune(c.fault, 0) || len(c.fault) > 4096 {
				t.Fatalf("%q", c.fault)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("taken, and not JSON: %q", body)
		}
		var id, source string
		for name, to := range map[string]*string{"id": &id, "source": &source} {
			if raw := want[name]; raw != nil && json.Unmarshal(raw, to) != nil {
				t.Fatalf("%s: %q", name, body)
			}
		}
		if !found || string(want["data"]) != string(c.data) || id != c.id || source != c.source {
			t.Fatalf("%q: %+v", body, c)
		}
	})
}
