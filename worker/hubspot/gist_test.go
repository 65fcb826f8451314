package hubspot

import (
	"strings"
	"testing"

	"crmintake/worker"
)

// What may be logged of an answer says what it is, and repeats no word that the CRM says of events.
func TestGist(t *testing.T) {
	const value = "cy@private"
	fault := `{"status":"error","category":"VALIDATION_ERROR","message":"` + value + ` is not valid"}`
	for name, c := range map[string]struct {
		status int
		body   string
		want   string // of the gist
	}{
		"refused":          {400, fault, "400 VALIDATION_ERROR"},
		"conflict":         {409, strings.ReplaceAll(fault, "VALIDATION_ERROR", "CONFLICT"), "409 CONFLICT"},
		"failed":           {500, fault, "500 VALIDATION_ERROR"},
		"forbidden":        {403, fault, "403 VALIDATION_ERROR (grant the credential"},
		"an error unnamed": {207, complete(`"results":[],"numErrors":1,"errors":[` + fault + `]`), "207: 0 created"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := client(t, fixed(c.status, nil, c.body))
			check := func(call worker.Call, want string) {
				t.Helper()
				if strings.Contains(call.Gist, value) || !strings.HasPrefix(call.Gist, want) {
					t.Errorf("%q, want %q without the value", call.Gist, want)
				}
				if !strings.HasPrefix(call.Detail, call.Gist) || !strings.Contains(call.Detail, value) {
					t.Errorf("in full: %q, want %q and the CRM's words", call.Detail, call.Gist)
				}
			}
			check(cl.Create(t.Context(), "contacts", three()).Call, c.want)
			if c.status == 207 {
				c.want = "207 that proves nothing"
			}
			check(cl.Read(t.Context(), "contacts", idProperty, []string{value}, nil).Call, c.want)
		})
	}
}
