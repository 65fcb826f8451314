package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each attempt has one wide line, loud where something went wrong; for machines each line is a JSON object.
func TestLogOfAttempts(t *testing.T) {
	t.Parallel()
	natsURL, databaseURL := ready(t)
	setenv(t, "CRMINTAKE_NATS_URL", natsURL)
	setenv(t, "CRMINTAKE_DATABASE_URL", databaseURL)
	setenv(t, "CRMINTAKE_HUBSPOT_URL", account(t).URL)
	setenv(t, "CRMINTAKE_HUBSPOT_TOKEN", secret)
	for event, want := range map[string]map[string]any{
		`{"properties":{"name":"a"}}`: {"level": "DEBUG", "inputs": 1., "created": 1., "rejected": 0., "status": 201.},
		`{"properties":{"nmae":"b"}}`: {"level": "INFO", "inputs": 1., "created": 0., "rejected": 1., "status": 207.},
	} {
		crmintake(t, event, "publish", "--object-type", "contracts", "-").want(t, 0)
		r := crmintake(t, "", "run", "--drain", "--log-format", "json", "--log-level", "debug")
		r.want(t, 0)
		var calls []map[string]any
		for _, line := range strings.Split(strings.TrimSpace(r.err), "\n") {
			var l map[string]any
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Errorf("%v: %s", err, line)
			}
			if l["msg"] == "call" {
				calls = append(calls, l)
			}
		}
		if len(calls) != 1 {
			t.Fatalf("%d lines of one attempt:\n%s", len(calls), r.err)
		}
		members := []string{"attempt", "correlation_id", "created", "detail", "duration", "inputs", "kind", "level",
			"msg", "not_applied",
			"object_type", "rejected", "status", "time", "unknown"}
		if diff := cmp.Diff(members, slices.Sorted(maps.Keys(calls[0]))); diff != "" {
			t.Error(diff)
		}
		for name, value := range want {
			if calls[0][name] != value {
				t.Errorf("%s is %v, want %v: %v", name, calls[0][name], value, calls[0])
			}
		}
	}
}
