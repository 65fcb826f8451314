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

// The simulated CRM alone: it says where it is, answers whoever has the token, and ends in order.
func TestCRM(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, outs := io.Pipe()
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, []string{"crm", "--addr", "127.0.0.1:0", "--token", "open", "--latency", "0s"}, outs, &errs)
		outs.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v, exit code %d\n%s", err, <-ended, &errs)
	}
	url := strings.TrimSuffix(line[strings.Index(line, "http://"):], ".\n") + "/crm/objects/2026-03/contracts/batch/create"
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for token, want := range map[string]int{"open": http.StatusCreated, "another": http.StatusUnauthorized} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"inputs": [{"properties": {"contract_name": "Lease"}, "associations": []}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != want {
			t.Errorf("with the token %q: status %d (%v), want %d\n%s", token, answer.StatusCode, err, want, body)
		}
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d\n%s", code, &errs)
	}
}

func TestCRMUsage(t *testing.T) {
	for _, args := range [][]string{{"crm", "--quota", "some"}, {"crm", "--token", ""}, {"crm", "--latency", "-1s"}} {
		var out, errs bytes.Buffer
		if code := execute(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%v: exit code %d, want 2\n%s%s", args, code, &out, &errs)
		}
	}
}
