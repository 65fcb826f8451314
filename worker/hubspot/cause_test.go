package hubspot

import (
	"net/http"
	"testing"

	"crmintake/worker"
)

// What the parts above need to know of a status is in the call, and not in the code.
func TestCause(t *testing.T) {
	const noType = `{"status":"error","message":"Unable to infer object type from: x"}`
	usedUp := http.Header{"X-HubSpot-RateLimit-Max": {"100"}, "X-HubSpot-RateLimit-Remaining": {"0"}}
	left := http.Header{"X-HubSpot-RateLimit-Max": {"100"}, "X-HubSpot-RateLimit-Remaining": {"1"}}
	asked := http.Header{"X-HubSpot-RateLimit-Max": {"100"}, "X-HubSpot-RateLimit-Remaining": {"0"}, "Retry-After": {"1"}}
	for name, c := range map[string]struct {
		status       int
		header       http.Header
		body         string
		cause        worker.Cause
		success      bool
		aboutAccount bool
	}{
		"created":              {status: 201, body: complete(`"results":[]`), success: true},
		"unreadable":           {status: 200, body: html, success: true},
		"refused":              {status: 400, body: invalid},
		"no type, 400":         {status: 400, body: noType, cause: worker.NotFound, aboutAccount: true},
		"no type, 404":         {status: 404, body: noType, cause: worker.NotFound, aboutAccount: true},
		"wrong address":        {status: 404, body: html, cause: worker.NotFound, aboutAccount: true},
		"credential":           {status: 401, cause: worker.BadCredential, aboutAccount: true},
		"scope":                {status: 403, cause: worker.MissingScope, aboutAccount: true},
		"method":               {status: 405, aboutAccount: true},
		"migration":            {status: 477, aboutAccount: true},
		"locked":               {status: 423, header: usedUp},
		"throttled":            {status: 429, aboutAccount: true},
		"throttled, some left": {status: 429, header: left, aboutAccount: true},
		"throttled, used up":   {status: 429, header: usedUp, cause: worker.QuotaUsed, aboutAccount: true},
		"throttled, asked":     {status: 429, header: asked, aboutAccount: true},
		"teapot":               {status: 418},
		"broken":               {status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			call := client(t, fixed(c.status, c.header, c.body)).Create(t.Context(), "contacts", three()).Call
			if call.Cause != c.cause || call.Success != c.success || call.AboutAccount != c.aboutAccount {
				t.Errorf("%+v, want %+v", call, c)
			}
		})
	}
	c := client(t, fixed(404, nil, `{"category":"OBJECT_NOT_FOUND","context":{"ids":["1"]}}`))
	if call := c.Read(t.Context(), "contacts", "", []string{"1"}, nil).Call; call.Cause != worker.NoCause ||
		!call.Success || call.AboutAccount {
		t.Errorf("a read of a record that is not there: %+v", call)
	}
	gone := client(t, fixed(200, nil, ""), func(cfg *Config) { cfg.BaseURL = "http://127.0.0.1:1" })
	none := client(t, fixed(200, nil, ""), func(cfg *Config) { cfg.Token = StaticToken("") })
	for want, c := range map[worker.Cause]*Client{worker.NoAnswer: gone, worker.BadCredential: none} {
		if call := c.Create(t.Context(), "contacts", three()).Call; call.Cause != want || call.Success {
			t.Errorf("%+v, want the cause %d", call, want)
		}
	}
}
