package hubspot

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"crmintake/worker"

	"github.com/google/go-cmp/cmp"
)

// A refusal that may be about what one input holds says so, and one that is certainly about the path or the object type
// does not.
func TestPerhapsOneInput(t *testing.T) {
	const unable = `"message":"Unable to infer object type from: leases"`
	sensitive := `{"category":"MISSING_SCOPES","message":"no","errors":[{"context":{"propertyName":["ssn"],` +
		`"requiredGranularScopes":["crm.objects.contacts.sensitive.write"]}}]}`
	for name, c := range map[string]struct {
		status  int
		body    string
		class   worker.Class
		perhaps bool
	}{
		"403":      {403, sensitive, worker.PauseObjectType, true},
		"403 HTML": {403, html, worker.PauseObjectType, false},
		"404 of an association's target": {404, `{"category":"OBJECT_NOT_FOUND","message":"The associated object does not ` +
			`exist"}`, worker.PauseObjectType, true},
		"404 that is cut short":  {404, `{"category":"OBJECT_NOT_FOUND","mess`, worker.PauseObjectType, true},
		"404 HTML":               {404, html, worker.PauseObjectType, false},
		"404 without a body":     {404, ``, worker.PauseObjectType, false},
		"404 of the object type": {404, `{"category":"OBJECT_NOT_FOUND",` + unable + `}`, worker.PauseObjectType, false},
		"405":                    {405, sensitive, worker.PauseObjectType, false},
		"301":                    {301, sensitive, worker.PauseObjectType, false},
		"400 of the object type": {400, `{"status":"error",` + unable + `,"correlationId":"c"}`, worker.PauseObjectType,
			false},
		"400 of a type named for an association": {400, `{"message":"Unable to infer object type from: associates"}`,
			worker.PauseObjectType, false},
		"400 in other words":        {400, `{"message":"Object type 2-7 does not exist"}`, worker.PauseObjectType, false},
		"400 in others":             {400, `{"message":"Invalid object type: leases"}`, worker.PauseObjectType, false},
		"400 with a category":       {400, `{"category":"VALIDATION_ERROR",` + unable + `}`, worker.Refused, false},
		"400 that names an input":   {400, `{` + unable + `,"context":{"objectWriteTraceId":["ta"]}}`, worker.Refused, false},
		"400 that names a stranger": {400, `{` + unable + `,"context":{"objectWriteTraceId":["zz"]}}`, worker.Refused, false},
		"400 with an error that has a category": {400, `{` + unable + `,"errors":[{"category":"VALIDATION_ERROR"}]}`,
			worker.Refused, false},
		"400 of an association": {400, `{"message":"Invalid object type for association: leases"}`, worker.Refused, false},
		"400 of a value": {400, `{"message":"Property \"x\": Unable to infer object type from: leases"}`, worker.Refused,
			false},
		"500": {500, `{` + unable + `}`, worker.Ambiguous, false},
	} {
		t.Run(name, func(t *testing.T) {
			cl := client(t, fixed(c.status, nil, c.body))
			for n := 1; n <= 3; n += 2 {
				a := cl.Create(t.Context(), "contacts", three()[:n])
				if a.Class != c.class || a.Call.PerhapsOneInput != c.perhaps {
					t.Errorf("%d inputs: class %v, perhaps one input %v: %s", n, a.Class, a.Call.PerhapsOneInput, a.Call.Detail)
				}
				if told := len(a.Outcomes[0].Errors) > 0; a.Class == worker.PauseObjectType &&
					(told != (c.perhaps && n == 1) || a.Outcomes[0].Verdict != worker.NotApplied) {
					t.Errorf("%d inputs: %+v", n, a.Outcomes[0])
				}
				checkLaws(t, a, n)
			}
			if a := cl.Read(t.Context(), "contacts", idProperty, []string{"a", "b"}, nil); a.Call.PerhapsOneInput {
				t.Error("a read has no input")
			}
		})
	}
	got := client(t, fixed(403, nil, sensitive)).Create(t.Context(), "contacts", three()[:1]).Outcomes[0]
	want := worker.Outcome{Verdict: worker.NotApplied,
		Errors: []worker.APIError{{Category: "MISSING_SCOPES", Message: "no", Property: "ssn", Raw: []byte(sensitive)}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What surrounds the verdicts.
func TestCreateDetails(t *testing.T) {
	result := `{ "id":"1","properties":{"email":"ann@x"},"url":"https://app/1","objectWriteTraceId":"ta",` +
		`"warnings":[{"m":1}]}`
	raw := `{"status":"error", "category":"VALIDATION_ERROR","message":"a\u0000b ` + "\xff" +
		`","context":{"objectWriteTraceId":["tb"],"p":["q"]}}`
	nameless := `{"category":"OTHER","message":"x"}`
	header := http.Header{"X-HubSpot-Correlation-Id": {"corr-1"}, "X-HubSpot-RateLimit-Max": {"190"},
		"X-HubSpot-RateLimit-Remaining":             {"x"},
		"X-HubSpot-RateLimit-Interval-Milliseconds": {"10000"}, "X-HubSpot-RateLimit-Daily": {"250000"},
		"Date": {"Sun, 01 Feb 2026 00:00:10 GMT"}}
	a := client(t, fixed(207, header, complete(`"results":[`+result+`],"errors":[`+raw+`,`+nameless+`]`)),
		func(c *Config) { c.KeepResult = true }).
		Create(t.Context(), "contacts", three())
	a.Call.Duration = 0
	want := worker.Answer{
		Class: worker.Answered,
		Outcomes: []worker.Outcome{
			{Verdict: worker.Created, RecordID: "1", URL: "https://app/1", Warnings: []byte(`[{"m":1}]`),
				Result: []byte(result)},
			{Verdict: worker.Rejected, Errors: []worker.APIError{{Category: "VALIDATION_ERROR", Message: "a\x00b \uFFFD",
				Raw: []byte(raw)}}},
			{Verdict: worker.Unknown, Errors: []worker.APIError{{Category: "OTHER", Message: "x", Raw: []byte(nameless)}}},
		},
		Call: worker.Call{Status: 207, Success: true, CorrelationID: "corr-1",
			Detail:    "207: 1 created, 1 rejected, 0 not applied, 1 unknown; 1 errors name no input, the first: OTHER x",
			LogDetail: "207: 1 created, 1 rejected, 0 not applied, 1 unknown; 1 errors name no input, the first: OTHER",
			Date:      time.Date(2026, 2, 1, 0, 0, 10, 0, time.UTC),
			Limits:    worker.Limits{Max: 190, Remaining: -1, Interval: 10 * time.Second, DailyMax: 250000, DailyRemain: -1}},
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
}

func TestErrorAnswerDetails(t *testing.T) {
	body := `{"category":"VALIDATION_ERROR","correlationId":"corr-2","message":"one\n two\u0000` +
		strings.Repeat("é", 1000) + `"}`
	call := client(t, fixed(400, nil, body)).Create(t.Context(), "contacts", three()).Call
	if call.CorrelationID != "corr-2" || string(call.Raw) != body {
		t.Errorf("correlation id %q, raw %q", call.CorrelationID, call.Raw)
	}
	if !strings.HasPrefix(call.Detail, "400 VALIDATION_ERROR: one two éé") || len(call.Detail) > maxDetail+len("…") {
		t.Errorf("detail of %d bytes: %s", len(call.Detail), call.Detail)
	}
	huge := strings.Repeat("x", 3*maxRaw)
	if call := client(t, fixed(502, nil, huge)).Create(t.Context(), "contacts", three()).Call; len(call.Raw) != maxRaw {
		t.Errorf("raw has %d bytes", len(call.Raw))
	}
	for status, want := range map[int]string{
		401: "401 Unauthorized (provide a valid access token)",
		307: "307 Temporary Redirect: redirects are not followed (to elsewhere.example)",
		477: "477",
	} {
		header := http.Header{"Location": {"https://elsewhere.example/?secret"}, "Content-Type": nil}
		if got := client(t, fixed(status, header, "")).Create(t.Context(), "contacts", three()).Call.Detail; got != want {
			t.Errorf("%d: detail %q, want %q", status, got, want)
		}
	}
}

// In a context of one string a trace id with a comma is still one.
func TestTraceIDWithComma(t *testing.T) {
	inputs := three()
	inputs[2].TraceID = "ta, tb"
	body := complete(`"errors":[{"category":"VALIDATION_ERROR","context":"{objectWriteTraceId=[ta, tb]}"}]`)
	a := client(t, fixed(207, nil, body)).Create(t.Context(), "contacts", inputs)
	if got := words(a.Outcomes); got != "unknown unknown rejected" {
		t.Error(got)
	}
}

// A contradiction keeps what was said.
func TestContradictionKeepsItsParts(t *testing.T) {
	first, second := `{"id":"1","objectWriteTraceId":"ta"}`, `{"id":"9","objectWriteTraceId":"ta"}`
	a := client(t, fixed(201, nil, complete(`"results":[`+first+`,`+second+`]`))).Create(t.Context(), "contacts",
		three()[:1])
	var kept []string
	for _, e := range a.Outcomes[0].Errors {
		kept = append(kept, string(e.Raw))
	}
	if diff := cmp.Diff([]string{second, first}, kept); diff != "" || a.Outcomes[0].Verdict != worker.Unknown {
		t.Error(a.Outcomes[0].Verdict, diff)
	}
}

// Nothing is sent of what can't be.
func TestCreateNotSent(t *testing.T) {
	c := client(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	many := make([]worker.Input, MaxInputs+1)
	broken := three()
	broken[1].Body = []byte("[]")
	for _, x := range []struct {
		objectType string
		inputs     []worker.Input
		class      worker.Class
		want       string
	}{
		{"contacts", nil, worker.Refused, ""},
		{"contacts", many, worker.Refused, strings.TrimSpace(strings.Repeat("not-applied ", len(many)))},
		{"contacts", broken, worker.Refused, "not-applied rejected not-applied"},
		{"../contacts", three(), worker.PauseObjectType, "not-applied not-applied not-applied"},
	} {
		a := c.Create(t.Context(), x.objectType, x.inputs)
		if a.Class != x.class || words(a.Outcomes) != x.want || a.Call.Status != 0 || a.Call.Detail == "" {
			t.Error(fmt.Sprint(a.Class, words(a.Outcomes), a.Call))
		}
	}
}
