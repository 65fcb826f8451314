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
		if _, class, call := c.Property(t.Context(), name[0], name[1]); class != worker.PauseObjectType ||
			!strings.Contains(call.Detail, "nothing was sent") {
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
		"unique": {200, `{"name":"p","type":"string","fieldType":"text","hasUniqueValue":true,"archived":false,"more":[1]}`,
			worker.Answered, Property{Name: "p", Type: "string", FieldType: "text", HasUniqueValue: true}},
		"read-only": {200, `{"name":"p","type":"number","modificationMetadata":{"readOnlyValue":true}}`, worker.Answered,
			Property{Name: "p", Type: "number", ReadOnly: true}},
		"calculated": {200, `{"name":"p","calculated":true,"archived":true}`, worker.Answered,
			Property{Name: "p", ReadOnly: true, Archived: true}},
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

// By values that the CRM rewrites a record may not be found again.
func TestRewritten(t *testing.T) {
	for _, c := range []struct {
		objectType string
		p          Property
		want       string
	}{
		{"contacts", Property{Name: "event_id", Type: "string", FieldType: "text"}, ""},
		{"deals", Property{Name: "email", Type: "string", FieldType: "text"}, ""},
		{"contacts", Property{Name: "email", Type: "string", FieldType: "text"}, "an email"},
		{"0-1", Property{Name: "email", Type: "string", FieldType: "text"}, "an email"},
		{"companies", Property{Name: "domain", Type: "string", FieldType: "text"}, "a domain"},
		{"deals", Property{Name: "no", Type: "number", FieldType: "number"}, "a number"},
		{"deals", Property{Name: "at", Type: "datetime", FieldType: "date"}, "a datetime"},
		{"deals", Property{Name: "on", Type: "date", FieldType: "date"}, "a date,"},
		{"deals", Property{Name: "line", Type: "string", FieldType: "phonenumber"}, "a phone number"},
		{"deals", Property{Name: "line", Type: "phone_number"}, "a phone number"},
	} {
		if got := c.p.Rewritten(c.objectType); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s %+v: %q, want %q…", c.objectType, c.p, got, c.want)
		}
	}
}
