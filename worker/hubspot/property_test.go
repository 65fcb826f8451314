package hubspot

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"crmintake/worker"
)

func TestPropertyRequest(t *testing.T) {
	var got, body string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization"), string(b)
	})
	c.Property(t.Context(), "contacts", "event_id")
	if got != "GET /crm/properties/2026-03/contacts/event_id Bearer pat-test" || body != "" {
		t.Errorf("%s %q", got, body)
	}
	for _, name := range [][2]string{{"contacts", "a/b"}, {"con tacts", "a"}, {"", "a"}, {"a", ""}} {
		if _, class, call := c.Property(t.Context(), name[0], name[1]); class != worker.PauseObjectType || !strings.Contains(call.Detail, "nothing was sent") {
			t.Errorf("%q: %v %v", name, class, call)
		}
	}
}

func TestPropertyAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		class  worker.Class
		want   Property
	}{
		"unique":         {200, `{"name":"p","type":"string","hasUniqueValue":true,"archived":false,"more":[1]}`, worker.Answered, Property{Name: "p", Type: "string", HasUniqueValue: true}},
		"read-only":      {200, `{"name":"p","type":"number","modificationMetadata":{"readOnlyValue":true}}`, worker.Answered, Property{Name: "p", Type: "number", ReadOnly: true}},
		"calculated":     {200, `{"name":"p","calculated":true,"archived":true}`, worker.Answered, Property{Name: "p", ReadOnly: true, Archived: true}},
		"another":        {200, `{"name":"q","hasUniqueValue":true}`, worker.Ambiguous, Property{}},
		"another's type": {200, `{"name":"p","hasUniqueValue":"yes"}`, worker.Ambiguous, Property{}},
		"nothing":        {200, ``, worker.Ambiguous, Property{}},
		"HTML":           {200, `<html>`, worker.Ambiguous, Property{}},
		"missing":        {404, `{"category":"OBJECT_NOT_FOUND","message":"none"}`, worker.PauseObjectType, Property{}},
		"no credential":  {401, `{"category":"INVALID_AUTHENTICATION"}`, worker.PauseAccount, Property{}},
		"throttled":      {429, `{"policyName":"SECONDLY"}`, worker.Throttled, Property{}},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{"X-HubSpot-RateLimit-Max": {"190"}}
			got, class, call := client(t, fixed(c.status, header, c.body)).Property(t.Context(), "contacts", "p")
			if got != c.want || class != c.class || call.Status != c.status || call.Limits.Max != 190 {
				t.Errorf("%+v, %v, %+v", got, class, call)
			}
			if class != worker.Answered && call.Detail == "" {
				t.Error("no detail")
			}
		})
	}
}
