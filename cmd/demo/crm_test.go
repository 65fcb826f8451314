package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The simulated CRM alone: it says where it is and what it knows, answers whoever has the token, and ends in order.
func TestCRM(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, outs := io.Pipe()
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, []string{"crm", "--addr", "127.0.0.1:0", "--token", "open", "--latency", "0s"}, outs, &errs)
		outs.Close()
	}()
	said := bufio.NewReader(out)
	var lines []string
	for range 5 {
		line, err := said.ReadString('\n')
		if err != nil {
			t.Fatalf("%v, exit code %d\n%s", err, <-ended, &errs)
		}
		lines = append(lines, line)
	}
	for k, want := range []string{"companies (unique: source_event_id): ",
		"contacts (unique: source_event_id, email): ", "deals (unique: source_event_id): "} {
		if !strings.HasPrefix(lines[k+1], want) {
			t.Errorf("it says %q, want %q", lines[k+1], want)
		}
	}
	address := strings.TrimSuffix(lines[0][strings.Index(lines[0], "http://"):], ".\n")
	if want := "For a worker: export CRMINTAKE_HUBSPOT_URL=" + address +
		" CRMINTAKE_HUBSPOT_TOKEN='open' CRMINTAKE_QUOTA=190/10s " +
		"CRMINTAKE_ID_PROPERTY=companies=source_event_id,contacts=source_event_id,deals=source_event_id\n"; lines[4] != want {
		t.Errorf("it says %q, want %q", lines[4], want)
	}
	url := strings.TrimSuffix(lines[0][strings.Index(lines[0], "http://"):], ".\n") + "/crm/objects/2026-03/"
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		token, objectType, properties string
		want                          int
	}{
		{"open", "deals", `{"dealname": "Order 1", "dealstage": "closedwon", "source_event_id": "1"}`, http.StatusCreated},
		{"open", "contacts", `{"email": "anna@example.com", "firstname": "Anna"}`, http.StatusCreated},
		{"open", "companies", `{"name": "Example", "domain": "example.com"}`, http.StatusCreated},
		{"open", "deals", `{"dealname": "Order 2", "dealstgae": "closedwon"}`, http.StatusBadRequest},
		{"open", "contracts", `{"hs_name": "Lease"}`, http.StatusBadRequest},
		{"another", "deals", `{"dealname": "Order 1"}`, http.StatusUnauthorized},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+c.objectType+"/batch/create",
			strings.NewReader(`{"inputs": [{"properties": `+c.properties+`, "associations": []}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+c.token)
		r.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.want {
			t.Errorf("%+v: status %d (%v)\n%s", c, answer.StatusCode, err, body)
		}
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d\n%s", code, &errs)
	}
}

func TestCRMUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"crm", "--quota", "some"}, {"crm", "--token", ""}, {"crm", "--latency", "-1s"}} {
		var out, errs bytes.Buffer
		if code := execute(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%v: exit code %d, want 2\n%s%s", args, code, &out, &errs)
		}
	}
}
