package hubspot

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"crmintake/worker"
)

const idProperty = "email"

// three inputs: two have trace ids of their own, and two share an id value but for case.
func three() []worker.Input {
	return []worker.Input{
		{Body: []byte(`{"associations":[],"properties":{"email":"Ann@x"}}`), TraceID: "ta", IDValue: "Ann@x"},
		{Body: []byte(`{"associations":[],"properties":{"email":"bob@x"}}`), TraceID: "tb", IDValue: "bob@x"},
		{Body: []byte(`{"associations":[],"properties":{"email":"cy@x"}}`), IDValue: "cy@x"}, // gets i2
	}
}

// complete is a whole 2xx body.
func complete(members string) string {
	return `{"completedAt":"2026-02-01T00:00:00Z","status":"COMPLETE","startedAt":"2026-02-01T00:00:00Z",` + members + `}`
}

// words describes outcomes, one word each, as the tables have them.
func words(outcomes []worker.Outcome) string {
	var all []string
	for _, o := range outcomes {
		word := map[worker.Verdict]string{
			worker.Unknown: "unknown", worker.Created: "created", worker.Rejected: "rejected", worker.NotApplied: "not-applied",
		}[o.Verdict]
		if o.RecordID != "" {
			word += "=" + o.RecordID
		}
		if o.Conflict {
			word += "!" + o.Existing
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

// client returns a client of a server, and closes both after the test.
func client(t testing.TB, handler http.HandlerFunc, configure ...func(*Config)) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	cfg := Config{BaseURL: server.URL, Token: StaticToken("pat-test"),
		IDProperty: map[string]string{"contacts": idProperty}}
	for _, f := range configure {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); server.Close() })
	return c
}

func fixed(status int, header http.Header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for name, values := range header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

var (
	html     = "<html><body><h1>Bad Gateway</h1>\x00\xff</body></html>"
	conflict = `{"status":"error","category":"CONFLICT","message":"Contact already exists. Existing ID: 171591000198",` +
		`"context":{"objectWriteTraceId":["tb"]}}`
	invalid = `{"status":"error","category":"VALIDATION_ERROR","message":"bad","context":{"objectWriteTraceId":["tb"]}}`
)

// checkLaws are the promises that hold for any answer.
func checkLaws(t interface {
	Helper()
	Errorf(string, ...any)
}, a worker.Answer, inputs int) {
	t.Helper()
	if len(a.Outcomes) != inputs {
		t.Errorf("%d outcomes of %d inputs", len(a.Outcomes), inputs)
	}
	records := map[string]bool{}
	for i, o := range a.Outcomes {
		switch created := o.Verdict == worker.Created; {
		case created != (o.RecordID != ""), created && (len(o.Errors) > 0 || records[o.RecordID]),
			!created && (o.URL != "" || o.Result != nil || o.Warnings != nil):
			t.Errorf("outcome %d: %+v", i, o)
		case o.Conflict && o.Verdict != worker.Rejected, o.Existing != "" && !o.Conflict:
			t.Errorf("outcome %d: a conflict that is none: %+v", i, o)
		case a.Class == worker.Ambiguous && o.Verdict != worker.Unknown,
			a.Class != worker.Ambiguous && a.Class != worker.Answered && (o.Verdict == worker.Unknown || created):
			t.Errorf("outcome %d of class %v: %+v", i, a.Class, o)
		}
		records[o.RecordID] = true
		for _, e := range o.Errors {
			if len(e.Raw) > maxRaw || len(e.Message) > maxRaw {
				t.Errorf("outcome %d: an error of %d bytes", i, len(e.Raw))
			}
		}
	}
	if len(a.Call.Detail) > maxDetail+len("…") || strings.ContainsAny(a.Call.Detail, "\n\r\x00") {
		t.Errorf("detail %q", a.Call.Detail)
	}
	if a.Class == worker.Answered != (a.Call.Raw == nil) && a.Call.Status != 0 && a.Class == worker.Answered {
		t.Errorf("class %v with raw %q", a.Class, a.Call.Raw)
	}
}
