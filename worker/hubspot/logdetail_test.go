package hubspot

import (
	"strings"
	"testing"

	"crmintake/worker"
)

// What may be logged of an answer says what it is, and repeats no word that the CRM says of events.
func TestLogDetail(t *testing.T) {
	const value = "cy@private"
	fault := `{"status":"error","category":"VALIDATION_ERROR","message":"` + value + ` is not valid"}`
	for name, c := range map[string]struct {
		status int
		body   string
		want   string // of the gist
	}{
		"refused":   {400, fault, "400 VALIDATION_ERROR"},
		"conflict":  {409, strings.ReplaceAll(fault, "VALIDATION_ERROR", "CONFLICT"), "409 CONFLICT"},
		"failed":    {500, fault, "500 VALIDATION_ERROR"},
		"forbidden": {403, fault, "403 VALIDATION_ERROR (grant the credential"},
		"missing scopes": {403, `{"category":"MISSING_SCOPES","message":"` + value +
			`","errors":[{"context":{"requiredGranularScopes":["crm.b.write","crm.a.write","` +
			value + `"]}}]}`, "403 MISSING_SCOPES (grant the credential the scopes crm.a.write, crm.b.write)"},
		"missing scopes, in Java": {403, `{"category":"MISSING_SCOPES","message":"` + value +
			`","context":"{missingScopes=[crm.b.write, crm.a.write]}"}`,
			"403 MISSING_SCOPES (grant the credential the scopes crm.a.write, crm.b.write)"},
		"object type": {400, `{"message":"Unable to infer object type from: ` + value + `"}`,
			"400 Bad Request (the account does not know the object type)"},
		"not found": {404, `{"category":"OBJECT_NOT_FOUND","message":"` + value + `"}`,
			"404 OBJECT_NOT_FOUND (check the object type"},
		"an error unnamed": {207, complete(`"results":[],"numErrors":1,"errors":[` + fault + `]`), "207: 0 created"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := client(t, fixed(c.status, nil, c.body))
			check := func(call worker.Call, want string) {
				t.Helper()
				if strings.Contains(call.LogDetail, value) || !strings.HasPrefix(call.LogDetail, want) {
					t.Errorf("%q, want %q without the value", call.LogDetail, want)
				}
				if !strings.HasPrefix(call.Detail, call.LogDetail) || !strings.Contains(call.Detail, value) {
					t.Errorf("in full: %q, want %q and the CRM's words", call.Detail, call.LogDetail)
				}
			}
			check(cl.Create(t.Context(), "contacts", three()).Call, c.want)
			if c.status == 404 { // a read's speaks of its values
				c.want = "404 that tells nothing of 1 of 1 values"
			}
			if c.status == 207 {
				c.want = "207 that tells nothing of 1 of 1 values"
			}
			check(cl.Read(t.Context(), "contacts", idProperty, []string{value}, nil).Call, c.want)
		})
	}
}
