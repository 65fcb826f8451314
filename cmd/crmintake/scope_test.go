package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A refusal for want of a scope names it: in check, in the worker's log and in status.
func TestMissingScopeIsNamed(t *testing.T) {
	t.Parallel()
	newFixture(t)
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w,
			`{"status":"error","message":"This app hasn't been granted all required scopes to make this call.",`+
				`"category":"MISSING_SCOPES","errors":[{"message":"One or more of the following scopes are required.",`+
				`"context":{"requiredGranularScopes":["crm.objects.contracts.write"]}}]}`)
	}))
	t.Cleanup(crm.Close)
	setenv(t, "CRMINTAKE_HUBSPOT_URL", crm.URL)
	const scope = "grant the credential the scopes crm.objects.contracts.write"
	crmintake(t, "", "check").want(t, 0, "warning", scope)
	publish(t, "a")
	_, log, stop := running(t, "run")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	until(t, "calls are paused, and the log names the scope", func() bool {
		return strings.Contains(log.String(), `msg="calls are paused; events wait"`) && strings.Contains(log.String(), scope)
	})
	stop()
	crmintake(t, "", "status").want(t, 0, "crm.objects.contracts.write")
}
